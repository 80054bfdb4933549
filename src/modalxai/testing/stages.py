"""What a `modalxai.protocols.Staged` encoder promises."""

from __future__ import annotations

from dataclasses import replace

import torch

from modalxai.protocols import Staged
from modalxai.testing.compare import clone, require_close, require_equal, require_finite
from modalxai.testing.conformance import NotApplicable, after, promise, require
from modalxai.testing.encoder_case import EncoderCase, real
from modalxai.types import Features


def _stem(case: EncoderCase) -> Features:
    if not isinstance(case.part, Staged):
        raise NotApplicable("the encoder has no stages")
    with torch.no_grad():
        return case.part.stem(case.inputs())


@promise("let forward call them: return self.tail(self.stem(inputs))")
def forward_is_tail_of_stem(case: EncoderCase) -> None:
    """To the bit: values, mask and spans."""
    stem = _stem(case)
    with torch.no_grad():
        require_equal(case.part.tail(stem), case.features, "tail(stem(inputs)) beside forward")


@promise("return Features from stem too, zero where the mask is False")
def the_stem_gives_features(case: EncoderCase) -> None:
    """With a mask that is forward's, nothing on padding, and a width that ``blank`` has."""
    stem = _stem(case)
    require(isinstance(stem, Features), f"stem returned {type(stem).__name__}")
    require(stem.mask.dtype == torch.bool, f"a mask of {stem.mask.dtype}")
    require_finite(stem, "the stem")
    require(bool(stem.values[~stem.mask].eq(0).all()), "the stem is not 0 on padding")
    width, blank = stem.values.shape[-1], case.part.blank
    require(list(blank.shape) == [width], f"blank {list(blank.shape)}, the stem's width is {width}")


@promise("let tail work on a copy: some transformers write zeros into what they are given")
def the_tail_leaves_the_stem(case: EncoderCase) -> None:
    """A stem may be kept and given to the tail again."""
    stem = _stem(case)
    before = clone(stem)
    with torch.no_grad():
        first = case.part.tail(stem)
        require_equal(stem, before, "the stem after tail")
        require_equal(case.part.tail(stem), first, "the same stem again")


@promise("let tail read nothing but the stem it is given")
def a_blank_unit_changes_its_own_row(case: EncoderCase) -> None:
    """One unit replaced by ``blank`` changes the features of its row, and of no other."""
    stem = _stem(case)
    values = stem.values.clone()
    values[0, int(stem.mask[0].nonzero()[0])] = case.part.blank.detach().to(values)
    with torch.no_grad():
        found = case.part.tail(replace(stem, values=values))
    require_finite(found, "with a blank unit")
    changed = float((real(found, 0) - real(case.features, 0)).abs().max())
    require(changed > 0, "row 0 is the same with a blank unit")
    for row in range(1, len(case.batch)):
        where = f"row {row}, which has no blank unit"
        require_close(real(found, row), real(case.features, row), where, case.tolerance)


STAGES = (
    the_stem_gives_features,
    forward_is_tail_of_stem,
    *after([forward_is_tail_of_stem], [the_tail_leaves_the_stem, a_blank_unit_changes_its_own_row]),
)

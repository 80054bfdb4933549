"""`check_fusion`: whether a fusion keeps its promises."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from itertools import permutations
from typing import Any

import torch

from modalxai.errors import ModalxaiError
from modalxai.protocols import Fusion
from modalxai.testing.compare import CLOSE, require_close, require_equal, require_finite
from modalxai.testing.conformance import (
    Conformance,
    NamedCheck,
    NotApplicable,
    Promise,
    PromiseError,
    after,
    promise,
    require,
    run,
)
from modalxai.testing.fusion_case import FusionCase, placed, rows_of, trimmed, with_values
from modalxai.testing.parts import (
    BEHAVIOUR,
    FILES,
    PRECISION,
    eval_is_deterministic,
    gradients_are_finite,
    it_can_be_copied,
)
from modalxai.testing.splits import SPLITS
from modalxai.types import Prediction


@promise("return Prediction(scores [B, K], self.labels), K being the number of labels")
def scores_fit_the_labels(case: FusionCase) -> None:
    """A row per sample and a column per label, floating."""
    for batch in (case.inputs(), case.everything(), case.nothing()):
        found = case.outputs(batch)
        require(isinstance(found, Prediction), f"it returned {type(found).__name__}")
        rows = len(next(iter(batch.values())).mask)
        shape = [rows, len(case.part.labels)]
        require(
            list(found.scores.shape) == shape, f"scores {list(found.scores.shape)}, not {shape}"
        )
        require(found.scores.is_floating_point(), f"scores of {found.scores.dtype}")
        require(tuple(found.labels) == tuple(case.part.labels), "labels that are not its own")


@promise("put a learned vector in the place of an absent modality; no softmax over nothing")
def any_modalities_may_be_missing(case: FusionCase) -> None:
    """Scores are finite whichever modalities a row has, none included."""
    for row, present in enumerate(case.present):
        there = [name for name, here in zip(case.dims, present, strict=True) if here]
        require_finite(case.scores[row], f"a row that has {there or 'nothing'}")
    require_finite(case.outputs(case.nothing()), "a batch of nothing")


@promise("replace what the mask hides (masked_fill, torch.where); NaN * 0 is NaN")
def what_the_mask_hides_is_invisible(case: FusionCase) -> None:
    """NaN in padding and in removed vectors changes nothing."""
    batch = case.inputs()
    dirty = {n: f.values.masked_fill(~f.mask[..., None], math.nan) for n, f in batch.items()}
    found = case.result(case.outputs(with_values(batch, dirty)))
    require_close(found, case.scores, "NaN where the mask is False", case.tolerance)


@promise("take means over real vectors, and mask attention and convolutions")
def more_padding_changes_nothing(case: FusionCase) -> None:
    """The same vectors in longer tensors give the same scores."""
    found = case.result(case.outputs(case.features(0, padding=9)))
    require_close(found, case.scores, "nine more vectors of padding", case.tolerance)


@promise("never mix rows: no norm, mean or maximum over B", needs=[more_padding_changes_nothing])
def a_row_alone_is_its_row_of_a_batch(case: FusionCase) -> None:
    """A batch of one gives what the sample gives among others."""
    for row in range(len(case.present)):
        alone = case.result(case.outputs(trimmed(rows_of(case.inputs(), [row]))))
        require_close(alone[0], case.scores[row], f"row {row} alone", case.tolerance)


@promise("never use a row's place in the batch", needs=[a_row_alone_is_its_row_of_a_batch])
def the_order_of_the_rows_does_not_matter(case: FusionCase) -> None:
    """Rows in another order give the same scores in that order."""
    rows = list(range(len(case.present)))[::-1]
    found = case.result(case.outputs(rows_of(case.inputs(), rows)))
    require_close(found, case.scores[rows], "rows turned round", case.tolerance)


@promise("go through self.dims, not through what is given")
def the_order_of_the_modalities_does_not_matter(case: FusionCase) -> None:
    """The mapping's own order of keys changes nothing, to the bit."""
    for names in list(permutations(case.dims))[:24]:
        batch = case.inputs()
        found = case.outputs({name: batch[name] for name in names})
        require_equal(case.result(found), case.scores, f"features in the order {list(names)}")


@promise("mask before whatever looks beyond one vector", needs=[what_the_mask_hides_is_invisible])
def padding_gets_no_gradient(case: FusionCase) -> None:
    """Gradients of the scores are finite, and exactly 0 where the mask is False."""
    batch = case.inputs()
    leaves = {name: one.values.requires_grad_() for name, one in batch.items()}
    scores = case.result(case.call(copy.deepcopy(case.part), with_values(batch, leaves)))
    torch.autograd.backward(scores.pow(2).sum())
    for name, one in batch.items():
        gradient = leaves[name].grad
        if gradient is None:
            continue
        require_finite(gradient, f"the gradient of {name!r}")
        leaked = float(gradient[~one.mask].abs().max())
        require(leaked == 0, f"a gradient of {leaked:.2g} at the padding of {name!r}")


@promise("let every modality that dims names count", needs=[a_row_alone_is_its_row_of_a_batch])
def every_modality_is_read(case: FusionCase) -> None:
    """Other vectors of one modality, or none, give other scores."""
    batch = case.everything()
    before = case.result(case.outputs(batch))
    for name, one in batch.items():
        other = placed(one.values.flip(-1) * 1.5 - 0.3, one.mask)
        absent = placed(torch.zeros_like(one.values), torch.zeros_like(one.mask))
        for what, changed in (("other vectors", other), ("no vector", absent)):
            found = case.result(case.outputs(batch | {name: changed}))
            require(not torch.equal(found, before), f"{what} of {name!r} change no score")


@promise("use torch.where, not if: a weight left out of the graph stops distributed training")
def every_weight_gets_a_gradient(case: FusionCase) -> None:
    """Whatever is there: nothing missing, or something in every row."""
    for batch in (case.everything(), case.inputs(), case.nothing()):
        part = copy.deepcopy(case.part)
        if not any(weight.requires_grad for weight in part.parameters()):
            raise NotApplicable("no weight learns")
        torch.autograd.backward(case.result(case.call(part, batch)).pow(2).sum())
        unused = [n for n, w in part.named_parameters() if w.requires_grad and w.grad is None]
        require(not unused, f"no gradient: {unused[:4]}")


@promise("compare the names and widths with dims, and raise InputError with the mend")
def what_does_not_fit_is_refused(case: FusionCase) -> None:
    """A modality too many or too few, or of another width."""
    batch, name = case.everything(), next(iter(case.dims))
    width = case.dims[name] + 4
    wide = placed(torch.zeros(1, 2, width), torch.ones(1, 2, dtype=torch.bool))
    few = {other: one for other, one in batch.items() if other != name}
    for what, wrong in (
        (f"features without {name!r}", few),
        ("a modality that dims does not name", {**batch, "unheard_of": wide}),
        (f"{name!r} of width {width}", {**batch, name: wide}),
    ):
        try:
            case.outputs(wrong)
        except ModalxaiError:
            continue
        except Exception as error:
            raise PromiseError(f"{what}: raises a bare {type(error).__name__}") from error
        raise PromiseError(f"{what}: is taken")


INDEPENDENCE = (
    more_padding_changes_nothing,
    a_row_alone_is_its_row_of_a_batch,
    the_order_of_the_rows_does_not_matter,
    the_order_of_the_modalities_does_not_matter,
    what_the_mask_hides_is_invisible,
    padding_gets_no_gradient,
)
_MEANING = after(
    [scores_fit_the_labels, any_modalities_may_be_missing, eval_is_deterministic],
    [
        *INDEPENDENCE,
        every_modality_is_read,
        every_weight_gets_a_gradient,
        gradients_are_finite,
        what_does_not_fit_is_refused,
        *PRECISION,
        *FILES,
        *after([a_row_alone_is_its_row_of_a_batch], SPLITS),
    ],
)
PROMISES: tuple[Promise[FusionCase], ...] = (
    it_can_be_copied,
    *after(
        [it_can_be_copied],
        [scores_fit_the_labels, any_modalities_may_be_missing, *BEHAVIOUR, *_MEANING],
    ),
)
"""Every check of a fusion, each after those it needs."""


def check_fusion(
    fusion: Fusion | Any,
    *,
    expected: Mapping[str, str] | None = None,
    tolerance: float = CLOSE,
) -> Conformance:
    """Check a fusion against every promise of `modalxai.protocols.Fusion`.

    What it offers of `Split` is checked too. All of it is done to a copy whose weights are a little
    off, on features that the kit makes up: every subset of the modalities, unequal lengths, holes.
    The fusion and every random generator stay as they are.

    Parameters
    ----------
    fusion
        A small one; or a class or function that makes one, called with widths of three modalities
        and labels of all kinds.
    expected
        By the name of a check that will fail, the reason. If it passes, that is a failure.
    tolerance
        How far a row in a batch may be from the row alone, relative to the largest number.

    Returns
    -------
    Conformance

    Raises
    ------
    InputError
        No fusion, or an expected failure that is no check.

    Examples
    --------
    >>> from modalxai.fusion import ShallowFusion
    >>> report = check_fusion(ShallowFusion)
    >>> report.passed, len(report) > 25
    (True, True)
    """
    case = FusionCase.make(fusion, tolerance=tolerance)
    return run(type(case.original).__name__, PROMISES, case, expected)


def fusion_checks() -> tuple[NamedCheck[FusionCase], ...]:
    """Each check of `check_fusion` by itself, called with ``(fusion)``; see `encoder_checks`."""
    return tuple(NamedCheck(one, FusionCase.make) for one in PROMISES)

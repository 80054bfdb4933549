"""`check_pair`: whether encoders and a fusion keep their promises together."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from modalxai import masking
from modalxai.errors import InputError
from modalxai.testing.compare import CLOSE, mapped, require_close, require_finite
from modalxai.testing.conformance import (
    Conformance,
    NamedCheck,
    NotApplicable,
    Promise,
    after,
    promise,
    require,
    run,
)
from modalxai.testing.fusion_case import with_values
from modalxai.testing.parts import (
    FILES,
    PRECISION,
    PartCase,
    eval_is_deterministic,
    gradients_are_finite,
    it_can_be_copied,
    nothing_is_kept_between_forwards,
    the_inputs_are_not_modified,
)
from modalxai.types import Batch, Features, Prediction, Sample


@dataclass(frozen=True, eq=False)
class PairCase(PartCase):
    """See `modalxai.testing.check_pair`."""

    original: Any
    samples: tuple[dict[str, Any], ...]
    tolerance: float = CLOSE

    @classmethod
    def make(cls, model: Any, samples: Sequence[Sample], *, tolerance: float = CLOSE) -> PairCase:
        """Check the arguments."""
        lacking = [
            name
            for name in model.modalities
            if sum(sample.get(name) is not None for sample in samples) < len(samples)
        ]
        if len(samples) < 2 or lacking:
            raise InputError(
                "samples that a model cannot be checked with",
                expected=f"two or more that have all of {list(model.modalities)}",
                got=f"{len(samples)} samples; {lacking} missing somewhere",
                mend="give whole samples of different lengths; the checks leave things out",
            )
        plain = tuple({name: one[name] for name in model.modalities} for one in samples)
        return cls(model, plain, tolerance)

    @cached_property
    def batch(self) -> list[dict[str, Any]]:
        """The samples, then one that lacks each modality, then one that has it alone."""
        names = list(self.original.modalities)
        rows = list(self.samples)
        if len(names) > 1:
            first = self.samples[0]
            rows += [first | {name: None} for name in names]
            rows += [dict.fromkeys(names) | {name: first[name]} for name in names[: len(names) > 2]]
        return rows

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Samples collated by the copy."""
        found: Batch = self.part.collate(
            [{"id": f"u{row}", **sample} for row, sample in enumerate(samples)]
        )
        return found

    def make_inputs(self) -> Batch:
        """The batch, collated."""
        return self.collate(self.batch)

    def others(self) -> Batch:
        """The last two samples, the other way round."""
        return self.collate(self.samples[:-3:-1])

    def nothing(self) -> Batch:
        """Of each sample one modality only; a sample without any is refused by collate."""
        names = list(self.original.modalities)
        return self.collate(
            [dict.fromkeys(names) | {name: self.samples[0][name]} for name in names]
        )

    def result(self, output: Prediction) -> Tensor:
        """Scores [B, K]."""
        return output.scores

    def facts(self, part: Any) -> dict[str, Any]:
        """What must come back from a folder besides the weights."""
        batch = part.collate([{"id": "u", **sample} for sample in self.samples[:1]])
        return {
            "modalities": tuple(part.modalities),
            "labels": tuple(part.labels),
            "the fusion's dims": list(part.fusion.dims.items()),
            "what collate gives": {name: batch[name] for name in part.modalities},
            "which weights learn": {n: w.requires_grad for n, w in part.named_parameters()},
        }

    @property
    def scores(self) -> Tensor:
        """Of the batch, [B, K]."""
        return self.result(self.output)

    @cached_property
    def features(self) -> dict[str, Features]:
        """Of the batch, by modality."""
        with torch.no_grad():
            found: dict[str, Features] = self.part.encode(self.inputs())
        return found

    def size(self, name: str, raw: Any) -> int:
        """How many numbers a raw value becomes."""
        return sum(value.numel() for value in self.collate([{name: raw}])[name].values())


@promise("return Prediction(scores [B, K], labels) from the fusion")
def scores_fit_the_labels(case: PairCase) -> None:
    """A row per sample and a column per label."""
    for batch, rows in ((case.inputs(), len(case.batch)), (case.collate(case.samples[:1]), 1)):
        found = case.outputs(batch)
        require(isinstance(found, Prediction), f"it returned {type(found).__name__}")
        shape = [rows, len(case.part.labels)]
        require(
            list(found.scores.shape) == shape, f"scores {list(found.scores.shape)}, not {shape}"
        )
        require(tuple(found.labels) == tuple(case.part.labels), "labels that are not the model's")


@promise("return Features that fit the fusion's dims, a missing value as a row of False")
def masks_say_what_is_there(case: PairCase) -> None:
    """Of every modality: values of its width, 0 where the mask is False, rows that are there."""
    for name, features in case.features.items():
        shape = [len(case.batch), features.values.shape[1], case.part.fusion.dims[name]]
        require(list(features.values.shape) == shape, f"{name!r}: {list(features.values.shape)}")
        require(features.mask.dtype == torch.bool, f"{name!r}: a mask of {features.mask.dtype}")
        found = features.mask.any(1).tolist()
        expected = [sample[name] is not None for sample in case.batch]
        require(found == expected, f"{name!r}: rows {found}, there are {expected}")
        hidden = bool(features.values[~features.mask].eq(0).all())
        require(hidden, f"{name!r}: values that are not 0 where the mask is False")


@promise("put something learned in the place of an absent modality")
def any_modalities_may_be_missing(case: PairCase) -> None:
    """The scores of a batch in which each modality is missing everywhere are finite."""
    require_finite(case.output, "a batch in which something is missing")
    names = list(case.part.modalities)
    for gone in names if len(names) > 1 else []:
        found = case.outputs(case.collate([sample | {gone: None} for sample in case.samples]))
        require_finite(found, f"a batch without {gone!r}")
    with torch.no_grad():
        empty = {
            name: replace(one, values=torch.zeros_like(one.values), mask=one.mask & False)
            for name, one in case.features.items()
        }
        require_finite(case.part.fuse(empty), "features of nothing")


@promise("see which of the parts fails the kit of its own: check_encoder, check_fusion")
def more_padding_changes_nothing(case: PairCase) -> None:
    """Samples padded for longer ones, which are then taken away, score the same."""
    shorter: list[dict[str, Any]] = [{} for _ in case.samples[1:]]
    longest = {}
    padded = False
    for name in case.part.modalities:
        raws = sorted((sample[name] for sample in case.samples), key=lambda r: case.size(name, r))
        padded |= case.size(name, raws[0]) < case.size(name, raws[-1])
        longest[name] = raws[-1]
        for sample, raw in zip(shorter, raws, strict=False):
            sample[name] = raw
    if not padded:
        raise NotApplicable("the samples are of one length, so nothing is ever padded")
    # "ids" and columns are no tensors and stay longer; nothing reads them.
    together = mapped(case.collate([*shorter, longest]), lambda leaf: leaf[: len(shorter)])
    found = case.result(case.outputs(together))
    expected = case.result(case.outputs(case.collate(shorter)))
    require_close(found, expected, "samples under more padding", case.tolerance)


@promise("see which of the parts fails the kit of its own", needs=[more_padding_changes_nothing])
def a_row_alone_is_its_row_of_a_batch(case: PairCase) -> None:
    """A batch of one scores as the sample does among others."""
    for row, sample in enumerate(case.batch):
        alone = case.result(case.outputs(case.collate([sample])))
        require_close(alone[0], case.scores[row], f"row {row} alone", case.tolerance)


@promise(
    "see which of the parts fails the kit of its own", needs=[a_row_alone_is_its_row_of_a_batch]
)
def the_order_of_the_rows_does_not_matter(case: PairCase) -> None:
    """Samples in another order have the same scores in that order."""
    found = case.result(case.outputs(case.collate(case.batch[::-1])))
    require_close(found, case.scores.flip(0), "samples turned round", case.tolerance)


@promise("see which of the parts fails the kit of its own")
def padding_gets_no_gradient(case: PairCase) -> None:
    """Neither where features are not real nor at the padding of a floating input: exactly 0."""
    part, batch = copy.deepcopy(case.part), case.inputs()
    leaves = [
        (name, key, value.requires_grad_())
        for name in part.modalities
        for key, value in batch[name].items()
        if value.is_floating_point()
    ]
    encoded = part.encode(batch)
    values = {name: one.values for name, one in encoded.items()}
    watched = {name: one.detach().requires_grad_() for name, one in values.items()}
    scores = part.fuse(with_values(encoded, watched)).scores
    torch.autograd.backward(scores.pow(2).sum())
    for name, one in encoded.items():
        gradient = watched[name].grad
        gradient = torch.zeros_like(watched[name]) if gradient is None else gradient
        require_finite(gradient, f"the gradient of {name!r}")
        leaked = float(masking.blank(gradient, ~one.mask).abs().max())
        require(leaked == 0, f"a gradient of {leaked:.2g} at the padding of {name!r}")
        if values[name].requires_grad:
            torch.autograd.backward(values[name], gradient)
    for name, key, leaf in leaves:
        if leaf.grad is None:
            continue
        for row, sample in enumerate(case.batch):
            own = leaf.grad[row].clone()
            if sample[name] is not None:
                size = case.collate([sample])[name][key][0].shape
                own[tuple(slice(0, length) for length in size)] = 0
            leaked = float(own.abs().max()) if own.numel() else 0.0
            require(leaked == 0, f"{name!r}, {key!r}, row {row}: {leaked:.2g} at its padding")


PROMISES: tuple[Promise[PairCase], ...] = (
    it_can_be_copied,
    *after(
        [it_can_be_copied],
        [
            scores_fit_the_labels,
            masks_say_what_is_there,
            any_modalities_may_be_missing,
            the_inputs_are_not_modified,
            nothing_is_kept_between_forwards,
            eval_is_deterministic,
            *after(
                [
                    scores_fit_the_labels,
                    any_modalities_may_be_missing,
                    eval_is_deterministic,
                ],
                [
                    more_padding_changes_nothing,
                    a_row_alone_is_its_row_of_a_batch,
                    the_order_of_the_rows_does_not_matter,
                    padding_gets_no_gradient,
                    gradients_are_finite,
                    *PRECISION,
                    *FILES,
                ],
            ),
        ],
    ),
)
"""Every check of a whole model, each after those it needs."""


def check_pair(
    model: Any,
    samples: Sequence[Sample],
    *,
    expected: Mapping[str, str] | None = None,
    tolerance: float = CLOSE,
) -> Conformance:
    """Check encoders and a fusion together, as one model.

    All of it is done to a copy whose weights are a little off. The model, the samples and every
    random generator stay as they are.

    Parameters
    ----------
    model
        A small `modalxai.EmotionModel`.
    samples
        Two or more, whole, of different lengths; the checks leave modalities out.
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
        Too few samples or an incomplete one, or an expected failure that is no check.
    """
    case = PairCase.make(model, samples, tolerance=tolerance)
    name = f"{' + '.join(type(model.encoder(one)).__name__ for one in model.modalities)}"
    return run(f"{name} under {type(model.fusion).__name__}", PROMISES, case, expected)


def pair_checks() -> tuple[NamedCheck[PairCase], ...]:
    """Each check of `check_pair` by itself, called with ``(model, samples)``."""
    return tuple(NamedCheck(one, PairCase.make) for one in PROMISES)

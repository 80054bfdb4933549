"""Targets that no loss can use, refused before they reach one."""

from __future__ import annotations

import torch
from torch import Tensor

from modalxai.errors import InputError
from modalxai.types import KINDS, Labels, Prediction, Targets, columns

SHARE_TOLERANCE = 1e-2
"""How far class shares may miss a sum of 1: DeepSpeed rounds targets to bfloat16, .002 off."""


def check_values(labels: Labels, targets: Targets) -> None:
    """Refuse annotated values that their kind of label cannot have.

    One look at the device; the rest happens only when something is wrong.

    Raises
    ------
    InputError
        Names the first faulty row, which is also its ``index``.
    """
    faults = _faults(labels, targets)
    wrong = torch.stack([fault.any() for fault, _, _ in faults])
    if not bool(wrong.any()):
        return
    fault, meaning, expected = faults[int(wrong.int().argmax())]
    row = int(fault.int().argmax())
    raise InputError(
        meaning,
        expected=expected,
        got=f"row {row}: values {targets.values[row].tolist()}, mask {targets.mask[row].tolist()}",
        mend="correct the labels of this sample, or set their mask to False",
        index=row,
    )


def _faults(labels: Labels, targets: Targets) -> list[tuple[Tensor, str, str]]:
    """Per rule: the rows that break it (bool [B]), what is wrong, what was expected."""
    classes, tags, numbers = (columns(labels, kind) for kind in KINDS)
    values, mask = targets.values.float(), targets.mask
    known, shares = mask[:, classes], values[:, classes]
    whole = known.all(1) & known.any(1)
    # Written so that NaN, which compares False, counts as a fault.
    fits = (shares >= 0).all(1) & ((shares.sum(1) - 1).abs() <= SHARE_TOLERANCE)
    between = (values[:, tags] >= 0) & (values[:, tags] <= 1)
    return [
        (
            known.any(1) & ~whole,
            "only some of a sample's categorical labels are annotated",
            "all of them or none",
        ),
        (whole & ~fits, "the class shares are no distribution", "0 or more each, 1 together"),
        ((mask[:, tags] & ~between).any(1), "a binary label is out of range", "0 to 1"),
        (
            (mask[:, numbers] & ~values[:, numbers].isfinite()).any(1),
            "a dimensional label is not finite",
            "a finite number",
        ),
    ]


def check_shapes(prediction: Prediction, targets: Targets) -> None:
    """Refuse scores and targets that are not [B, K], or of a type that is none of theirs.

    Raises
    ------
    InputError
        Names what does not fit.
    """
    scores, (values, mask) = prediction.scores, targets
    shape = [len(scores), len(prediction.labels)]
    for name, tensor in (("scores", scores), ("target values", values), ("target mask", mask)):
        if list(tensor.shape) != shape:
            raise InputError(
                f"the {name} do not fit the labels",
                expected=f"shape [B, K] = {shape}",
                got=str(list(tensor.shape)),
                mend="give one row per sample and one column per label",
            )
    if mask.dtype != torch.bool or not scores.is_floating_point():
        raise InputError(
            "scores or targets of a wrong type",
            expected="scores of a float type, mask of torch.bool",
            got=f"{scores.dtype}, {mask.dtype}",
            mend="write mask.bool(), True where a label is annotated",
        )

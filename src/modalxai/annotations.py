"""What a person said of a sample, as one row of targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modalxai.errors import InputError
from modalxai.types import Labels, columns

SHARE_TOLERANCE = 1e-3


def annotate(labels: Labels, given: Any) -> tuple[Tensor, Tensor]:
    """Values and mask, each [K], of one sample's annotation.

    Parameters
    ----------
    labels
        The columns.
    given
        The name of one categorical label; or a mapping of label to value: class shares that sum to
        1, 0..1 for every binary label (``None`` where nobody annotated it), a number for
        dimensional ones. ``None`` for an unlabelled sample.

    Raises
    ------
    InputError
        An unknown label, a value out of its range, shares that do not sum to 1, binary labels
        that are neither given nor left open, or anything else that cannot be read.
    """
    values, mask = torch.zeros(len(labels)), torch.zeros(len(labels), dtype=torch.bool)
    if given is None:
        return values, mask
    names = [label.name for label in labels]
    classes = [names[column] for column in columns(labels, "categorical")]
    if isinstance(given, str):
        if given in names and given not in classes:
            raise _wrong(
                f"a bare name for {given!r}", "its value", given, f"write {{{given!r}: 1}}"
            )
        given = {given: 1.0}
    if not isinstance(given, Mapping):
        raise _wrong("labels of the wrong type", "a mapping of label to value, or one name", given)
    if unknown := [key for key in given if key not in names]:
        raise _wrong(f"unknown label {unknown[0]!r}", f"some of {names}", list(given))
    for column, name in enumerate(names):
        if given.get(name) is not None:
            values[column], mask[column] = _number(name, given[name]), True
    _check_shares(labels, given, values, mask)
    _check_binary(labels, given, values)
    return values, mask


def _check_shares(labels: Labels, given: Mapping[str, Any], values: Tensor, mask: Tensor) -> None:
    classes = columns(labels, "categorical")
    if not classes or not mask[classes].any():
        return
    shares = values[classes]
    if bool((shares < 0).any()) or abs(float(shares.sum()) - 1) > SHARE_TOLERANCE:
        raise _wrong(
            "class shares that do not sum to 1",
            "one class with 1, or shares over several that sum to 1",
            dict(given),
            'divide counts of raters by their sum; for several at once use kind="binary"',
        )
    mask[classes] = True


def _check_binary(labels: Labels, given: Mapping[str, Any], values: Tensor) -> None:
    tags = columns(labels, "binary")
    left_out = [labels[column].name for column in tags if labels[column].name not in given]
    if left_out and len(left_out) < len(tags):
        raise _wrong(
            f"binary labels without a value: {left_out}",
            "a value for each binary label once one is given, or None where not annotated",
            dict(given),
            "write 0 for absent, None for not annotated",
        )
    for column in tags:
        if not 0 <= float(values[column]) <= 1:
            raise _wrong("a binary label out of range", "0..1", float(values[column]))


def _number(label: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not np.isfinite(number):
        raise _wrong(f"label {label!r} without a finite value", "a finite number", value)
    return number


def _wrong(wrong: str, expected: str, got: object, mend: str = "correct the labels") -> InputError:
    return InputError(wrong, expected=expected, got=repr(got), mend=mend)

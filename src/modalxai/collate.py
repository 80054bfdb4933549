"""Samples to a batch, every mistake named by sample before the model sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modalxai.errors import InputError, ModalxaiError
from modalxai.protocols import Collate
from modalxai.types import Audio, Batch, Labels, Sample, columns

SHARE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class SampleCollate:
    """A picklable, weightless ``collate_fn``: the encoders' collates and the labels.

    Parameters
    ----------
    collates
        By modality, in the model's order.
    labels
        The columns of the targets.
    """

    collates: Mapping[str, Collate[Any]]
    labels: Labels

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        """Collate B samples.

        Parameters
        ----------
        samples
            Mappings with a raw value per modality (``None`` or no key where it is missing),
            ``"id"`` (``"#0"``, ``"#1"``, ... where there is none), ``"labels"`` and any further
            columns. ``"labels"`` is the name of one categorical label, or a mapping of label to
            value: class shares that sum to 1, 0..1 for every binary label (``None`` where nobody
            annotated it), a number for dimensional ones.

        Returns
        -------
        Batch

        Raises
        ------
        InputError
            Names the sample and the mend.
        """
        if isinstance(samples, Mapping) or not samples:
            raise InputError(
                "nothing to collate",
                expected="a list of one or more samples",
                got="one sample, not in a list" if samples else "an empty list",
                mend="write model.collate([sample])",
            )
        ids = [_id(sample, index) for index, sample in enumerate(samples)]
        if len(set(ids)) < len(ids):
            raise InputError(
                "two samples share an id",
                expected="different ids",
                got=f"{sorted({name for name in ids if ids.count(name) > 1})[:5]} twice or more",
                mend="make the ids unique, for example by adding the split or the dialogue",
            )
        for name, sample in zip(ids, samples, strict=True):
            self._check(name, sample)
        batch = Batch()
        for modality, collate in self.collates.items():
            try:
                batch[modality] = dict(collate([sample.get(modality) for sample in samples]))
            except ModalxaiError as error:
                place = "a sample" if error.index is None else f"sample {ids[error.index]!r}"
                raise error.at(f"{place}, {modality}") from error
        rows = [self._targets(name, sample) for name, sample in zip(ids, samples, strict=True)]
        # A plain tuple: the transformers Trainer cannot rebuild a named one.
        batch["targets"] = (
            torch.stack([values for values, _ in rows]),
            torch.stack([mask for _, mask in rows]),
        )
        if extra := self._columns(samples):
            batch["columns"] = extra
        batch["ids"] = tuple(ids)
        return batch

    def _check(self, name: str, sample: Sample) -> None:
        known = [modality for modality in self.collates if sample.get(modality) is not None]
        if not known:
            raise InputError(
                f"sample {name!r}: all modalities are missing",
                expected=f"at least one of {list(self.collates)}",
                got=f"keys {sorted(map(str, sample))}",
                mend="drop the sample, or check the names of its keys",
            )
        for key, value in sample.items():
            if key not in self.collates and isinstance(value, Audio | Tensor | np.ndarray):
                raise InputError(
                    f"sample {name!r}: unknown modality {key!r}",
                    expected=f"the model's modalities, {list(self.collates)}, and plain columns",
                    got=type(value).__name__,
                    mend="rename the key, add an encoder of that name, or leave it out",
                )

    def _columns(self, samples: Sequence[Sample]) -> dict[str, tuple[Any, ...]]:
        """Whatever else the samples hold; texts travel too, for the reports."""
        names = dict.fromkeys(key for sample in samples for key in sample)
        found = {}
        for name in names:
            if name in ("id", "labels"):
                continue
            values = tuple(sample.get(name) for sample in samples)
            if name not in self.collates or all(isinstance(v, str | None) for v in values):
                found[str(name)] = values
        return found

    def _targets(self, name: str, sample: Sample) -> tuple[Tensor, Tensor]:
        given = sample.get("labels")
        values, mask = (
            torch.zeros(len(self.labels)),
            torch.zeros(len(self.labels), dtype=torch.bool),
        )
        if given is None:
            return values, mask
        if isinstance(given, str):
            given = {given: 1.0}
        if not isinstance(given, Mapping):
            raise _wrong(
                name, "labels of the wrong type", "a mapping of label to value, or one name", given
            )
        names = [label.name for label in self.labels]
        if unknown := [key for key in given if key not in names]:
            raise _wrong(name, f"unknown label {unknown[0]!r}", f"some of {names}", list(given))
        for column, label in enumerate(names):
            if given.get(label) is not None:
                values[column], mask[column] = _number(name, label, given[label]), True
        self._check_shares(name, given, values, mask)
        self._check_binary(name, given, values)
        return values, mask

    def _check_shares(
        self, name: str, given: Mapping[str, Any], values: Tensor, mask: Tensor
    ) -> None:
        classes = columns(self.labels, "categorical")
        if not classes or not mask[classes].any():
            return
        shares = values[classes]
        if bool((shares < 0).any()) or abs(float(shares.sum()) - 1) > SHARE_TOLERANCE:
            raise _wrong(
                name,
                "class shares that do not sum to 1",
                "one class with 1, or shares over several that sum to 1",
                dict(given),
                'divide counts of raters by their sum; for several at once use kind="binary"',
            )
        mask[classes] = True

    def _check_binary(self, name: str, given: Mapping[str, Any], values: Tensor) -> None:
        tags = [self.labels[column].name for column in columns(self.labels, "binary")]
        left_out = [tag for tag in tags if tag not in given]
        if left_out and len(left_out) < len(tags):
            raise _wrong(
                name,
                f"binary labels without a value: {left_out}",
                "a value for each binary label once one is given, or None where not annotated",
                dict(given),
                "write 0 for absent, None for not annotated",
            )
        for column in columns(self.labels, "binary"):
            if not 0 <= float(values[column]) <= 1:
                raise _wrong(name, "a binary label out of range", "0..1", float(values[column]))


def _id(sample: Any, index: int) -> str:
    if not isinstance(sample, Mapping):
        raise InputError(
            f"sample {index} is no sample",
            expected='a mapping such as {"id": "u1", "audio": mx.Audio(...), "text": "..."}',
            got=type(sample).__name__,
            mend="make each sample a dict",
        )
    return f"#{index}" if sample.get("id") is None else str(sample["id"])


def _number(name: str, label: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not np.isfinite(number):
        raise _wrong(name, f"label {label!r} without a finite value", "a finite number", value)
    return number


def _wrong(
    name: str, wrong: str, expected: str, got: object, mend: str = "correct the sample's labels"
) -> InputError:
    return InputError(f"sample {name!r}: {wrong}", expected=expected, got=repr(got), mend=mend)

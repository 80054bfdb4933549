"""Samples to a batch, every mistake named by sample before the model sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modalxai.annotations import annotate
from modalxai.errors import InputError, ModalxaiError
from modalxai.protocols import Collate
from modalxai.types import Audio, Batch, Labels, Sample
from modalxai.types.samples import EditedSample


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
            columns. For ``"labels"`` see `modalxai.annotations.annotate`. Columns of text, numbers,
            truth values, and tuples or mappings of these travel with the batch; others, such as
            the signals of a corpus that no encoder reads, stay behind.

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
        rows = [self._annotated(name, sample) for name, sample in zip(ids, samples, strict=True)]
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
        if not known and not isinstance(sample, EditedSample):
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

    def _annotated(self, name: str, sample: Sample) -> tuple[Tensor, Tensor]:
        try:
            return annotate(self.labels, sample.get("labels"))
        except InputError as error:
            raise error.at(f"sample {name!r}") from error

    def _columns(self, samples: Sequence[Sample]) -> dict[str, tuple[Any, ...]]:
        """Whatever else the samples hold; texts travel too, for the reports."""
        names = dict.fromkeys(key for sample in samples for key in sample)
        found = {}
        for name in names:
            if name in ("id", "labels"):
                continue
            values = tuple(sample.get(name) for sample in samples)
            if name in self.collates:
                # One text at least: recordings that are all missing are no column of texts.
                texts = [value for value in values if value is not None]
                travels = bool(texts) and all(isinstance(value, str) for value in texts)
            else:
                travels = all(map(_plain, values))
            if travels:
                found[str(name)] = values
        return found


def _plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _plain(one) for key, one in value.items())
    if isinstance(value, list | tuple):
        return all(map(_plain, value))
    return value is None or isinstance(value, str | int | float | bool | np.generic)


def _id(sample: Any, index: int) -> str:
    if not isinstance(sample, Mapping):
        raise InputError(
            f"sample {index} is no sample",
            expected='a mapping such as {"id": "u1", "audio": mx.Audio(...), "text": "..."}',
            got=type(sample).__name__,
            mend="make each sample a dict",
        )
    if isinstance(sample, EditedSample):
        return sample.name
    return f"#{index}" if sample.get("id") is None else str(sample["id"])

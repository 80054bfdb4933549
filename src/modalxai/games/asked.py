"""The samples that a black box is asked about, read once: names, raw values, annotations."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from modalxai.batching import each_of
from modalxai.collate import SampleCollate
from modalxai.errors import InputError
from modalxai.protocols import Samples
from modalxai.types import RESERVED, Audio, Inputs, Labels, Sample, Targets


@dataclass(frozen=True, eq=False)
class Asked:
    """B samples, as the user gave them.

    Parameters
    ----------
    samples
        The user's own mappings.
    ids
        B names.
    modalities
        Keys of the raw values that can be removed.
    targets
        What the samples' ``"labels"`` say, each [B, K].
    columns
        Texts, and every further key.
    """

    samples: tuple[Sample, ...]
    ids: tuple[str, ...]
    modalities: tuple[str, ...]
    targets: Targets
    columns: Mapping[str, tuple[Any, ...]]

    def raws(self, modality: str) -> list[Any]:
        """B raw values, ``None`` where missing."""
        return [sample.get(modality) for sample in self.samples]

    def select(self, rows: Sequence[int]) -> Asked:
        """Some of the samples."""
        places = list(rows)
        return replace(
            self,
            samples=tuple(self.samples[row] for row in places),
            ids=tuple(self.ids[row] for row in places),
            targets=Targets(self.targets.values[places], self.targets.mask[places]),
            columns={n: tuple(column[row] for row in places) for n, column in self.columns.items()},
        )

    def digest(self) -> str:
        """Of names, texts and waveforms; of other raw values their types only."""
        state = hashlib.blake2b(digest_size=8)
        for name, sample in sorted(zip(self.ids, self.samples, strict=True), key=lambda x: x[0]):
            state.update(repr(name).encode())
            for modality in self.modalities:
                state.update(_bytes(sample.get(modality)))
        return state.hexdigest()


def read_samples(
    samples: Sample | Samples | Iterable[Sample], labels: Labels, modalities: Sequence[str]
) -> Asked:
    """Check one sample or many.

    Raises
    ------
    InputError
        No modality or a name that cannot be one, no sample, one that is no mapping, two of one id,
        one without any modality or with a recording under another key, or labels that cannot be
        read; the sample is named.
    """
    names = () if isinstance(modalities, str) else tuple(modalities)
    plain = all(isinstance(name, str) and name not in RESERVED for name in names)
    if not names or not plain or len(set(names)) < len(names):
        raise InputError(
            "modalities that cannot be",
            expected=f"one or more different keys of the samples, none of {list(RESERVED)}",
            got=repr(modalities),
            mend='write modalities=("audio", "text")',
        )
    found = [samples] if isinstance(samples, Mapping) else list(each_of(samples))
    batch = any(isinstance(sample, Mapping) and "ids" in sample for sample in found)
    if not found or batch:
        raise InputError(
            "a black box is asked about samples",
            expected="one sample or more, with raw values",
            got="a batch" if batch else "none",
            mend="give the samples themselves, not what a collate makes of them",
        )
    _refuse_unnamed(found, names)
    made = SampleCollate(dict.fromkeys(names, _nothing), labels)(found)
    return Asked(tuple(found), made.ids, names, made.targets, made.columns)


def _nothing(raws: Sequence[Any]) -> Inputs:
    """The function reads raw values itself."""
    return {}


def _refuse_unnamed(samples: Sequence[Any], modalities: Sequence[str]) -> None:
    """A recording under a key that is no modality would never be removed, and nobody told."""
    for index, sample in enumerate(samples):
        if not isinstance(sample, Mapping):
            continue  # SampleCollate says so
        for key, value in sample.items():
            if key not in modalities and isinstance(value, Audio | Tensor | np.ndarray):
                raise InputError(
                    f"sample {sample.get('id', f'#{index}')!r}: {key!r} would never be removed",
                    expected=f"recordings and arrays under {list(modalities)} only",
                    got=type(value).__name__,
                    mend='name it in modalities=, or let the function find it by sample["id"]',
                )


def _bytes(raw: Any) -> bytes:
    if isinstance(raw, Audio):
        return _bytes(raw.waveform) + repr((raw.sample_rate, raw.channel)).encode()
    if isinstance(raw, Tensor):
        raw = raw.detach().cpu().numpy()
    if isinstance(raw, np.ndarray) and raw.dtype != object:
        return f"{raw.dtype}{raw.shape}".encode() + np.ascontiguousarray(raw).tobytes()
    return repr(raw if isinstance(raw, str | int | float | bool) else type(raw)).encode()

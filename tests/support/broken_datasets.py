"""Datasets that are wrong in one way each."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from modalxai.types import Audio


class Right:
    """Five samples of noise and words."""

    labels = ("anger", "joy")

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < 5:
            raise IndexError(index)
        draw = torch.Generator().manual_seed(index)
        return {
            "id": f"u{index}",
            "audio": self.audio(0.1 * torch.randn(1600, generator=draw)),
            "text": self.text(index),
            "labels": {"anger": 1},
            "speaker": f"s{index % 2}",
        }

    def audio(self, waveform: torch.Tensor) -> Any:
        return Audio(waveform, 16_000)

    def text(self, index: int) -> Any:
        return f"word {index}" if index else None

    def column(self, name: str) -> list[Any]:
        return [self[index][name] for index in range(len(self))]


class Changed(Right):
    def __getitem__(self, index: int) -> Any:
        return self.changed(super().__getitem__(index), index)

    def changed(self, sample: dict[str, Any], index: int) -> Any:
        raise NotImplementedError


class Empty(Right):
    def __len__(self) -> int:
        return 0


class Pairs(Changed):
    def changed(self, sample: dict[str, Any], index: int) -> Any:
        return sample["audio"], sample["labels"]


class KeyOfABatch(Changed):
    def changed(self, sample: dict[str, Any], index: int) -> Any:
        return {**sample, "targets": 1}


class NeverEnds(Right):
    def __getitem__(self, index: int) -> Any:
        return super().__getitem__(index % 5)

    def column(self, name: str) -> list[Any]:
        return [self[index][name] for index in range(5)]


class EndsInAKeyError(Right):
    def __getitem__(self, index: int) -> Any:
        if index >= 5:
            raise KeyError(index)
        return super().__getitem__(index)


class NumbersAsIds(Changed):
    def changed(self, sample: dict[str, Any], index: int) -> Any:
        return {**sample, "id": index}


class OneIdTwice(Changed):
    def changed(self, sample: dict[str, Any], index: int) -> Any:
        return {**sample, "id": f"u{index // 2}"}


class AugmentsGlobally(Changed):
    def changed(self, sample: dict[str, Any], index: int) -> Any:
        wave = sample["audio"].waveform
        return {**sample, "audio": Audio(wave * np.float32(np.random.uniform(0.5, 1)), 16_000)}


class ShufflesWithPython(Changed):
    def changed(self, sample: dict[str, Any], index: int) -> Any:
        return {**sample, "mood": random.choice("ab")}


class CountsReadings(Changed):
    def __init__(self) -> None:
        self.readings = 0

    def changed(self, sample: dict[str, Any], index: int) -> Any:
        self.readings += 1
        return {**sample, "reading": self.readings}


class HandsOutItsCache(Right):
    def __init__(self) -> None:
        self.cache = [super(HandsOutItsCache, self).__getitem__(index) for index in range(5)]

    def __getitem__(self, index: int) -> Any:
        return self.cache[index]


class HandsOutItsLabels(Changed):
    shared = ({"joy": 1},)

    def changed(self, sample: dict[str, Any], index: int) -> Any:
        return {**sample, "labels": self.shared[0]}


class HoldsAnOpenFile(Right):
    def __init__(self) -> None:
        self.file = open(__file__)  # noqa: SIM115  # that is what is wrong with it

    def __del__(self) -> None:
        self.file.close()


class NoRate(Right):
    def audio(self, waveform: torch.Tensor) -> Any:
        return Audio(waveform)


class WholeNumbers(Right):
    def audio(self, waveform: torch.Tensor) -> Any:
        return Audio((waveform * 32767).to(torch.int16), 16_000)


class WholeNumbersAsFloats(Right):
    def audio(self, waveform: torch.Tensor) -> Any:
        return Audio(waveform * 32767, 16_000)


class NaNInTheSound(Right):
    def audio(self, waveform: torch.Tensor) -> Any:
        waveform[3] = torch.nan
        return Audio(waveform, 16_000)


class UnlistedLabel(Changed):
    def changed(self, sample: dict[str, Any], index: int) -> Any:
        return {**sample, "labels": {"fear": 1}}


class LabelNumbers(Changed):
    def changed(self, sample: dict[str, Any], index: int) -> Any:
        return {**sample, "labels": 3}


class NaNLabel(Changed):
    def changed(self, sample: dict[str, Any], index: int) -> Any:
        return {**sample, "labels": {"anger": float("nan")}}


class NothingToEncode(Changed):
    def changed(self, sample: dict[str, Any], index: int) -> Any:
        return {"id": sample["id"], "labels": sample["labels"], "text": " ", "turn": 3}

    def column(self, name: str) -> list[Any]:
        return [self[index][name] for index in range(5)]


class OtherColumns(Right):
    def column(self, name: str) -> list[Any]:
        return super().column(name)[::-1]


class UnusableSound(Right):
    """Right by itself; too short for the model."""

    def audio(self, waveform: torch.Tensor) -> Any:
        return Audio(waveform[:3], 16_000)

"""What a frozen encoder says of every utterance, once: one vector each, to train heads on.

Meta-attention reads the mean of an encoder's vectors over time, which no epoch changes while the
encoder is frozen. So each utterance is encoded once (`modalxai.training.CachedEncoder` keeps that
on disk for killed runs and further heads), pooled once, and thirty epochs cost almost nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from modalxai import masking
from modalxai.errors import CheckpointError
from modalxai.protocols import Samples
from modalxai.training import CachedEncoder
from modalxai.types import Features, Inputs, Spans


@dataclass(frozen=True)
class VectorCollate:
    """Vectors [D] to ``values`` [B, D] and ``mask`` [B]; ``None`` is a row that is missing."""

    dim: int

    def __call__(self, raws: Sequence[Tensor | None]) -> dict[str, Tensor]:
        """One row per vector."""
        empty = torch.zeros(self.dim)
        return {
            "values": torch.stack([empty if raw is None else raw for raw in raws]),
            "mask": torch.tensor([raw is not None for raw in raws]),
        }


class Vectors(nn.Module):
    """An encoder of what another one already said: each sample one vector, [B, 1, D].

    Parameters
    ----------
    dim
        Width D.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.collate = VectorCollate(dim)

    def forward(self, inputs: Inputs) -> Features:
        """Every row as its only unit."""
        return _one(inputs["values"], inputs["mask"])

    def save_pretrained(self, folder: Any) -> NoReturn:
        """Refuse: the encoder that made the vectors is what can be saved.

        Raises
        ------
        CheckpointError
            Always.
        """
        raise CheckpointError(
            "vectors have no weights",
            expected="the model with the encoders that made them",
            got="Vectors",
            mend="put the trained fusion into an EmotionModel with those encoders",
        )


class Pooled(nn.Module):
    """An encoder's vectors, their mean over time alone: [B, 1, D].

    Kept features then take a few kilobytes an utterance instead of a megabyte.

    Parameters
    ----------
    encoder
        Any.
    """

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder
        self.dim = int(encoder.dim)
        self.collate = encoder.collate

    def forward(self, inputs: Inputs) -> Features:
        """The mean of every row that has a vector."""
        found: Features = self.encoder(inputs)
        return _one(masking.mean(found.values, found.mask), found.mask.any(1))


@torch.no_grad()
def pooled(
    encoders: Mapping[str, nn.Module],
    samples: Samples,
    cache: Path,
    device: str = "cpu",
    batch_size: int = 32,
) -> list[dict[str, Any]]:
    """The samples with one vector [D] in place of every raw value, ``None`` where it is missing.

    Parameters
    ----------
    encoders
        By modality, frozen.
    samples
        With raw values under the modalities' names.
    cache
        Folder of what was encoded already.
    device
        Where the encoders are; vectors lie on the CPU.
    batch_size
        Samples encoded at once.

    Raises
    ------
    InputError
        An encoder that learns.
    """
    kept = {name: CachedEncoder(Pooled(one), cache) for name, one in encoders.items()}
    made: list[dict[str, Any]] = []
    for start in range(0, len(samples), batch_size):
        rows = [dict(samples[row]) for row in range(start, min(start + batch_size, len(samples)))]
        for name, encoder in kept.items():
            inputs = encoder.collate([row.get(name) for row in rows])
            found = encoder({key: value.to(device) for key, value in inputs.items()})
            held = found.mask[:, 0].tolist()
            for row, vector, real in zip(rows, found.values[:, 0].cpu(), held, strict=True):
                row[name] = vector if real else None
        made += rows
    return made


def _one(values: Tensor, mask: Tensor) -> Features:
    """Values [B, D] as one unit a row."""
    start = torch.zeros(len(mask), 1, device=mask.device)
    return Features(values[:, None], mask[:, None], Spans(start, start + 1, "index"))

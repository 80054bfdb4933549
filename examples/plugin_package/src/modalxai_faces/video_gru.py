"""An encoder of facial action units: one vector per video frame, through a GRU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from modalxai import masking
from modalxai.errors import InputError, RemovalError, each
from modalxai.pretrained import Pretrained
from modalxai.types import Features, Inputs, Spans

Raw = Any
"""Intensities [T, F], a tensor or an array: one row per frame, 0 is a neutral face."""


@dataclass(frozen=True)
class FaceCollate:
    """Raw values to padded ones; holds no weights, so that loader workers can have it."""

    features: int

    def __call__(self, raws: Sequence[Raw | None]) -> dict[str, Tensor]:
        """``values`` [B, T, F], zero on padding, and ``mask`` [B, T]."""
        rows = each(raws, self._row)
        nothing = torch.zeros(0, self.features)
        values, mask = masking.pad([nothing if row is None else row for row in rows])
        return {"values": values, "mask": mask}

    def _row(self, raw: Raw) -> Tensor:
        row = torch.as_tensor(raw).to(torch.float32)
        if row.dim() != 2 or row.shape[1] != self.features or not len(row):
            raise InputError(
                "no action units",
                expected=f"[T, {self.features}], one row per frame",
                got=str(list(row.shape)),
                mend="check the extractor's output, or make the encoder with features=...",
            )
        if not bool(row.isfinite().all()):
            raise InputError(
                "action units that are not finite",
                expected="numbers",
                got="NaN or infinite",
                mend="write None for a clip without a face, and interpolate lost frames",
            )
        return row.clone()


class VideoGruEncoder(Pretrained):
    """Action units through a GRU from left to right, which padding on the right cannot reach.

    Parameters
    ----------
    features
        Action units per frame, F.
    dim
        Width of the vectors, D.
    rate
        Frames per second.
    """

    removals: tuple[str, ...] = ("neutral",)
    kinds: tuple[str, ...] = ("frame", "second")

    def __init__(self, features: int = 17, dim: int = 32, rate: float = 25.0) -> None:
        super().__init__()
        if features < 1 or dim < 1 or rate <= 0:
            raise InputError(
                "a setting out of its range",
                expected="features and dim from 1, a rate above 0",
                got=f"{features=}, {dim=}, {rate=}",
                mend="leave the default, or choose a value in the range",
            )
        self.features, self.dim, self.rate = features, dim, rate
        self.collate = FaceCollate(features)
        self.gru = nn.GRU(features, dim, batch_first=True)

    @classmethod
    def small(cls) -> VideoGruEncoder:
        """A small one, for checks."""
        return cls(features=4, dim=6, rate=5.0)

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments; ``Pretrained`` saves them."""
        return {"features": self.features, "dim": self.dim, "rate": self.rate}

    def examples(self) -> list[Tensor]:
        """Three clips of different lengths, for checks."""
        draw = torch.Generator().manual_seed(0)
        return [torch.rand(length, self.features, generator=draw) for length in (7, 12, 3)]

    def forward(self, inputs: Inputs) -> Features:
        """Vectors [B, T, D], one per frame."""
        mask = inputs["mask"]
        values, _ = self.gru(masking.blank(inputs["values"], mask))
        return Features(masking.blank(values, mask), mask, self._spans(mask, 1))

    def units(self, inputs: Inputs, kind: str) -> Spans:
        """Frames or whole seconds, [B, U]."""
        if kind not in self.kinds:
            raise RemovalError(
                "unknown kind of unit", expected=str(self.kinds), got=repr(kind), mend="choose one"
            )
        return self._spans(inputs["mask"], 1 if kind == "frame" else max(1, round(self.rate)))

    def remove(
        self, inputs: Inputs, units: Spans, keep: Tensor, how: str, seed: int | Sequence[int]
    ) -> Mapping[str, Tensor]:
        """The frames whose middle lies in a removed span become a neutral face."""
        mask = inputs["mask"]
        shaped = keep.dtype == torch.bool and keep.shape == units.start.shape
        fits = units.unit == "seconds" and shaped and len(keep) == len(mask)
        if how not in self.removals or not fits:
            raise RemovalError(
                "a removal that does not fit",
                expected=f"one of {self.removals}, spans in seconds, keep bool like the spans",
                got=f"{how!r}, spans in {units.unit!r}, keep {keep.dtype} {list(keep.shape)}",
                mend="take units from encoder.units(inputs, kind)",
            )
        middle = (torch.arange(mask.shape[1], device=mask.device)[:, None] + 0.5) / self.rate
        inside = (units.start[:, None] <= middle) & (middle < units.end[:, None])  # [B, T, U]
        gone = (inside & ~keep[:, None]).any(-1) & mask
        return {**inputs, "values": inputs["values"].masked_fill(gone[..., None], 0)}

    def _spans(self, mask: Tensor, frames: int) -> Spans:
        """Stretches of so many frames, in seconds; the last one may be shorter."""
        count = -(-mask.shape[1] // frames)
        lengths = mask.sum(1, keepdim=True)
        start = torch.arange(count, device=mask.device) * frames
        edges = (torch.minimum(start + more, lengths) / self.rate for more in (0, frames))
        return Spans(*edges, "seconds")

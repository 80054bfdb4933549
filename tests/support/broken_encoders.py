"""One right encoder, and others that are wrong in one way: what they give, keep and save."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modalxai import masking
from modalxai.errors import InputError, RemovalError
from modalxai.pretrained import Pretrained
from modalxai.testing.fusion_case import placed
from modalxai.types import Features, Spans


def rows() -> list[Tensor]:
    """Three raw values: vectors [S, 4]."""
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(length, 4, generator=draw) for length in (3, 7, 2)]


@dataclass(frozen=True)
class Collate:
    """Vectors [S, 4], padded."""

    scale: float = 1.0

    def __call__(self, raws: Sequence[Tensor | None]) -> dict[str, Tensor]:
        own = [torch.zeros(0, 4) if raw is None else raw * self.scale for raw in raws]
        values, mask = masking.pad(own)
        return {"values": values, "mask": mask}


class Right(Pretrained):
    """Each vector through one layer; removal, stages and all."""

    removals: tuple[str, ...] = ("zero", "drop", "noise")
    kinds: tuple[str, ...] = ("item",)

    def __init__(self, dim: int = 3, scale: float = 1.0) -> None:
        super().__init__()
        self.dim, self.scale = dim, scale
        self.collate: Any = Collate(scale)
        self.layer = nn.Linear(4, dim)
        self.blank = nn.Parameter(torch.ones(dim))
        self.dropout = nn.Dropout(0.5)

    def settings(self) -> dict[str, Any]:
        return {"dim": self.dim, "scale": self.scale}

    def forward(self, inputs: Mapping[str, Tensor]) -> Features:
        return self.tail(self.stem(inputs))

    def stem(self, inputs: Mapping[str, Tensor]) -> Features:
        # NaN-proof in the padding too: blank before the layer and after it.
        values = self.layer(masking.blank(inputs["values"], inputs["mask"])).tanh()
        return placed(masking.blank(values, inputs["mask"]), inputs["mask"])

    def tail(self, stem: Features) -> Features:
        values = masking.blank(self.dropout(stem.values) * 1.5 + 0.1, stem.mask)
        return replace(stem, values=values)

    def units(self, inputs: Mapping[str, Tensor], kind: str) -> Spans:
        if kind not in self.kinds:
            raise RemovalError("no such kind", expected="item", got=kind, mend="choose")
        return placed(inputs["values"], inputs["mask"]).spans

    def remove(
        self, inputs: Mapping[str, Tensor], units: Spans, keep: Tensor, how: str, seed: Any
    ) -> dict[str, Tensor]:
        fits = keep.dtype == torch.bool and keep.shape == units.start.shape
        if how not in self.removals or units.unit != "index" or not fits:
            raise InputError("a removal that does not fit", expected="", got="", mend="look")
        values, mask = inputs["values"].clone(), inputs["mask"].clone()
        place = torch.arange(mask.shape[1])[None, :, None] + 0.5
        inside = (units.start[:, None] <= place) & (place < units.end[:, None])
        gone = (inside & ~keep[:, None]).any(-1) & mask
        for row in range(len(values)):
            other = torch.zeros_like(values[row])
            if how == "noise":
                other = self.noise(
                    mask[row], [seed] * len(values) if isinstance(seed, int) else seed, row
                )
            values[row] = torch.where(gone[row, :, None], other, values[row])
        if how == "drop":
            mask = mask & ~gone
        return {**inputs, "values": values, "mask": mask}

    def noise(self, mask: Tensor, seeds: Sequence[int], row: int) -> Tensor:
        draw = torch.Generator().manual_seed(seeds[row])
        found = torch.zeros(len(mask), 4)
        found[mask] = torch.randn(int(mask.sum()), 4, generator=draw)
        return found


def changed(features: Features, values: Tensor, mask: Tensor | None = None) -> Features:
    mask = features.mask if mask is None else mask
    return replace(features, values=masking.blank(values, mask.bool()), mask=mask)


class MeanOverPaddedTime(Right):
    def tail(self, stem: Features) -> Features:
        found = super().tail(stem)
        return changed(found, found.values + stem.values.mean(1, keepdim=True))


class NormOverTheBatch(Right):
    def tail(self, stem: Features) -> Features:
        found = super().tail(stem)
        return changed(found, found.values - found.values[:, :1].mean(0))


class LongestFirst(Right):
    """Right where the first row is no shorter than the last, as in a sorted batch."""

    def tail(self, stem: Features) -> Features:
        found = super().tail(stem)
        count = stem.mask.sum(1)
        return changed(found, found.values + (count[0] < count[-1]) * 0.1)


class ForgetsRowsItHasSeen(Right):
    """Right where all rows differ."""

    def tail(self, stem: Features) -> Features:
        found = super().tail(stem)
        same = (stem.values[:, None] == stem.values[None]).flatten(2).all(-1)
        again = same.tril(-1).any(1)[:, None, None]
        return changed(found, found.values + 0.5 * again)


class WrongWidth(Right):
    def __init__(self, dim: int = 3, scale: float = 1.0) -> None:
        super().__init__(dim, scale)
        self.dim = dim + 1
        self._width = dim

    def settings(self) -> dict[str, Any]:
        return {"dim": self._width, "scale": self.scale}


class MixesPrecisions(Right):
    """Writes what autocast made into a tensor of another dtype."""

    def stem(self, inputs: Mapping[str, Tensor]) -> Features:
        found = inputs["values"].new_zeros(*inputs["mask"].shape, self.dim)
        found[inputs["mask"]] = self.layer(inputs["values"][inputs["mask"]])
        return placed(found, inputs["mask"])


class BatchNormInEval(Right):
    def __init__(self, dim: int = 3, scale: float = 1.0) -> None:
        super().__init__(dim, scale)
        self.norm = nn.BatchNorm1d(dim, momentum=0.5)

    def tail(self, stem: Features) -> Features:
        found = super().tail(stem)
        self.norm.train(bool(stem.mask.sum() > 1))
        return changed(found, self.norm(found.values.transpose(1, 2)).transpose(1, 2))


class NeverInEval(Right):
    def train(self, mode: bool = True) -> Any:
        super().train(mode)
        self.layer.train(True)
        return self


class WritesToItsInput(Right):
    def stem(self, inputs: Mapping[str, Tensor]) -> Features:
        with torch.no_grad():
            inputs["values"].mul_(2)
        return super().stem(inputs)


class Counts(Right):
    def __init__(self, dim: int = 3, scale: float = 1.0) -> None:
        super().__init__(dim, scale)
        self.calls = 0

    def tail(self, stem: Features) -> Features:
        self.calls += 1
        found = super().tail(stem)
        return changed(found, found.values + 0.01 * self.calls)


class InvertedMask(Right):
    def forward(self, inputs: Mapping[str, Tensor]) -> Features:
        found = super().forward(inputs)
        return replace(found, mask=~found.mask)


class FloatMask(Right):
    def forward(self, inputs: Mapping[str, Tensor]) -> Features:
        found = super().forward(inputs)
        return replace(found, mask=found.mask.float())


class NaNForMissing(Right):
    def forward(self, inputs: Mapping[str, Tensor]) -> Features:
        found = super().forward(inputs)
        count = found.mask.sum(1)[:, None, None]
        return replace(found, values=found.values * (count / count))


class NaNGradients(Right):
    def tail(self, stem: Features) -> Features:
        found = super().tail(stem)
        # 0 and a gradient of 0 * inf where there is nothing to take the root of.
        count = found.mask.sum(1)[:, None, None]
        energy = (self.layer.bias.square() * count).sqrt()
        return changed(found, found.values + torch.where(count > 0, energy, 0))


class LeavesPadding(Right):
    def forward(self, inputs: Mapping[str, Tensor]) -> Features:
        found = super().forward(inputs)
        return replace(found, values=found.values + 0.1)


class DropoutInEval(Right):
    def tail(self, stem: Features) -> Features:
        return changed(stem, F.dropout(stem.values, 0.5, training=True) * 1.5 + 0.1)


class DrawsInEval(Right):
    def tail(self, stem: Features) -> Features:
        torch.rand(1)
        return super().tail(stem)


class SpansOutside(Right):
    def tail(self, stem: Features) -> Features:
        found = super().tail(stem)
        moved = found.spans.start - 5 * found.mask
        return replace(found, spans=replace(found.spans, start=moved))


class ForgetsASetting(Right):
    def settings(self) -> dict[str, Any]:
        return {"dim": self.dim}

    def save_pretrained(self, folder: str | Path) -> None:
        super().save_pretrained(folder)

    def __init__(self, dim: int = 3, scale: float = 2.0) -> None:
        super().__init__(dim, scale)

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Any:
        return cls(**settings, scale=1.0)


class HiddenWeights(Right):
    """Its weights are no part of its state_dict: a copy has them, a folder does not."""

    def __init__(self, dim: int = 3, scale: float = 1.0) -> None:
        super().__init__(dim, scale)
        self.layer.weight.requires_grad_(False)

    def state_dict(self, *args: Any, **named: Any) -> Any:
        return {k: v for k, v in super().state_dict(*args, **named).items() if "weight" not in k}

    def load_state_dict(self, state: Any, strict: bool = True, assign: bool = False) -> Any:
        return super().load_state_dict(state, strict=False, assign=assign)


class DrawsWhileLoading(Right):
    @classmethod
    def from_pretrained(cls, checkpoint: str | Path) -> Any:
        torch.rand(3)
        return super().from_pretrained(checkpoint)


class SavesAPickle(Right):
    def save_pretrained(self, folder: str | Path) -> None:
        super().save_pretrained(folder)
        (Path(folder) / "extra.dat").write_bytes(pickle.dumps({"scale": self.scale}))


class SharesWithItsCopy(Right):
    def __deepcopy__(self, memo: Any) -> Any:
        return copy.copy(self)


class Float32Only(Right):
    def tail(self, stem: Features) -> Features:
        found = super().tail(stem)
        return replace(found, values=found.values.float())


class EdgesSeePadding(Right):
    """A convolution over what is zero beyond a row: right values, but not for any padding."""

    def stem(self, inputs: Mapping[str, Tensor]) -> Features:
        values = self.layer(inputs["values"])
        after = F.pad(inputs["values"], (0, 0, 0, 1))[:, 1:, : self.dim]
        return placed(masking.blank((values + after).tanh(), inputs["mask"]), inputs["mask"])

"""Encoders that are wrong in one way: how they collate, remove, and fall into stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from broken_encoders import Collate, Right, changed
from torch import Tensor, nn
from torch.nn import functional as F

from modalxai.types import Features, Spans


class ListsInTheInput(Collate):
    def __call__(self, raws: Sequence[Tensor | None]) -> dict[str, Any]:
        found = super().__call__(raws)
        return {**found, "lengths": found["mask"].sum(1).tolist()}


class CollatesLists(Right):
    def __init__(self, dim: int = 3, scale: float = 1.0) -> None:
        super().__init__(dim, scale)
        self.collate = ListsInTheInput()


class LooksForBlanks(Right):
    def tail(self, stem: Features) -> Features:
        found = super().tail(stem)
        hit = (stem.values == self.blank).all(-1).any()
        return changed(found, found.values + 0.5 * hit)


class RemovesInPlace(Right):
    def remove(self, inputs: Any, units: Any, keep: Any, how: Any, seed: Any) -> Any:
        found = super().remove(inputs, units, keep, how, seed)
        return {**found, "values": inputs["values"].copy_(found["values"])}


class NamesInAList(Right):
    removals: Any = ["zero"]  # noqa: RUF012


class ScalesTheBatch(Collate):
    """Divides by the largest number of the batch."""

    def __call__(self, raws: Sequence[Tensor | None]) -> dict[str, Tensor]:
        found = super().__call__(raws)
        return {**found, "values": found["values"] / found["values"].abs().max().clamp(min=1)}


class ScalesItsRaws(Collate):
    def __call__(self, raws: Sequence[Tensor | None]) -> dict[str, Tensor]:
        for raw in raws:
            if raw is not None:
                raw.mul_(1.5)
        return super().__call__([None if raw is None else raw / 1.5 for raw in raws])


class CarriesWeights(Collate):
    def __init__(self) -> None:
        object.__setattr__(self, "scale", 1.0)
        object.__setattr__(self, "layer", nn.Linear(2, 2))


class CollatesTheBatch(Right):
    def __init__(self, dim: int = 3, scale: float = 1.0) -> None:
        super().__init__(dim, scale)
        self.collate = ScalesTheBatch()


class CollateWritesToRaws(Right):
    def __init__(self, dim: int = 3, scale: float = 1.0) -> None:
        super().__init__(dim, scale)
        self.collate = ScalesItsRaws()


class CollateWithWeights(Right):
    def __init__(self, dim: int = 3, scale: float = 1.0) -> None:
        super().__init__(dim, scale)
        self.collate = CarriesWeights()


class CollateWithALambda(Right):
    def __init__(self, dim: int = 3, scale: float = 1.0) -> None:
        super().__init__(dim, scale)
        self.collate = lambda raws: Collate()(raws)


class RemovesEverything(Right):
    def remove(self, inputs: Any, units: Any, keep: Any, how: Any, seed: Any) -> Any:
        keep = keep & ~keep if keep.dtype == torch.bool else keep
        return super().remove(inputs, units, keep, how, seed)


class RemovesNothing(Right):
    def remove(self, inputs: Any, units: Any, keep: Any, how: Any, seed: Any) -> Any:
        super().remove(inputs, units, keep, how, seed)
        return dict(inputs)


class RemovesFromTheMaskOnly(Right):
    def remove(self, inputs: Any, units: Any, keep: Any, how: Any, seed: Any) -> Any:
        found = super().remove(inputs, units, keep, how, seed)
        return {**found, "values": inputs["values"]} if how == "drop" else found


class LeaksWhatItRemoves(Right):
    removals = ("zero",)

    def remove(self, inputs: Any, units: Any, keep: Any, how: Any, seed: Any) -> Any:
        found = super().remove(inputs, units, keep, how, seed)
        return {**found, "values": torch.lerp(found["values"], inputs["values"], 0.01)}


class RemovesInAllRows(Right):
    def remove(self, inputs: Any, units: Any, keep: Any, how: Any, seed: Any) -> Any:
        keep = keep.all(0, keepdim=True) & keep if keep.dtype == torch.bool else keep
        return super().remove(inputs, units, keep, how, seed)


class KnowsItsOwnUnitsOnly(Right):
    def remove(self, inputs: Any, units: Any, keep: Any, how: Any, seed: Any) -> Any:
        own = self.units(inputs, "item")
        if units.start.shape[1] < own.start.shape[1]:
            short = own.start.shape[1] - units.start.shape[1]
            keep = F.pad(keep, (0, short), value=True)
            units = own
        return super().remove(inputs, units, keep, how, seed)


class NoiseOfTheBatch(Right):
    def noise(self, mask: Tensor, seeds: Sequence[int], row: int) -> Tensor:
        draw = torch.Generator().manual_seed(seeds[row])
        whole = torch.randn(len(mask), 4, generator=draw).flip(0)
        return whole * mask[:, None]


class NoiseOfTheGlobalGenerator(Right):
    def noise(self, mask: Tensor, seeds: Sequence[int], row: int) -> Tensor:
        torch.manual_seed(seeds[row])
        return torch.randn(4).expand(len(mask), 4)


class TakesAnyRemoval(Right):
    def remove(self, inputs: Any, units: Any, keep: Any, how: Any, seed: Any) -> Any:
        how = how if how in self.removals else "zero"
        return super().remove(inputs, units, keep, how, seed)


class OverlappingUnits(Right):
    def units(self, inputs: Mapping[str, Tensor], kind: str) -> Spans:
        found = super().units(inputs, kind)
        return replace(found, end=torch.where(found.mask, found.end + 0.5, found.end))


class UncoveredUnits(Right):
    def units(self, inputs: Mapping[str, Tensor], kind: str) -> Spans:
        found = super().units(inputs, kind)
        return replace(found, end=torch.where(found.start == 1, found.start, found.end))


class OtherStages(Right):
    def forward(self, inputs: Mapping[str, Tensor]) -> Features:
        found = super().forward(inputs)
        return changed(found, found.values * 2)


class TailWritesToTheStem(Right):
    def tail(self, stem: Features) -> Features:
        found = super().tail(stem)
        with torch.no_grad():
            stem.values.zero_()
        return found


class NarrowBlank(Right):
    def __init__(self, dim: int = 3, scale: float = 1.0) -> None:
        super().__init__(dim, scale)
        self.blank = nn.Parameter(torch.ones(1))

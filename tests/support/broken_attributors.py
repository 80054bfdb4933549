"""Attributors that are wrong in one way each."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from modalxai import attribution
from modalxai.attribution import ModalityAblation, ModalityShapley, Owen, on_scale
from modalxai.protocols import AXIOMS, Axiom, Game
from modalxai.types import Attribution

Labels = Sequence[str] | None
COUNTED = {"calls": 0}


@dataclass(frozen=True)
class Wrong(ModalityShapley):
    """A right one, to be made wrong; it claims nothing."""

    axioms: ClassVar[tuple[Axiom, ...]] = ()

    def right(self, game: Game, labels: Labels = None) -> Attribution:
        return ModalityShapley.attribute(self, game, labels)

    def attribute(self, game: Game, labels: Labels = None) -> Attribution:
        return self.wrong(self.right(game, labels), game)

    def wrong(self, found: Attribution, game: Game) -> Any:
        raise NotImplementedError


class ReturnsADict(Wrong):
    def wrong(self, found: Attribution, game: Game) -> Any:
        return {"totals": found.totals}


class ModalitiesByName(Wrong):
    def wrong(self, found: Attribution, game: Game) -> Any:
        order = sorted(range(len(found.modalities)), key=found.modalities.__getitem__)
        return replace(
            found,
            modalities=tuple(found.modalities[at] for at in order),
            present=found.present[:, order],
            totals=found.totals[..., order],
            se=found.se[..., order],
        )


class DividesByNothing(Wrong):
    def wrong(self, found: Attribution, game: Game) -> Any:
        here = found.present[:, None].expand(found.totals.shape)
        return replace(found, totals=found.totals / here)


class NegativeErrors(Wrong):
    def wrong(self, found: Attribution, game: Game) -> Any:
        return replace(found, se=found.se - 0.1)


class AlwaysAllLabels(Wrong):
    def attribute(self, game: Game, labels: Labels = None) -> Attribution:
        self.right(game, labels)  # refuses what is unknown
        return self.right(game)


class LeavesUnknownLabelsOut(Wrong):
    def attribute(self, game: Game, labels: Labels = None) -> Attribution:
        known = [label.name for label in game.labels]
        chosen = None if labels is None else [name for name in labels if name in known] or known
        return self.right(game, chosen)


class BareKeyError(Wrong):
    def attribute(self, game: Game, labels: Labels = None) -> Attribution:
        columns = {label.name: label for label in game.labels}
        return self.right(game, None if labels is None else [columns[n].name for n in labels])


class GivesToTheMissing(Wrong):
    def wrong(self, found: Attribution, game: Game) -> Any:
        return replace(found, totals=found.totals + 0.1)


@dataclass(frozen=True)
class WritesOnPadding(Owen):
    def attribute(self, game: Game, labels: Labels = None) -> Attribution:
        found = super().attribute(game, labels)
        units = {
            name: one + 0.1 * ~found.mask[name][:, None] * found.mask[name].any(1)[:, None, None]
            for name, one in found.units.items()
        }
        # What is added is taken away again elsewhere, so that only the padding is wrong.
        for name, one in units.items():
            one[..., 0] -= (one - found.units[name]).sum(-1)
        return replace(found, units=units)


class PredictsProbabilities(Wrong):
    def wrong(self, found: Attribution, game: Game) -> Any:
        return replace(found, prediction=found.prediction.sigmoid())


@dataclass(frozen=True)
class MadeUpReference(ModalityAblation):
    axioms: ClassVar[tuple[Axiom, ...]] = AXIOMS

    def attribute(self, game: Game, labels: Labels = None) -> Attribution:
        found = super().attribute(game, labels)
        return replace(found, reference=found.prediction - found.totals.sum(-1))


class ForgetsTheRemoval(Wrong):
    def wrong(self, found: Attribution, game: Game) -> Any:
        return replace(found, provenance=replace(found.provenance, removal={}))


class TuplesInParams(Wrong):
    def wrong(self, found: Attribution, game: Game) -> Any:
        return replace(found, provenance=replace(found.provenance, params={"nodes": (1, 2)}))


class HalfOnDisk(Attribution):
    def save(self, folder: str | Path) -> None:
        kept = {name: getattr(self, name) for name in Attribution.__dataclass_fields__}
        Attribution(**kept | {"totals": self.totals.half()}).save(folder)


class SavesLess(Wrong):
    def wrong(self, found: Attribution, game: Game) -> Any:
        return HalfOnDisk(**{n: getattr(found, n) for n in Attribution.__dataclass_fields__})


class DrawsGlobally(Wrong):
    def wrong(self, found: Attribution, game: Game) -> Any:
        return replace(found, totals=found.totals * (1 + 0.1 * torch.rand(1)))


class DrawsWithPython(Wrong):
    def wrong(self, found: Attribution, game: Game) -> Any:
        random.random()
        return found


class ReadsTheGlobalSeed(Wrong):
    def wrong(self, found: Attribution, game: Game) -> Any:
        return replace(found, totals=found.totals * (1 + torch.initial_seed() % 7))


class CountsItsCalls(Wrong):
    def wrong(self, found: Attribution, game: Game) -> Any:
        COUNTED["calls"] += 1
        return replace(found, totals=found.totals * COUNTED["calls"])


class RemembersTheLast(Wrong):
    def wrong(self, found: Attribution, game: Game) -> Any:
        object.__setattr__(self, "last", found.totals)
        return found


class WritesToTheGame(attribution.FeatureDifference):
    def attribute(self, game: Any, labels: Labels = None) -> Attribution:
        found = super().attribute(game, labels)
        for name in game.modalities:
            game.encode(name).values.mul_(0.5)
        return found


class WritesToTheTable(Wrong):
    def wrong(self, found: Attribution, game: Any) -> Any:
        game._table += 1
        return found


@dataclass(frozen=True)
class HoldsAModel(Wrong):
    model: nn.Module = field(default_factory=lambda: nn.Linear(2, 2))

    def wrong(self, found: Attribution, game: Game) -> Any:
        return found


@dataclass(frozen=True)
class HoldsALambda(Wrong):
    weight: Any = field(default_factory=lambda: lambda size: 1 / size)

    def wrong(self, found: Attribution, game: Game) -> Any:
        return found


class CentresOverTheBatch(Wrong):
    def wrong(self, found: Attribution, game: Game) -> Any:
        centred = found.totals - found.totals.mean(0)
        return replace(found, totals=centred * found.present[:, None])


class SeedsByPlace(Wrong):
    def wrong(self, found: Attribution, game: Game) -> Any:
        draws = [torch.Generator().manual_seed(row) for row in range(len(found.sample_ids))]
        noise = torch.stack([torch.randn(1, generator=draw) for draw in draws])
        return replace(found, totals=found.totals * (1 + noise[:, None]))


class SortsById(Wrong):
    def wrong(self, found: Attribution, game: Game) -> Any:
        rows = sorted(range(len(found.sample_ids)), key=found.sample_ids.__getitem__)
        return replace(
            found,
            sample_ids=tuple(found.sample_ids[row] for row in rows),
            **{
                name: getattr(found, name)[rows]
                for name in ("present", "totals", "se", "prediction", "reference")
            },
        )


class SaysHowManySamples(Wrong):
    def wrong(self, found: Attribution, game: Game) -> Any:
        params = {"samples": len(found.sample_ids)}
        return replace(found, provenance=replace(found.provenance, params=params))


class Gains(Wrong):
    """What each modality adds to those before it, in one order alone."""

    def order(self, game: Game) -> list[str]:
        return list(game.modalities)

    def wrong(self, found: Attribution, game: Game) -> Any:
        keep = {
            name: torch.zeros_like(spans.start, dtype=torch.bool)
            for name, spans in game.players.items()
        }
        totals = torch.zeros_like(found.totals)
        columns = [list(game.labels).index(label) for label in found.labels]
        before = self.score(game, keep, columns)
        for name in self.order(game):
            keep[name] = torch.ones_like(keep[name])
            now = self.score(game, keep, columns)
            totals[..., game.modalities.index(name)] = now - before
            before = now
        return replace(found, totals=totals)

    def score(self, game: Game, keep: dict[str, Tensor], columns: list[int]) -> Tensor:
        return on_scale(game.value(keep), game.labels, "clr").mean(0)[:, columns]


class FirstComeFirstServed(Gains):
    axioms = ("efficiency", "null player", "linearity")


class AlphabetFirst(Gains):
    axioms = AXIOMS

    def order(self, game: Game) -> list[str]:
        return sorted(game.modalities)


class NotInTheGamesPrecision(Gains):
    def order(self, game: Game) -> list[str]:
        return sorted(game.modalities)

    def score(self, game: Game, keep: dict[str, Tensor], columns: list[int]) -> Tensor:
        raw = game.value(keep).mean(0)
        return on_scale(raw, game.labels, "clr").to(raw.dtype)[:, columns]


class RawThoughItSaysClr(Gains):
    def order(self, game: Game) -> list[str]:
        return sorted(game.modalities)

    def score(self, game: Game, keep: dict[str, Tensor], columns: list[int]) -> Tensor:
        return game.value(keep).mean(0).float()[:, columns]


@dataclass(frozen=True)
class ClaimsEfficiency(ModalityAblation):
    axioms: ClassVar[tuple[Axiom, ...]] = AXIOMS


class EqualShares(Wrong):
    axioms = AXIOMS

    def wrong(self, found: Attribution, game: Game) -> Any:
        here = found.present[:, None].float()
        whole = (found.prediction - found.reference)[..., None]
        return replace(found, totals=whole * here / here.sum(-1, keepdim=True).clamp(min=1))


class SquaresTotals(Wrong):
    axioms = ("null player", "symmetry", "linearity")

    def wrong(self, found: Attribution, game: Game) -> Any:
        return replace(found, totals=found.totals * found.totals.abs())


class UnitsThatDoNotAddUp(Owen):
    def attribute(self, game: Game, labels: Labels = None) -> Attribution:
        found = super().attribute(game, labels)
        return replace(found, units={name: one * 2 for name, one in found.units.items()})

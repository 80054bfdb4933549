"""Games that an attributor is tried on, and variants of each of which something is known."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from modalxai.errors import ModalxaiError
from modalxai.protocols import Game
from modalxai.testing.conformance import NotApplicable, spared
from modalxai.testing.fusion_case import LABELS
from modalxai.testing.unit_table import UnitTableGame
from modalxai.testing.vector_game import VectorGame, random_vectors
from modalxai.types import Labels, columns, labels

SAMPLES = 5
SCORE = labels("first", "second", kind="dimensional")
"""Labels that are the same on every scale."""


class Venue(Protocol):
    """One kind of game. Every call makes a new one, so that nobody's marks are left on it."""

    def game(self, seed: int = 0) -> Game:
        """A game of five samples, some of which lack a modality; labels of every kind."""
        ...

    def shifted(self) -> Game:
        """`game`, and a number added to every categorical logit, another in each coalition."""
        ...

    def turned(self) -> Game:
        """`game`, its modalities in the opposite order."""
        ...

    def sums(self) -> tuple[Game, Game, Game]:
        """Two games, and the game whose scores are the sums of theirs."""
        ...

    def dummy(self) -> tuple[Game, str]:
        """A game, and a modality that changes no score."""
        ...

    def twins(self) -> tuple[Game, tuple[str, str]]:
        """A game, and two modalities that may be exchanged."""
        ...

    def half(self) -> tuple[Game, Game]:
        """A game whose scores are bfloat16, and the same numbers in float64."""
        ...


@dataclass(frozen=True)
class Tables:
    """Games read from random tables.

    Parameters
    ----------
    units
        By modality its number of players, the first two equal.
    """

    units: Mapping[str, int]

    def game(self, seed: int = 0) -> Game:
        """See `Venue`."""
        return self._made(self._table(seed), LABELS, self._missing())

    def shifted(self) -> Game:
        """See `Venue`."""
        table = self._table(0)
        draw = torch.Generator().manual_seed(9)
        added = 3 * torch.randn(*table.shape[:2], 1, generator=draw)
        table[..., columns(LABELS, "categorical")] += added
        return self._made(table, LABELS, self._missing())

    def turned(self) -> Game:
        """See `Venue`."""
        order = list(self.units)[::-1]
        masks = self._missing()
        return self._made(
            self._table(0)[self._rows(order)],
            LABELS,
            {name: masks[name] for name in order},
            {name: self.units[name] for name in order},
        )

    def sums(self) -> tuple[Game, Game, Game]:
        """See `Venue`."""
        first, second = (self._table(seed, len(SCORE)) for seed in (1, 2))
        made = [self._made(table, SCORE) for table in (first, second, first + second)]
        return made[0], made[1], made[2]

    def dummy(self) -> tuple[Game, str]:
        """See `Venue`."""
        name = list(self.units)[-1]
        others = sum(self.units.values()) - self.units[name]  # the last one has the highest bits
        rows = torch.arange(2 ** sum(self.units.values())) % 2**others
        return self._made(self._table(3, len(SCORE))[rows], SCORE), name

    def twins(self) -> tuple[Game, tuple[str, str]]:
        """See `Venue`."""
        first, second, *rest = self.units
        table = self._table(4, len(SCORE))
        even = (table + table[self._rows([second, first, *rest])]) / 2
        return self._made(even, SCORE), (first, second)

    def half(self) -> tuple[Game, Game]:
        """See `Venue`."""
        table = (20 + self._table(5)).bfloat16()
        return self._made(table, LABELS), self._made(table.double(), LABELS)

    def _table(self, seed: int, count: int = len(LABELS)) -> Tensor:
        draw = torch.Generator().manual_seed(seed)
        return torch.randn(2 ** sum(self.units.values()), SAMPLES, count, generator=draw)

    def _made(
        self,
        table: Tensor,
        found: Labels,
        mask: Mapping[str, Tensor] | None = None,
        units: Mapping[str, int] | None = None,
    ) -> Game:
        return UnitTableGame(table, found, units or self.units, mask)

    def _missing(self) -> dict[str, Tensor]:
        """The second sample lacks the last modality, the third the first, the last everything."""
        masks = {name: torch.ones(SAMPLES, n).bool() for name, n in self.units.items()}
        names = list(masks)
        masks[names[-1]][1] = False
        masks[names[0]][2] = False
        for mask in masks.values():
            mask[3, 1:] = False
            mask[4] = False
        return masks

    def _rows(self, order: Sequence[str]) -> Tensor:
        """By row of a table with the modalities in ``order``, the row of ours that it is."""
        starts, start = {}, 0
        for name, count in self.units.items():
            starts[name] = start
            start += count
        bits = [starts[name] + unit for name in order for unit in range(self.units[name])]
        rows = torch.arange(2**start)
        found = torch.zeros_like(rows)
        for place, bit in enumerate(bits):
            found += (rows >> place & 1) << bit
        return found


@dataclass(frozen=True)
class Vectors:
    """Games of a bilinear fusion, for what needs gradients or time-frequency maps."""

    def game(self, seed: int = 0) -> VectorGame:
        """See `Venue`."""
        return random_vectors(LABELS, {"audio": 3, "text": 2, "body": 2}, SAMPLES, seed)

    def shifted(self) -> VectorGame:
        """See `Venue`."""
        game = self.game()
        draw = torch.Generator().manual_seed(9)
        added = {
            name: 3 * torch.randn(len(own), generator=draw) for name, own in game.absent.items()
        }
        return replace(game, shift=added)

    def turned(self) -> VectorGame:
        """See `Venue`."""
        game = self.game()
        features = {name: game.features[name] for name in list(game.features)[::-1]}
        return replace(game, features=features)

    def sums(self) -> tuple[VectorGame, VectorGame, VectorGame]:
        """See `Venue`."""
        first, second, together = (random_vectors(SCORE, seed=1) for _ in range(3))
        draw = torch.Generator().manual_seed(2)

        def other(parts: Mapping[Any, Tensor]) -> dict[Any, Tensor]:
            return {key: torch.randn(one.shape, generator=draw) for key, one in parts.items()}

        def both(one: Mapping[Any, Tensor], two: Mapping[Any, Tensor]) -> dict[Any, Tensor]:
            return {key: one[key] + two[key] for key in one}

        second = replace(
            second, weights=other(first.weights), crossed=other(first.crossed), bias=-first.bias
        )
        together = replace(
            together,
            weights=both(first.weights, second.weights),
            crossed=both(first.crossed, second.crossed),
            bias=first.bias + second.bias,
        )
        return first, second, together

    def dummy(self) -> tuple[VectorGame, str]:
        """See `Venue`."""
        game = random_vectors(SCORE, {"audio": 3, "text": 2, "body": 2}, seed=3)
        weights = {**game.weights, "body": torch.zeros_like(game.weights["body"])}
        crossed = {pair: one for pair, one in game.crossed.items() if "body" not in pair}
        return replace(game, weights=weights, crossed=crossed), "body"

    def twins(self) -> tuple[VectorGame, tuple[str, str]]:
        """See `Venue`."""
        game = random_vectors(SCORE, {"audio": 3, "text": 3}, seed=4)
        table = game.crossed["audio", "text"]
        return replace(
            game,
            features=dict.fromkeys(game.features, game.features["audio"]),
            weights=dict.fromkeys(game.weights, game.weights["audio"]),
            absent=dict.fromkeys(game.absent, game.absent["audio"]),
            crossed={("audio", "text"): (table + table.transpose(0, 1)) / 2},
        ), ("audio", "text")

    def half(self) -> tuple[Game, Game]:
        """A fusion in bfloat16 rounds by itself, so that there is nothing to compare."""
        raise NotApplicable("the kit's games of vectors have float32 scores only")


VENUES: Mapping[str, Venue] = {
    "modalities": Tables({"audio": 1, "text": 1, "body": 1}),
    "units": Tables({"audio": 2, "text": 2, "body": 1}),
    "vectors": Vectors(),
}
"""By what their players are; an attributor is tried on the first that it takes."""


def fitting(attributor: Any) -> Venue | None:
    """The first of the kit's games that an attributor takes, else the first it stumbles over."""
    stumbled = None
    for venue in VENUES.values():
        try:
            with spared():
                copy.deepcopy(attributor).attribute(venue.game())
        except ModalxaiError:
            continue
        except Exception:  # a fault that the checks will name
            stumbled = stumbled or venue
            continue
        return venue
    return stumbled


def fits(attributor: Any) -> bool:
    """Whether the kit has a game for an attributor."""
    return fitting(attributor) is not None

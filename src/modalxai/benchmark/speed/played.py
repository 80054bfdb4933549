"""A game of words and moments whose every score is known, asked by us and by everybody else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from modalxai.attribution import indices
from modalxai.attribution.scales import on_scale
from modalxai.attribution.units import joint
from modalxai.protocols import Game
from modalxai.testing.unit_table import UnitTableGame


@dataclass(frozen=True, eq=False)
class Known:
    """Every score of one sample of a divided game.

    Parameters
    ----------
    raw
        [2**U, K], the first modality's players the lowest bits.
    units
        By modality, how many players.
    labels
        The K labels.
    """

    raw: Tensor
    units: Mapping[str, int]
    labels: Any

    @classmethod
    def of(cls, game: Game) -> Known:
        """Ask a divided game of one sample and two modalities for everything."""
        names = game.modalities
        sizes = {name: game.players[name].start.shape[1] for name in names}
        keep = {}
        for place, name in enumerate(names):
            bits = torch.arange(2 ** sizes[name])[:, None] >> torch.arange(sizes[name]) & 1
            shape = [1, 1, 1, sizes[name]]
            shape[place] = len(bits)
            keep[name] = bits.bool().reshape(shape)
        return cls(joint(game.value(keep)[0, :, :, 0]), sizes, game.labels)

    @cached_property
    def values(self) -> Tensor:
        """Centred log-ratios [2**U, K], float64."""
        return on_scale(self.raw.double(), self.labels, "clr", None)

    @cached_property
    def exact(self) -> Tensor:
        """Shapley values [K, U] of the flat game, from the definition's transform of all rows."""
        return indices.shapley(self.values)

    def asked(self, costs: Mapping[str, float]) -> CountedTable:
        """A game of ours that counts the encodings it would have needed."""
        return CountedTable(self, costs)

    def masked(self, first: int = 0) -> Lookup:
        """A function of masks that counts its rows; label ``first`` is its first column."""
        return Lookup(self, first)


class CountedTable(UnitTableGame):
    """The game for our attributors.

    Parameters
    ----------
    known
        Its scores.
    costs
        By modality, what encoding one row costs.
    """

    def __init__(self, known: Known, costs: Mapping[str, float]) -> None:
        super().__init__(known.raw[:, None], known.labels, known.units)
        self._costs = dict(costs)
        self._seen: dict[str, set[bytes]] = {name: set() for name in known.units}

    def cost(self, modality: str) -> float:
        """Of encoding one row."""
        return self._costs[modality]

    @property
    def encoded(self) -> dict[str, int]:
        """By modality, how many different rows have been asked for: what a model would encode."""
        return {name: len(seen) for name, seen in self._seen.items()}

    def value(self, keep: Mapping[str, Tensor]) -> Tensor:
        """See `UnitTableGame.value`."""
        for name, mask in keep.items():
            rows = torch.unique(mask.reshape(-1, mask.shape[-1]), dim=0)
            self._seen[name] |= {row.numpy().tobytes() for row in rows}
        return super().value(keep)


class Lookup:
    """The game for everybody else: one row for each coalition that is asked about.

    Coalitions that were asked about before cost nothing: a user's cache would hold them.

    Parameters
    ----------
    known
        Its scores.
    first
        The label that comes first, where methods of one label find it; the others follow round.
    """

    def __init__(self, known: Known, first: int = 0) -> None:
        self._values, self._first = known.values, first
        self._bits = 1 << torch.arange(sum(known.units.values()))
        self._seen: set[int] = set()
        self.players = dict(known.units)

    @property
    def rows_asked(self) -> int:
        """Different coalitions so far."""
        return len(self._seen)

    @property
    def on(self) -> Tensor:
        """Ones [1, U]."""
        return torch.ones(1, len(self._bits))

    @property
    def off(self) -> Tensor:
        """Zeros [1, U]."""
        return torch.zeros_like(self.on)

    @property
    def rows(self) -> Tensor:
        """The one sample."""
        return torch.zeros(1, dtype=torch.long)

    def __call__(self, masks: Tensor, rows: Tensor | None = None) -> Tensor:
        """Centred log-ratios [n, L]."""
        return self._scores(masks).float()

    def array(self, masks: Any) -> Any:
        """The same as arrays."""
        return self._scores(torch.as_tensor(masks)).numpy()

    def _scores(self, masks: Tensor) -> Tensor:
        places = (masks.bool().long() * self._bits).sum(1)
        self._seen.update(places.tolist())
        return self._values[places].roll(-self._first, dims=-1)

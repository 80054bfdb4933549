"""Attributions written by hand, and games that count what they are asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

import modalxai as mx
from modalxai.protocols import Game
from modalxai.testing import UnitTableGame
from modalxai.types import Attribution, Provenance


def attribution(game: Game, units: Mapping[str, Tensor], scale: str = "clr") -> Attribution:
    """Units [B, L, U] of every modality of a divided game; totals are their sums."""
    spans = game.players
    totals = torch.stack([units[name].sum(-1) for name in game.modalities], dim=-1)
    nothing = totals.new_zeros(totals.shape[:2])
    return Attribution(
        sample_ids=game.sample_ids,
        labels=game.labels,
        modalities=game.modalities,
        present=game.present,
        totals=totals,
        units=units,
        pairs={},
        se=torch.zeros_like(totals),
        mask={name: spans[name].mask for name in units},
        spans={name: spans[name] for name in units},
        prediction=nothing,
        reference=nothing,
        provenance=Provenance("hand", {}, scale, level=game.level, **game.settings),
    )


def one_map(game: Game, values: list[float]) -> Attribution:
    """One sample, one label: a value for each player, modality after modality."""
    units, start = {}, 0
    for name, spans in game.players.items():
        stop = start + spans.start.shape[1]
        units[name] = torch.tensor(values[start:stop], dtype=torch.float64)[None, None]
        start = stop
    return attribution(game, units)


def random_game(seed: int = 0, samples: int = 3) -> tuple[UnitTableGame, Attribution]:
    """3 words and 2 moments, of which some samples lack some; three emotions and one value."""
    draw = torch.Generator().manual_seed(seed)
    units = {"text": 3, "audio": 2}
    labels = mx.labels("x", "y", "z") + mx.labels("v", kind="dimensional")
    values = torch.randn(32, samples, len(labels), generator=draw).double()
    text, audio = torch.ones(samples, 3).bool(), torch.ones(samples, 2).bool()
    text[1, 2] = False
    audio[2] = False
    game = UnitTableGame(values, labels, units, {"text": text, "audio": audio})
    found = {
        name: torch.randn(samples, len(labels), count, generator=draw).double()
        for name, count in units.items()
    }
    real = {name: spans.mask[:, None] for name, spans in game.players.items()}
    return game, attribution(game, {name: found[name] * real[name] for name in units})


class Watched:
    """A game that counts the questions and the coalitions in them."""

    def __init__(self, game: Any) -> None:
        self._game = game
        self.asked: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._game, name)

    def select(self, rows: Sequence[int]) -> Watched:
        """Some of the samples; what is asked of them is counted here."""
        part = Watched(self._game.select(rows))
        part.asked = self.asked
        return part

    def value(self, keep: Mapping[str, Tensor]) -> Tensor:
        shape = torch.broadcast_shapes(*(mask.shape[:-2] for mask in keep.values()))
        self.asked.append(int(torch.tensor(shape).prod()) if shape else 1)
        return self._game.value(keep)

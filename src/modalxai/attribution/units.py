"""Results of attributors whose players are words, moments and the like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import factorial, prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modalxai.attribution.coalitions import mean_over
from modalxai.attribution.grid import OneSample, Players, costs_of, shares_of_budget
from modalxai.attribution.masks import Chance, Masks, every, sample
from modalxai.attribution.regression import estimate
from modalxai.audio import seed_for
from modalxai.errors import InputError
from modalxai.protocols import Divided, Game
from modalxai.types import Spans

BUDGET = 2048
"""Encoder rows for a sample: what 10 words and 10 segments need to be exact."""


@dataclass(eq=False)
class Rows:
    """Values of players, sample by sample, put into [B, L, U] by modality."""

    spans: Mapping[str, Spans]
    labels: int
    values: dict[str, Tensor] = field(init=False)
    se: dict[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        shape = {name: one.start.shape for name, one in self.spans.items()}
        self.values, self.se = (
            {
                name: torch.zeros(rows, self.labels, players, dtype=torch.float64)
                for name, (rows, players) in shape.items()
            }
            for _ in range(2)
        )

    def put(self, name: str, row: int, places: Tensor, values: Tensor, se: Tensor) -> None:
        """One sample's values and standard errors, each [L, n]."""
        self.values[name][row][:, places] = values
        self.se[name][row][:, places] = se


def divided_modalities(game: Game, players: Players) -> list[str]:
    """The modalities with players of their own.

    Raises
    ------
    InputError
        None has any.
    """
    known = set(game.divided) if isinstance(game, Divided) else set(players)
    found = [
        name for name, spans in game.players.items() if name in known or spans.start.shape[-1] > 1
    ]
    if not found:
        raise InputError(
            "no modality is divided into players",
            expected='players such as {"text": "word", "audio": "segment"}',
            got=repr(dict(players)),
            mend="name players, or ask modality-shapley",
        )
    return found


def check_budget(budget: int) -> None:
    """Refuse a budget that is no whole number from 1."""
    if isinstance(budget, bool) or not isinstance(budget, int) or budget < 1:
        raise InputError(
            "budget out of range",
            expected="a whole number of encoder rows",
            got=repr(budget),
            mend=f"{BUDGET} is exact for 10 + 10 players",
        )


def masks_for(
    one: OneSample,
    names: Sequence[str],
    budget: int,
    seed: int,
    cells: int | None = None,
    by: Chance = "leverage",
) -> dict[str, Masks]:
    """Coalitions of the players of each modality: all of them where the budget allows it.

    ``cells`` is the most that they may be crossed to, where they are; ``by`` that of
    `modalxai.attribution.masks.sample`.
    """
    counts = {name: len(one.real[name]) for name in names}
    every_row = [2**count for count in counts.values()]
    if sum(every_row) <= budget and (cells is None or prod(every_row) <= cells):
        return {name: every(count) for name, count in counts.items()}
    rows = shares_of_budget(budget, counts, costs_of(one.game, names), cells)
    sample_id = one.game.sample_ids[one.row]
    return {
        name: sample(count, rows[name], seed_for(f"masks/{name}/{sample_id}", seed), by)
        for name, count in counts.items()
    }


def quotient_weights(others: int, apart: int) -> Tensor:
    """Weights of the coalitions of ``others`` modalities, each there or not, [2] * others.

    ``q! (M - q - apart)! / (M - apart + 1)!`` with M = others + apart: Shapley's for one modality
    set apart, the interaction index's for two.
    """
    most = others + apart
    by_size = torch.tensor(
        [
            factorial(q) * factorial(most - q - apart) / factorial(most - apart + 1)
            for q in range(others + 1)
        ],
        dtype=torch.float64,
    )
    sizes = torch.zeros([2] * others, dtype=torch.long)
    for axis in range(others):
        on = torch.arange(2).reshape([2 if at == axis else 1 for at in range(others)])
        sizes = sizes + on
    return by_size[sizes]


def joint_masks(one: OneSample, budget: int, seed: int) -> Masks:
    """Coalitions of the players of all modalities together, for a game that shares no work.

    Raises
    ------
    InputError
        A budget with fewer than 4 coalitions for each player.
    """
    players = sum(len(one.real[name]) for name in one.here)
    if 2**players <= budget:
        return every(players)
    whole = " + ".join(one.here)
    rows = shares_of_budget(budget, {whole: players}, {whole: 1.0})
    sample_id = one.game.sample_ids[one.row]
    return sample(players, rows[whole], seed_for(f"masks/{sample_id}", seed))


def sampled(
    masks: Sequence[Masks], table: Tensor, enumerated: bool, parts: Sequence[int] | None = None
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Values and standard errors [L, n] of players, and those of each modality's sum, [L, M].

    Parameters
    ----------
    masks
        Of each modality; V_m rows of n_m players.
    table
        [R, V_1, ..., V_M, L]. The masks are the same in all draws, so their error is that of the
        mean, and that of the draws comes on top.
    enumerated
        Whether the draws are all there are.
    parts
        How many players each sum takes; each modality's own for ``None``.
    """
    columns = torch.cat([table.mean(0, keepdim=True), table]) if len(table) > 1 else table
    found = estimate(masks, columns.movedim(0, -2).flatten(-2).numpy(), parts)
    sizes = parts or [one.keep.shape[1] for one in masks]

    def per_draw(values: NDArray[np.float64]) -> Tensor:
        """[n, R * L] to [R, L, n]."""
        return torch.from_numpy(values).T.reshape(len(columns), -1, len(values))

    values, se, sum_se = (per_draw(part) for part in (found.values, found.se, found.total_se))
    sums = sums_of(values, sizes)
    drawn = slice(1, None) if len(table) > 1 else slice(None)
    errors = [mean_over(part[drawn], enumerated)[1] for part in (values, sums)]
    return (
        (values[0], (se[0].square() + errors[0].square()).sqrt()),
        (sums[0], (sum_se[0].square() + errors[1].square()).sqrt()),
    )


def sums_of(values: Tensor, sizes: Sequence[int]) -> Tensor:
    """[..., n] to [..., M]: the sums of each modality's players."""
    parts = [part.sum(-1, keepdim=True) for part in torch.split(values, list(sizes), -1)]
    return torch.cat([values[..., :0], *parts], dim=-1)  # of a sample without players, nothing


def pairs_of(game: Game, names: Sequence[str], labels: int) -> dict[tuple[str, str], Tensor]:
    """Room for the pairs of every two divided modalities, [B, L, U, U']."""
    shapes = {name: game.players[name].start.shape for name in names}
    return {
        (first, second): torch.zeros(
            shapes[first][0], labels, shapes[first][1], shapes[second][1], dtype=torch.float64
        )
        for place, first in enumerate(names)
        for second in names[place + 1 :]
    }


def joint(table: Tensor) -> Tensor:
    """[V_1, ..., V_M, L] to [2**n, L], the first modality's players the lowest bits."""
    axes = range(table.dim() - 1)
    return table.permute(*reversed(axes), table.dim() - 1).reshape(-1, table.shape[-1])

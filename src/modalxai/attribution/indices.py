"""Game theory on a table of coalitions, exact for any number of players.

``v`` is [2**M, ...]: row i holds the value of the coalition of the players whose bit is set in i.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import factorial

import torch
from torch import Tensor


def players_of(table: Tensor) -> int:
    """M, from the 2**M rows."""
    return int(table.shape[0]).bit_length() - 1


def shapley(v: Tensor) -> Tensor:
    """Shapley values, [2**M, ...] to [..., M] (Shapley 1953).

    ``phi_m = sum_{S without m} |S|! (M-|S|-1)! / M! * (v(S+m) - v(S))``. Differences are taken
    first, so that a player who changes nothing gets exactly 0.
    """
    count = players_of(v)
    values = []
    for player in range(count):
        without = _without(count, 1 << player)
        weights = [
            factorial(size) * factorial(count - size - 1) / factorial(count)
            for size in (row.bit_count() for row in without)
        ]
        gains = v[[row | 1 << player for row in without]] - v[without]
        values.append(_weighted(weights, gains))
    return torch.stack(values, dim=-1)


def necessity(v: Tensor) -> Tensor:
    """Ablation deltas ``v(N) - v(N without m)``, [..., M]: what is lost when m is removed."""
    full = v.shape[0] - 1
    return torch.stack([v[full] - v[full ^ 1 << m] for m in range(players_of(v))], dim=-1)


def sufficiency(v: Tensor) -> Tensor:
    """``v({m}) - v({})``, [..., M]: what m achieves alone."""
    return torch.stack([v[1 << m] - v[0] for m in range(players_of(v))], dim=-1)


def moebius(v: Tensor) -> Tensor:
    """Harsanyi dividends ``m(S) = sum_{L in S} (-1)**(|S|-|L|) v(L)``, [2**M, ...]."""
    dividends = v.clone()
    rows = range(v.shape[0])
    for player in range(players_of(v)):
        having = [row for row in rows if row >> player & 1]
        dividends[having] -= dividends[[row ^ 1 << player for row in having]]
    return dividends


def pair_interactions(v: Tensor) -> dict[tuple[int, int], Tensor]:
    """Shapley interaction index of every pair, each [...] (Grabisch & Roubens 1999).

    For two players it is the Moebius coefficient ``v(N) - v(i) - v(j) + v({})``.
    """
    count = players_of(v)
    result = {}
    for i, j in combinations(range(count), 2):
        without = _without(count, 1 << i | 1 << j)
        weights = [
            factorial(size) * factorial(count - size - 2) / factorial(count - 1)
            for size in (row.bit_count() for row in without)
        ]
        with_j = [row | 1 << j for row in without]
        beside_j = v[[row | 1 << i for row in with_j]] - v[with_j]
        alone = v[[row | 1 << i for row in without]] - v[without]
        # A difference of gains, so that a player who changes nothing interacts by exactly 0.
        gains = beside_j - alone
        result[i, j] = _weighted(weights, gains)
    return result


def _weighted(weights: Sequence[float], gains: Tensor) -> Tensor:
    # Not a matrix product: under the caller's autocast that would run in half precision.
    column = gains.new_tensor(weights).reshape(-1, *(1,) * (gains.dim() - 1))
    return (column * gains).sum(0)


def _without(count: int, players: int) -> list[int]:
    return [row for row in range(1 << count) if not row & players]

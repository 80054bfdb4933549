"""What players do together: the Shapley interaction index and its relatives, exact."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from modalxai.attribution.indices.coefficients import weights
from modalxai.attribution.indices.moebius import zeta
from modalxai.attribution.indices.sums import (
    Players,
    chunks,
    players_of,
    sizes,
    subsets,
    weighted_derivatives,
)

ROUNDING = 1e-5
"""Relative precision of float32 scores: a table that varies less is flat."""


def pair_interactions(v: Tensor) -> dict[Players, Tensor]:
    """Shapley interaction index of every pair, each [...] (Grabisch & Roubens 1999).

    For two players it is the Moebius coefficient ``v(N) - v(i) - v(j) + v({})``.
    """
    sets = subsets(players_of(v), 2, 2)
    return _index(v, sets, "SII", 2, 0.5)


def shapley_interaction(v: Tensor, players: Sequence[int]) -> Tensor:
    """Shapley interaction index of one set T of players, [...].

    ``sum_{S without T} |S|! (M-|S|-|T|)! / (M-|T|+1)! * delta_T v(S)``; for one player its Shapley
    value.
    """
    one = tuple(sorted(players))
    return _index(v, [one], "SII", len(one), 0.5)[one]


def interaction_terms(v: Tensor, index: str, order: int, p: float = 0.5) -> dict[Players, Tensor]:
    """An index of every set of 1 to ``order`` players, each [...].

    Parameters
    ----------
    v
        The table, [2**M, ...].
    index
        One of `INDICES`, see `modalxai.attribution.indices.coefficients`.
    order
        The largest sets, from 1; ``"k-SII"``, ``"STII"``, ``"FSII"`` and ``"FBII"`` change with
        it, and the first three sum to ``v(N) - v({})``.
    p
        Of ``"BII"`` and ``"FBII"``.
    """
    return _index(v, subsets(players_of(v), 1, order), index, order, p)


def model_fit(v: Tensor, order: int) -> Tensor:
    """Kernel-weighted R**2 of the best model of an order, [...], at most 1.

    The model is the faithful one (``"FSII"``); the kernel is Shapley's, ``1 / (C(M,s) s (M-s))``
    over the coalitions of s players, which leaves out the empty and the full one, where the model
    is exact. 1 where M is no more than ``order``; NaN where those coalitions all score the same,
    and R**2 has nothing to explain.
    """
    count, table = players_of(v), v.reshape(len(v), -1)
    found = table.new_empty(table.shape[1])
    for columns, part in chunks(table):
        dividends = torch.zeros_like(part)
        dividends[0] = part[0]
        for players, term in interaction_terms(part, "FSII", order).items():
            dividends[sum(1 << player for player in players)] = term
        size = sizes(count, part)
        of_size = size.bincount(minlength=count + 1)[size]
        inner = (size > 0) & (size < count)
        # part.new_ones: whole numbers would make single precision of the kernel.
        kernel = part.new_ones(len(part)) / (of_size * size * (count - size)).clamp(min=1)
        kernel = (kernel * inner)[:, None]
        kernel = kernel / kernel.sum()
        left = (kernel * (part - zeta(dividends)) ** 2).sum(0)
        spread = (kernel * (part - (kernel * part).sum(0)) ** 2).sum(0)
        flat = ~(spread.sqrt() > ROUNDING * part.abs().amax(0))
        found[columns] = (1 - left / spread.masked_fill(flat, torch.nan)).to(v.dtype)
    return found.reshape(v.shape[1:])


def _index(
    v: Tensor, sets: Sequence[Players], index: str, order: int, p: float
) -> dict[Players, Tensor]:
    terms = weighted_derivatives(v, sets, lambda size, count: weights(index, order, p, size, count))
    return dict(zip(sets, terms.unbind(-1), strict=True))

"""Shapley values of a sample of coalitions: odd-order regression on a crossed grid.

Shapley values depend on the odd part of a game alone, ``(v(S) - v(N without S)) / 2``, and an odd
function of n players is a sum of parities of odd order (arXiv 2602.01399, OddSHAP). Parities of
order 1 and 3 are fitted by least squares under the Shapley kernel, held to efficiency, each cell
weighted by the inverse of the chance that it was drawn with (Musco & Witter 2025, LeverageSHAP).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import comb
from typing import NamedTuple

import numpy as np
from scipy import linalg

from modalxai.attribution.crossed import Array, Crossed, Side
from modalxai.attribution.masks import Masks

RIDGE = 0.5
"""Of the parities of order 3, relative to the weight of all cells. The kernel makes order 1 alone
consistent, so shrinking the rest costs no bias in the long run, and less noise in the short."""
TINY = 1e-8
"""Of the parities of order 1: none, but for rounding."""
MOST_TERMS = 3000
"""Parities that are fitted at most; beyond it those of order 3 are left out."""
GROUPS = 20
"""Groups of masks that the jackknife leaves out in turn."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """Shapley values from a sample of coalitions.

    Parameters
    ----------
    values
        Float64 [n, L], the players of all modalities in order.
    se
        Float64 [n, L], of the sampling of the masks: a jackknife over groups of each modality's
        masks, since the cells of a grid that share a mask are not independent. Its estimate of
        the bias counts as well: from few masks a ridge is biased about half as much as it varies.
    total_se
        Float64 [M, L], of each modality's sum, or of each of the ``parts``.
    orders
        The orders of the parities that were fitted.
    """

    values: Array
    se: Array
    total_se: Array
    orders: tuple[int, ...]


def estimate(masks: Sequence[Masks], values: Array, parts: Sequence[int] | None = None) -> Estimate:
    """Shapley values of all players, from a game's values on a grid of masks.

    Parameters
    ----------
    masks
        Of each modality; V_m rows of n_m players.
    values
        Float64 [V_1, ..., V_M, L].
    parts
        How many players each sum takes, in order; each modality's own for ``None``.
    """
    nothing, everything = values[(0,) * len(masks)], values[(-1,) * len(masks)]
    sizes = [one.keep.shape[1] for one in masks]
    cells = int(np.prod([len(one.keep) for one in masks])) // 2 - 1  # in pairs
    orders = _orders(sum(sizes), cells)
    sides = [Side(one.keep.numpy(), 1 / one.chance.numpy(), orders[-1]) for one in masks]
    # The even part cancels in all sums: complements weigh the same and have opposite parities.
    grid = Crossed(sides, _kernel(sum(sizes)), values - (nothing + everything) / 2, orders)
    fit: _Fit = (_ByTerms if cells >= grid.terms else _ByCells)(grid)
    to_players = _shares(sum(sizes), grid.sets())
    change = (everything - nothing) / 2
    found = to_players @ fit.solve(change)
    owner = np.repeat(np.arange(len(parts or sizes)), parts or sizes)
    sums = (owner == np.arange(len(parts or sizes))[:, None]).astype(np.float64)
    se, total_se = np.zeros_like(found), np.zeros((len(sums), found.shape[1]))
    for place, one in enumerate(masks):
        groups = list(_left_out(one))
        if groups:
            left = np.stack([to_players @ fit.solve(change, place, g.factor) for g in groups])
            part = np.array([g.part for g in groups])[:, None, None]
            # Squares of the spread, and of what leaving out changes on average: the bias.
            spread, shift = left - left.mean(0), (part * (left - found)).sum(0)
            se += (part * spread**2).sum(0) + shift**2
            total_se += (part * (sums @ spread) ** 2).sum(0) + (sums @ shift) ** 2
    return Estimate(found, np.sqrt(se), np.sqrt(total_se), orders)


class _Group(NamedTuple):
    """Some masks that are left out together."""

    factor: Array
    """[V], what each row's weight is multiplied with: 0 for those, the more for others of their
    size."""
    part: float
    """Of what leaving them out changes, how much is chance: the finite population correction."""


def _left_out(masks: Masks) -> Iterator[_Group]:
    """Each group of the masks that were drawn, with their complements.

    All of them take turns, those too of which most were taken: to leave out only as many as are
    left to chance would be as right on average, but half of all masks make so few groups that
    every other standard error is too small. What was drawn with chance f counts 1 - f.
    """
    chance = masks.chance.numpy()
    count = len(chance)
    pair = np.minimum(np.arange(count), count - 1 - np.arange(count))
    half = chance[: count // 2]
    size = np.unique(masks.keep[: count // 2].sum(1).numpy(), return_inverse=True)[1]
    drawn = np.flatnonzero(half < 1)
    groups = min(GROUPS, len(drawn))
    every = np.bincount(size)
    for group in range(groups):
        rows = drawn[group::groups]
        left = np.ones(len(half))
        left[rows] = 0
        there = np.bincount(size, left)
        factor = (left * (every / np.maximum(1, there))[size])[pair]
        yield _Group(factor, float((1 - half[rows]).mean()))


def _kernel(players: int) -> Array:
    """The Shapley kernel (n-1) / (C(n, s) s (n-s)) of a coalition of s players, [n + 1]."""
    sizes = range(1, players)
    inner = [(players - 1) / (comb(players, s) * s * (players - s)) for s in sizes]
    return np.array([0.0, *inner, 0.0])


def _orders(players: int, cells: int) -> tuple[int, ...]:
    """The orders of the parities that are fitted."""
    threes = comb(players, 3)
    return (1, 3) if threes and players + threes <= MOST_TERMS and cells > 2 * players else (1,)


def _shares(players: int, sets: Sequence[tuple[int, ...]]) -> Array:
    """Shapley values of the parities, [n, terms]: 2 / |T| for each player of T."""
    shares = np.zeros((players, len(sets)))
    for column, chosen in enumerate(sets):
        shares[list(chosen), column] = 2 / len(chosen)
    return shares


class _Fit(ABC):
    """Ridge regression on parities, held to its prediction of the full coalition."""

    def __init__(self, grid: Crossed) -> None:
        self._grid = grid
        shrink = [RIDGE if len(chosen) > 1 else TINY for chosen in grid.sets()]
        self._ridge = np.array(shrink) * grid.weight

    def solve(self, value: Array, place: int = 0, factor: Array | None = None) -> Array:
        """Coefficients [terms, L] that sum to ``value`` [L].

        ``factor`` multiplies the weights of one modality's rows.
        """
        free, towards = self._solve(place, factor)
        # All parities of the full coalition are 1.
        held: Array = free + np.outer(towards / towards.sum(), value - free.sum(0))
        return held

    @abstractmethod
    def _solve(self, place: int, factor: Array | None) -> tuple[Array, Array]:
        """``(X'WX + R)^-1`` times ``X'Wy``, [terms, L], and times 1, [terms]."""


class _ByTerms(_Fit):
    """From the normal equations, [terms, terms]."""

    def __init__(self, grid: Crossed) -> None:
        super().__init__(grid)
        own = grid.sides[0].weight
        self._normal, self._right = grid.normal(0, own), grid.right(0, own)

    def _solve(self, place: int, factor: Array | None) -> tuple[Array, Array]:
        normal, right = self._normal, self._right
        if factor is not None:
            more = self._grid.sides[place].weight * (factor - 1)
            normal = normal + self._grid.normal(place, more)
            right = right + self._grid.right(place, more)
        both = np.column_stack([right, np.ones(len(right))])
        found = linalg.solve(normal + np.diag(self._ridge), both, assume_a="pos")
        return found[:, :-1], found[:, -1]


class _ByCells(_Fit):
    """From the cells, where they are fewer: (R + X'WX)^-1 X'W = R^-1 X' (W^-1 + X R^-1 X')^-1."""

    def __init__(self, grid: Crossed) -> None:
        super().__init__(grid)
        self._design, self._values = grid.listed()
        self._short = self._design / self._ridge
        self._inner = self._design @ self._short.T
        self._towards = 1 / self._ridge

    def _solve(self, place: int, factor: Array | None) -> tuple[Array, Array]:
        weight = self._grid.weights(place, factor)
        at = np.flatnonzero(weight)
        short = self._short[at]
        inner = self._inner[np.ix_(at, at)] + np.diag(1 / weight[at])
        both = np.column_stack([self._values[at], short.sum(1)])
        found = short.T @ linalg.solve(inner, both, assume_a="pos")
        return found[:, :-1], self._towards - found[:, -1]

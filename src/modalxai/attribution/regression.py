"""Shapley values of a sample of coalitions: odd-order regression on a crossed grid.

Shapley values depend on the odd part of a game alone, ``(v(S) - v(N without S)) / 2``, and an odd
function of n players is a sum of parities of odd order (arXiv 2602.01399, OddSHAP). Parities of
order 1 and 3 are fitted by least squares under the Shapley kernel, held to efficiency, each cell
weighted by the inverse of the chance that it was drawn with (Musco & Witter 2025, LeverageSHAP).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from modalxai.attribution.masks import Masks

Array = NDArray[np.float64]

RIDGE = 0.5
"""Of the parities of order 3, relative to the weight of all cells. The kernel makes order 1 alone
consistent, so shrinking the rest costs no bias in the long run, and less noise in the short."""
MOST_TERMS = 3000
"""Parities that are fitted at most; beyond it those of order 3 are left out."""
GROUPS = 10
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
        masks, since the cells of a grid that share a mask are not independent.
    total_se
        Float64 [M, L], of each modality's sum.
    orders
        The orders of the parities that were fitted.
    """

    values: Array
    se: Array
    total_se: Array
    orders: tuple[int, ...]


def estimate(masks: Sequence[Masks], values: Array) -> Estimate:
    """Shapley values of all players, from a game's values on a grid of masks.

    Parameters
    ----------
    masks
        Of each modality; V_m rows of n_m players.
    values
        Float64 [V_1, ..., V_M, L].
    """
    shape = values.shape[:-1]
    flat = values.reshape(-1, values.shape[-1])
    count = len(flat)
    # Row i and row count - 1 - i are complements: one of each pair tells the odd part.
    half = np.arange(count // 2, count)
    odd = (flat[half] - flat[count - 1 - half]) / 2
    places = np.unravel_index(half, shape)
    signs = np.concatenate(
        [2.0 * one.keep.numpy()[place] - 1 for one, place in zip(masks, places, strict=True)],
        axis=1,
    )
    chance = np.ones(len(half))
    for one, place in zip(masks, places, strict=True):
        chance *= one.chance.numpy()[place]
    cells = slice(0, len(half) - 1)  # the last one is the full coalition
    weights = _kernel(signs[cells]) / chance[cells]
    terms = _terms(signs.shape[1], len(weights))
    design = _parities(signs, terms)
    problem = _Constrained(design[cells], weights / weights.mean(), terms, odd[cells])
    to_players = _shares(signs.shape[1], terms)

    def players(left_out: NDArray[np.bool_] | None = None) -> Array:
        found: Array = to_players @ problem.solve(design[-1], odd[-1], left_out)
        return found

    values_of = players()
    owner = np.repeat(np.arange(len(masks)), [one.keep.shape[1] for one in masks])
    sums = (owner == np.arange(len(masks))[:, None]).astype(np.float64)
    se, total_se = np.zeros_like(values_of), np.zeros((len(masks), values_of.shape[1]))
    for one, place in zip(masks, places, strict=True):
        if one.exact:
            continue  # nothing was drawn
        pair = np.minimum(place[cells], len(one.keep) - 1 - place[cells])
        pairs = len(one.keep) // 2 - 1  # besides the empty and the full coalition
        groups = min(GROUPS, pairs)
        group = np.where(pair > 0, (pair - 1) * groups // max(1, pairs), -1)
        left = [players(group == number) for number in range(groups)]
        spread = np.stack(left) - np.mean(left, axis=0)
        # Without replacement: nothing is left to chance where every mask was drawn.
        rate = (1 - len(one.keep) / 2 ** one.keep.shape[1]) * (groups - 1) / groups
        se += rate * (spread**2).sum(0)
        total_se += rate * ((sums @ spread) ** 2).sum(0)
    orders = tuple(sorted({len(term) for term in terms}))
    return Estimate(values_of, np.sqrt(se), np.sqrt(total_se), orders)


def _kernel(signs: Array) -> Array:
    """The Shapley kernel (n-1) / (C(n, s) s (n-s)) of each row, the same for its complement."""
    players = signs.shape[1]
    by_size = np.zeros(players + 1)
    for size in range(1, players):
        by_size[size] = (players - 1) / (comb(players, size) * size * (players - size))
    sizes: NDArray[np.int64] = (signs > 0).sum(1)
    return by_size[sizes]


def _terms(players: int, cells: int) -> list[tuple[int, ...]]:
    """The sets of players whose parities are fitted."""
    terms: list[tuple[int, ...]] = [(player,) for player in range(players)]
    threes = comb(players, 3)
    if players + threes <= MOST_TERMS and cells > 2 * players:
        terms += list(combinations(range(players), 3))
    return terms


def _parities(signs: Array, terms: Sequence[tuple[int, ...]]) -> Array:
    """The product of the signs of each set, [cells, terms]."""
    players = signs.shape[1]
    columns = [signs]
    threes = np.array(terms[players:], dtype=int)
    if len(threes):
        columns.append(signs[:, threes[:, 0]] * signs[:, threes[:, 1]] * signs[:, threes[:, 2]])
    return np.concatenate(columns, axis=1)


def _shares(players: int, terms: Sequence[tuple[int, ...]]) -> Array:
    """Shapley values of the parities, [n, terms]: 2 / |T| for each player of T."""
    shares = np.zeros((players, len(terms)))
    for column, term in enumerate(terms):
        shares[list(term), column] = 2 / len(term)
    return shares


class _Constrained:
    """Ridge regression whose prediction of one row is given; cells may be left out."""

    def __init__(
        self, design: Array, weights: Array, terms: Sequence[tuple[int, ...]], values: Array
    ) -> None:
        self._design, self._weights, self._values = design, weights, values
        shrink = np.array([RIDGE if len(term) > 1 else 1e-12 for term in terms])
        self._ridge = shrink * len(weights)
        self._primal = len(weights) >= design.shape[1]
        if self._primal:
            self._normal, self._right = self._sums(slice(None))

    def solve(self, exact: Array, value: Array, left_out: NDArray[np.bool_] | None = None) -> Array:
        """Coefficients [terms, L] whose prediction of the row ``exact`` is ``value`` [L]."""
        if self._primal:
            normal, right = self._normal, self._right
            if left_out is not None:
                less, lower = self._sums(left_out)
                normal, right = normal - less, right - lower
            both = np.column_stack([right, exact])
            solved = np.linalg.solve(normal + np.diag(self._ridge), both)
        else:
            # Fewer cells than terms: (R + X'WX)^-1 X'W = R^-1 X' (W^-1 + X R^-1 X')^-1.
            cells = slice(None) if left_out is None else ~left_out
            design, values = self._design[cells], self._values[cells]
            short = design / self._ridge
            inner = design @ short.T + np.diag(1 / self._weights[cells])
            towards = exact / self._ridge
            both = np.linalg.solve(inner, np.column_stack([values, design @ towards]))
            solved = short.T @ both
            solved[:, -1] = towards - solved[:, -1]
        free, towards = solved[:, :-1], solved[:, -1]
        missing = value - exact @ free
        found: Array = free + np.outer(towards / (exact @ towards), missing)
        return found

    def _sums(self, cells: slice | NDArray[np.bool_]) -> tuple[Array, Array]:
        design = self._design[cells]
        weighted = design * self._weights[cells, None]
        return weighted.T @ design, weighted.T @ self._values[cells]

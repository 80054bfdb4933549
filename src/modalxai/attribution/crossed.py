"""Weighted sums over all cells of a crossed grid, from what each modality's masks say alone.

The parity of a set of players is the product of its parities within each modality, and a cell's
weight is the product of its masks' weights and of a number that depends on how many players are
there. So a sum over V * W cells needs no list of them: V + W rows, sorted by size, are enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise, product
from math import comb, prod

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Block = tuple[int, ...]
"""How many players of each modality the sets of a block have."""


class Side:
    """The masks of one modality.

    Parameters
    ----------
    keep
        Bool [V, n].
    weight
        [V].
    order
        Players in a set at most.
    """

    def __init__(self, keep: NDArray[np.bool_], weight: Array, order: int) -> None:
        self.players = keep.shape[1]
        self.sizes: NDArray[np.int64] = keep.sum(1)
        self.weight = weight
        signs = np.where(keep, 1.0, -1.0)
        self.sets = [list(combinations(range(self.players), k)) for k in range(order + 1)]
        self.parities = [_products(signs, sets) for sets in self.sets]
        self._own: dict[tuple[int, int], Array] = {}

    def moments(self, weight: Array, first: int, second: int) -> Array:
        """Sums of products of two sets' parities over the rows of each size, [n + 1, p, q]."""
        left, right = self.parities[first], self.parities[second]
        rows = [np.flatnonzero((self.sizes == s) & (weight != 0)) for s in range(self.players + 1)]
        return np.stack([(left[at] * weight[at, None]).T @ right[at] for at in rows])

    def own_moments(self, first: int, second: int) -> Array:
        """`moments` with the side's own weights."""
        if (first, second) not in self._own:
            self._own[first, second] = self.moments(self.weight, first, second)
        return self._own[first, second]


class Crossed:
    """Normal equations of a regression on parities, over all cells of a grid.

    Parameters
    ----------
    sides
        Of each modality, V_m rows of n_m players.
    by_size
        What a cell's weight is multiplied with, [n + 1], by the number of its players.
    values
        [V_1, ..., V_M, L].
    orders
        Of the parities, smallest first.
    """

    def __init__(
        self, sides: Sequence[Side], by_size: Array, values: Array, orders: Sequence[int]
    ) -> None:
        self.sides = list(sides)
        counts = range(max(orders) + 1)
        self.blocks: list[Block] = [
            block
            for order in orders
            for block in product(counts, repeat=len(sides))
            if sum(block) == order
            and all(k <= side.players for k, side in zip(block, sides, strict=True))
        ]
        self._by_sizes = by_size[_crossed_sum([np.arange(side.players + 1) for side in sides])]
        self._by_cell = by_size[_crossed_sum([side.sizes for side in sides])]  # [V_1, ..., V_M]
        self._values = values
        widths = [prod(self._widths(block)) for block in self.blocks]
        edges = np.cumsum([0, *widths]).tolist()
        self._at = [slice(a, b) for a, b in pairwise(edges)]
        self.terms: int = edges[-1]
        self._folded: dict[int, dict[Block, Array]] = {}

    @property
    def weight(self) -> float:
        """Of all cells together."""
        found = self._by_cell
        for side in self.sides:
            found = np.tensordot(side.weight, found, axes=(0, 0))
        return float(found)

    def sets(self) -> list[tuple[int, ...]]:
        """The players of each term, those of all modalities counted through."""
        starts = np.cumsum([0, *(side.players for side in self.sides)]).tolist()
        found = []
        for block in self.blocks:
            parts = [side.sets[k] for side, k in zip(self.sides, block, strict=True)]
            for chosen in product(*parts):
                pairs = zip(starts, chosen, strict=False)
                found.append(tuple(start + i for start, own in pairs for i in own))
        return found

    def normal(self, place: int, weight: Array) -> Array:
        """``X' W X``, [terms, terms], one modality's rows weighted otherwise."""
        found = np.empty((self.terms, self.terms))
        cache: dict[tuple[int, int], Array] = {}
        for i, first in enumerate(self.blocks):
            for j, second in enumerate(self.blocks[: i + 1]):
                part = self._products(place, weight, first, second, cache)
                found[self._at[i], self._at[j]] = part
                found[self._at[j], self._at[i]] = part.T
        return found

    def right(self, place: int, weight: Array) -> Array:
        """``X' W y``, [terms, L], one modality's rows weighted otherwise."""
        side, folded = self.sides[place], self._others_folded(place)
        rows = np.flatnonzero(weight)
        found = []
        for block in self.blocks:
            others = block[:place] + block[place + 1 :]
            own = side.parities[block[place]][rows] * weight[rows, None]
            summed = np.tensordot(own, folded[others][rows], axes=(0, 0))
            found.append(np.moveaxis(summed, 0, place).reshape(-1, summed.shape[-1]))
        return np.concatenate(found)

    def listed(self) -> tuple[Array, Array]:
        """Every cell, one of two complements: parities [cells, terms], odd values [cells, L]."""
        places = self._pairs()
        columns = [
            _rowwise(
                [s.parities[k][at] for s, k, at in zip(self.sides, block, places, strict=True)]
            )
            for block in self.blocks
        ]
        other = tuple(size - 1 - at for size, at in zip(self._by_cell.shape, places, strict=True))
        odd = (self._values[places] - self._values[other]) / 2
        return np.concatenate(columns, axis=1), odd

    def weights(self, place: int, factor: Array | None) -> Array:
        """Weights [cells] of what is `listed`, of both complements together."""
        places = self._pairs()
        found: Array = 2 * self._by_cell[places]
        for side, at in zip(self.sides, places, strict=True):
            found = found * side.weight[at]
        return found if factor is None else found * factor[places[place]]

    def _pairs(self) -> tuple[NDArray[np.intp], ...]:
        count = self._by_cell.size
        # Cells i and count - 1 - i are complements; the last one is the full coalition.
        return np.unravel_index(np.arange(count // 2, count - 1), self._by_cell.shape)

    def _widths(self, block: Block) -> list[int]:
        return [comb(side.players, k) for side, k in zip(self.sides, block, strict=True)]

    def _products(
        self,
        place: int,
        weight: Array,
        first: Block,
        second: Block,
        cache: dict[tuple[int, int], Array],
    ) -> Array:
        """One block of the normal matrix."""
        wide, high = self._widths(first), self._widths(second)
        # The widest modality last: where it is alone, its rows are not sorted by size.
        last = max(range(len(self.sides)), key=lambda m: wide[m] * high[m])
        rest = [m for m in range(len(self.sides)) if m != last]
        found = np.moveaxis(self._by_sizes, last, -1)
        for m in rest:
            moments = self._moments(m, place, weight, first[m], second[m], cache)
            found = np.tensordot(found, moments, axes=(0, 0))  # sizes off, [..., p, q] on
        # [S_last, p, q, p', q', ...] of the other modalities, in order.
        entries = found.shape[1:]
        side = self.sides[last]
        if prod(entries) == 1:
            own = weight if last == place else side.weight
            rows = np.flatnonzero(own)
            scaled = (own * found.reshape(-1)[side.sizes])[rows, None]
            table = (side.parities[first[last]][rows] * scaled).T @ side.parities[second[last]][
                rows
            ]
            table = table.reshape(*table.shape, *entries)
        else:
            moments = self._moments(last, place, weight, first[last], second[last], cache)
            table = np.tensordot(moments, found, axes=(0, 0))
        order = [last, *rest]
        axes = [2 * order.index(m) for m in range(len(order))]
        table = table.transpose(*axes, *(axis + 1 for axis in axes))
        return table.reshape(prod(wide), prod(high))

    def _moments(
        self,
        m: int,
        place: int,
        weight: Array,
        first: int,
        second: int,
        cache: dict[tuple[int, int], Array],
    ) -> Array:
        if m != place:
            return self.sides[m].own_moments(first, second)
        if (first, second) not in cache:
            cache[first, second] = self.sides[m].moments(weight, first, second)
        return cache[first, second]

    def _others_folded(self, place: int) -> dict[Block, Array]:
        """Values summed over the other modalities' rows, [V, p, ..., L] by block of the others."""
        if place not in self._folded:
            rest = [side for m, side in enumerate(self.sides) if m != place]
            weighted = self._values * self._by_cell[..., None]
            found: dict[Block, Array] = {(): np.moveaxis(weighted, place, 0)}
            most = max(map(sum, self.blocks))
            for side in rest:
                # The first axis after V is the next modality's; its sets go to the end, before L.
                found = {
                    (*block, k): np.moveaxis(
                        np.tensordot(table, side.parities[k] * side.weight[:, None], axes=(1, 0)),
                        -1,
                        -2,
                    )
                    for block, table in found.items()
                    for k in range(min(most - sum(block), side.players) + 1)
                }
            self._folded[place] = found
        return self._folded[place]


def _products(signs: Array, sets: Sequence[tuple[int, ...]]) -> Array:
    """The product of the signs of each set, [V, p]."""
    found = np.ones((len(signs), len(sets)))
    for member in zip(*sets, strict=True):  # the first player of every set, the second, ...
        found *= signs[:, member]
    return found


def _rowwise(parts: Sequence[Array]) -> Array:
    """Row-wise Kronecker product of tables [cells, p]."""
    found = parts[0]
    for part in parts[1:]:
        found = (found[:, :, None] * part[:, None]).reshape(len(found), -1)
    return found


def _crossed_sum(sizes: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Sums of one number of each list, an axis for each."""
    found: NDArray[np.int64] = np.zeros((1,) * len(sizes), dtype=np.int64)
    for own in np.ix_(*sizes):
        found = found + own
    return found

"""The one computation behind every index: discrete derivatives, summed by coalition size.

Every index here is cardinal: what it gives a set T of players is a weighted sum of the derivatives
``delta_T v(S) = sum_{L in T} (-1)**(|T|-|L|) v(S + L)`` over the coalitions S without T, with
weights that depend on |S| alone (Fujimoto, Kojadinovic & Marichal 2006). So the table is summed by
|S| first, once for all sets, and an index is a short dot product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor

Players = tuple[int, ...]
"""Some players by number, in rising order."""

CHUNK_BYTES = 1 << 24
"""Size of the part of a table that is worked on at once; bounds the memory beside the table."""


def players_of(table: Tensor) -> int:
    """M, from the 2**M rows."""
    return int(table.shape[0]).bit_length() - 1


def subsets(count: int, smallest: int, largest: int) -> list[Players]:
    """All sets of ``smallest`` to ``largest`` of the first ``count`` players, small ones first."""
    return [
        one
        for size in range(smallest, min(largest, count) + 1)
        for one in combinations(range(count), size)
    ]


def sizes(count: int, like: Tensor) -> Tensor:
    """How many players each of the 2**count coalitions has, integer, on the device of ``like``."""
    found = torch.zeros(1, dtype=torch.long, device=like.device)
    for _ in range(count):
        found = torch.cat([found, found + 1])
    return found


def chunks(table: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Columns of a table [2**M, C], a few at a time, in double precision where there is one."""
    # Sums over 2**20 rows of float32 would lose digits. MPS has no float64.
    wide = table.dtype if table.device.type == "mps" else torch.float64
    step = max(1, CHUNK_BYTES // (8 * len(table)))
    for start in range(0, table.shape[1], step):
        columns = slice(start, start + step)
        yield columns, table[:, columns].to(wide)


def weighted_derivatives(
    v: Tensor, sets: Sequence[Players], weights: Callable[[int, int], Sequence[float]]
) -> Tensor:
    """``sum_S w(|S|) delta_T v(S)`` of every set T, [..., len(sets)].

    Parameters
    ----------
    v
        The table, [2**M, ...].
    sets
        Different sets of players.
    weights
        From |T| and M to the M - |T| + 1 weights of the sizes 0, 1, ... of S.
    """
    count, table = players_of(v), v.reshape(len(v), -1)
    found = table.new_empty(table.shape[1], len(sets))
    for columns, part in chunks(table):
        sums = derivative_sums(part, sets)
        for place, players in enumerate(sets):
            weight = part.new_tensor(weights(len(players), count))[:, None]
            # Not a matrix product: under the caller's autocast that could lose precision.
            found[columns, place] = (weight * sums[players]).sum(0).to(v.dtype)
    return found.reshape(*v.shape[1:], len(sets))


def derivative_sums(table: Tensor, sets: Sequence[Players]) -> dict[Players, Tensor]:
    """For each set T the sums of ``delta_T v(S)`` over the S of each size, [M - |T| + 1, C].

    Differences are taken of sums over the same coalitions with and without a player, so that they
    are exactly 0 for a player who changes nothing.

    Parameters
    ----------
    table
        [2**M, C].
    sets
        Different sets of players.
    """
    found: dict[Players, Tensor] = {}

    def descend(sums: Tensor, player: int, wanted: Mapping[int, Players]) -> None:
        # sums [s, 2**player, C]: players from `player` on are in their set, or summed over by size.
        while player and wanted:
            player -= 1
            half = 1 << player
            without, having = sums[:, :half], sums[:, half:]
            if inside := {m ^ half: one for m, one in wanted.items() if m & half}:
                descend(having - without, player, inside)
            wanted = {mask: one for mask, one in wanted.items() if not mask & half}
            if wanted:
                sums = _by_size(without, having)
        for one in wanted.values():
            found[one] = sums[:, 0]

    masks = {sum(1 << player for player in one): one for one in sets}
    descend(table[None], players_of(table), masks)
    return found


def _by_size(without: Tensor, having: Tensor) -> Tensor:
    """Sums over one more player: [s, h, C] twice to [s + 1, h, C], ``having`` one size larger."""
    sums = without.new_zeros(len(without) + 1, *without.shape[1:])
    sums[:-1] = without
    sums[1:] += having
    return sums

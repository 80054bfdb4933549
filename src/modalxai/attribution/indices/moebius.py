"""Harsanyi dividends: what a coalition has that none of its parts has."""

from __future__ import annotations

import torch
from torch import Tensor

from modalxai.attribution.indices.sums import chunks, players_of, sizes


def moebius(v: Tensor) -> Tensor:
    """Harsanyi dividends ``m(S) = sum_{L in S} (-1)**(|S|-|L|) v(L)``, [2**M, ...].

    They are exactly 0 for every coalition with a player who changes nothing.
    """
    return _butterfly(v, -1)


def zeta(dividends: Tensor) -> Tensor:
    """The table with these dividends, ``v(S) = sum_{L in S} m(L)``, [2**M, ...]."""
    return _butterfly(dividends, 1)


def order_shares(dividends: Tensor) -> Tensor:
    """How much of a game is of order 1, 2, ..., M: [2**M, ...] to [..., M] in 0..1.

    ``sum_{|S|=k} |m(S)| / sum_{|S|>=1} |m(S)|``; what is not of order 1 is interaction. NaN where
    nothing ever changes.
    """
    order = sizes(players_of(dividends), dividends)
    amounts = [dividends[order == k].abs().sum(0) for k in range(1, int(order.max()) + 1)]
    by_order = torch.stack(amounts, dim=-1)
    whole = by_order.sum(-1, keepdim=True)
    return by_order / whole.masked_fill(whole == 0, torch.nan)


def _butterfly(table: Tensor, sign: int) -> Tensor:
    flat = table.reshape(len(table), -1)
    result = torch.empty_like(flat)
    for columns, part in chunks(flat):
        work = part.clone()
        for player in range(players_of(table)):
            halves = work.view(-1, 2, 1 << player, work.shape[1])
            halves[:, 1].add_(halves[:, 0], alpha=sign)
        result[:, columns] = work.to(table.dtype)
    return result.reshape(table.shape)

"""Which coalitions of the players of one modality are asked about: all of them, or a sample."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Chance = Literal["leverage", "kernel"]
EVERY = 12
"""Up to so many players the masks are listed, and drawn from the list."""


@dataclass(frozen=True, eq=False)
class Masks:
    """Coalitions of n players of one modality, closed under complement.

    Parameters
    ----------
    keep
        Bool [V, n], no row twice; the empty coalition first, the whole last, and row ``v`` is the
        complement of row ``V - 1 - v``. With all 2**n of them, row ``v`` is the binary number v.
        A sample of them is sorted by size up to the middle, in the order of the draws within one.
    chance
        Float64 [V], the probability with which a row of its size was drawn; 1 where it always is.
    """

    keep: Tensor
    chance: Tensor

    @property
    def exact(self) -> bool:
        """Whether no coalition was left out."""
        return len(self.keep) == int(2 ** self.keep.shape[1])


def every(players: int) -> Masks:
    """All 2**n coalitions."""
    rows = torch.arange(2**players)
    keep = (rows[:, None] >> torch.arange(players) & 1).bool()
    return Masks(keep, torch.ones(len(rows), dtype=torch.float64))


def sample(players: int, count: int, seed: int, by: Chance = "leverage") -> Masks:
    """``count`` coalitions drawn without replacement, each with its complement.

    The chance of a coalition of s players is proportional to its leverage in the Shapley
    regression, ``1 / C(n, s)``: all sizes are equally likely (Musco & Witter 2025, LeverageSHAP).
    Or to its weight there, ``1 / (C(n, s) s (n - s))`` (Lundberg & Lee 2017, KernelSHAP), which
    takes the smallest and the largest coalitions whole sooner: mostly better for few masks of a
    modality that are crossed with many of another, no better for coalitions of all players.
    The empty and the full coalition are always there. All of them are taken, and nothing drawn,
    where ``count`` allows it.

    Parameters
    ----------
    players
        n.
    count
        V, rounded down to an even number, at least 2.
    seed
        Of the draw; no global generator is used.
    by
        What the chance is proportional to.
    """
    if count >= 2**players:
        return every(players)
    generator = np.random.default_rng(seed)
    # Pairs are named by their member without the last player, so each is drawn once.
    sizes = np.arange(players)
    many = np.array([float(comb(players - 1, s)) for s in sizes])
    weights = np.array([1.0 / comb(players, s) for s in sizes])
    if by == "kernel":
        weights /= np.maximum(1, sizes * (players - sizes))
    weights[0] = 0.0  # the pair of the empty and the full coalition, which is always there
    wanted = count // 2 - 1
    chance = _chances(weights, many, wanted)
    taken = _whole_counts(chance * many, wanted, generator)
    half = [np.zeros((1, players), dtype=bool)]
    half += [
        _subsets(players - 1, int(size), int(amount), generator)
        for size, amount in zip(sizes, taken, strict=True)
        if amount
    ]
    keep = np.concatenate([np.pad(part, ((0, 0), (0, players - part.shape[1]))) for part in half])
    own = chance[keep.sum(1)]
    own[0] = 1.0
    both = np.concatenate([keep, ~keep[::-1]])
    return Masks(torch.from_numpy(both), torch.from_numpy(np.concatenate([own, own[::-1]])))


def _chances(weights: np.ndarray, many: np.ndarray, wanted: int) -> np.ndarray:
    """Inclusion probabilities min(1, c * weight) of each size whose expected number is wanted."""
    low, high = 0.0, 1.0
    while (np.minimum(1, high * weights) * many).sum() < wanted and high < 1e300:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if (np.minimum(1, middle * weights) * many).sum() < wanted:
            low = middle
        else:
            high = middle
    return np.minimum(1, high * weights)


def _whole_counts(expected: np.ndarray, wanted: int, generator: np.random.Generator) -> np.ndarray:
    """Whole numbers with these expectations and this sum (systematic sampling)."""
    edges = np.concatenate([[0.0], np.cumsum(expected)])
    edges *= wanted / edges[-1]
    # A size that is taken whole has whole edges only by chance, so it is rounded as the rest is.
    start = generator.random()
    counts = np.floor(edges[1:] + start) - np.floor(edges[:-1] + start)
    whole: np.ndarray = np.minimum(counts, np.ceil(expected - 1e-9)).astype(int)
    return whole


def _subsets(players: int, size: int, amount: int, generator: np.random.Generator) -> np.ndarray:
    """Different subsets of one size, bool [amount, players]."""
    if comb(players, size) <= 4096 or players <= EVERY:
        found = generator.choice(comb(players, size), size=amount, replace=False)
        return np.stack([_numbered(players, size, int(number)) for number in found])
    rows: dict[bytes, None] = {}  # a set that keeps the order of the draws
    while len(rows) < amount:
        row = np.zeros(players, dtype=bool)
        row[generator.choice(players, size=size, replace=False)] = True
        rows[row.tobytes()] = None
    return np.stack([np.frombuffer(row, dtype=bool) for row in rows])


def _numbered(players: int, size: int, number: int) -> np.ndarray:
    """Subset ``number`` of one size, in the combinatorial number system."""
    row = np.zeros(players, dtype=bool)
    for left in range(size, 0, -1):
        place = left - 1
        while comb(place + 1, left) <= number:
            place += 1
        row[place] = True
        number -= comb(place, left)
    return row

"""Games of any number of players whose Shapley, Owen and interaction values are known in advance.

The answers come from closed forms, not from the code they are there to test: a game is either a sum
of simple games "all of S are there" and "one of S is there", or depends on the size of a coalition
alone. Every index is linear, and both kinds have textbook answers.

Examples
--------
>>> majority(3).shapley()[:, 0].tolist()
[0.3333333333333333, 0.3333333333333333, 0.3333333333333333]
>>> game = any_of(10).game({"text": 2, "audio": 8})
>>> any_of(10).owen([2, 8])[:, 0].tolist()[::9]
[0.25, 0.0625]
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import comb, factorial, prod

import torch
from torch import Tensor

from modalxai.errors import InputError
from modalxai.testing.unit_table import UnitTableGame
from modalxai.types import Labels, labels

SCORE = labels("score", kind="dimensional")


@dataclass(frozen=True, eq=False)
class Oracle(ABC):
    """A game and its answers, on the default scale of its labels.

    Parameters
    ----------
    values
        Raw scores, float64 [2**n, K]; bit j of a row is set where player j is there.
    labels
        The K labels.
    """

    values: Tensor
    labels: Labels

    @property
    def players(self) -> int:
        """How many players there are, n."""
        return len(self.values).bit_length() - 1

    def shapley(self) -> Tensor:
        """Shapley values, [n, K]."""
        return torch.stack([self.interaction(player) for player in range(self.players)])

    @abstractmethod
    def interaction(self, *players: int) -> Tensor:
        """Shapley interaction index of some players, [K]; of one player its Shapley value."""

    @abstractmethod
    def owen(self, sizes: Sequence[int]) -> Tensor:
        """Owen values [n, K] (Owen 1977), the players in groups of these sizes, in order."""

    def game(self, units: Mapping[str, int], kind: str = "unit") -> UnitTableGame:
        """The game of one sample, its players dealt out to modalities in order."""
        return together([self], units, kind)


def together(
    oracles: Sequence[Oracle], units: Mapping[str, int], kind: str = "unit"
) -> UnitTableGame:
    """Several oracles of as many players and the same labels as the samples of one game."""
    values = torch.stack([oracle.values for oracle in oracles], dim=1)
    return UnitTableGame(values, oracles[0].labels, units, kind=kind)


@dataclass(frozen=True)
class Term:
    """``weight`` where all of ``players`` are there, or any one of them.

    The weights have one entry per label.
    """

    weight: tuple[float, ...]
    players: tuple[int, ...]
    any: bool = False


@dataclass(frozen=True, eq=False)
class SimpleSum(Oracle):
    """A sum of unanimity games and their duals, see `Term`."""

    terms: tuple[Term, ...]

    def interaction(self, *players: int) -> Tensor:
        """1 / (s - t + 1) of each term that has the t players among its s; signed in a dual."""
        asked, found = set(players), self.values.new_zeros(self.values.shape[1])
        for term in self.terms:
            if asked <= set(term.players):
                sign = (-1) ** (len(asked) + 1) if term.any else 1
                share = sign / (len(term.players) - len(asked) + 1)
                found += share * found.new_tensor(term.weight)
        return found

    def owen(self, sizes: Sequence[int]) -> Tensor:
        """Each term is divided among its groups, then among its players in a group."""
        group = _groups(sizes, self.players)
        found = self.values.new_zeros(self.players, self.values.shape[1])
        for term in self.terms:
            touched = [group[player] for player in term.players]
            for player in term.players:
                share = 1 / len(set(touched)) / touched.count(group[player])
                found[player] += share * found.new_tensor(term.weight)
        return found


@dataclass(frozen=True, eq=False)
class SymmetricGame(Oracle):
    """``f(|S|)`` for one label."""

    by_size: tuple[float, ...]

    def interaction(self, *players: int) -> Tensor:
        """``(D f(n - t + 1) - D f(0)) / (n - t + 1)``, D the (t - 1)-th difference."""
        order, count = len(players), self.players
        last = count - order + 1
        change = self._difference(order - 1, last) - self._difference(order - 1, 0)
        return self.values.new_tensor([change / last])

    def owen(self, sizes: Sequence[int]) -> Tensor:
        """Groups divide as players of sizes do, and equal players of a group equally."""
        _groups(sizes, self.players)
        found = []
        for place, size in enumerate(sizes):
            others = [*sizes[:place], *sizes[place + 1 :]]
            phi = 0.0
            for count in range(len(others) + 1):
                weight = factorial(count) * factorial(len(others) - count) / factorial(len(sizes))
                for coalition in combinations(others, count):
                    there = sum(coalition)
                    phi += weight * (self.by_size[there + size] - self.by_size[there])
            found += [phi / size] * size
        return self.values.new_tensor(found)[:, None]

    def _difference(self, order: int, start: int) -> float:
        steps = range(order + 1)
        signs = [1 if (order - j) % 2 == 0 else -1 for j in steps]
        return sum(signs[j] * comb(order, j) * self.by_size[start + j] for j in steps)


def simple_sum(count: int, terms: Iterable[Term], labels: Labels = SCORE) -> SimpleSum:
    """A sum of "all of S" and "any of S" games of ``count`` players."""
    kept, rows = tuple(terms), torch.arange(1 << count)
    for term in kept:
        if len(set(term.players)) < len(term.players) or set(term.players) - set(range(count)):
            raise InputError(
                "a term of players that are not there, or there twice",
                expected=f"different numbers from 0 to {count - 1}",
                got=str(term.players),
                mend="name each player once",
            )
    values = torch.zeros(len(rows), len(labels), dtype=torch.float64)
    for term in kept:
        players = sum(1 << player for player in term.players)
        met = rows & players
        holds = met != 0 if term.any else met == players
        values += holds[:, None] * values.new_tensor(term.weight)
    return SimpleSum(values, labels, kept)


def random_sum(count: int, terms: int, seed: int, largest: int | None = None) -> SimpleSum:
    """Normal weights on ``terms`` random sets of at most ``largest`` players (all by default)."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(terms):
        size = int(torch.randint(1, (largest or count) + 1, (1,), generator=generator))
        players = torch.randperm(count, generator=generator)[:size].sort().values.tolist()
        weight = float(torch.randn(1, generator=generator))
        found.append(Term((weight,), tuple(players)))
    return simple_sum(count, found)


def additive(weights: Sequence[float]) -> SimpleSum:
    """Every player brings its own weight."""
    return simple_sum(len(weights), [Term((w,), (i,)) for i, w in enumerate(weights)])


def all_of(count: int) -> SimpleSum:
    """AND: 1 if everybody is there."""
    return simple_sum(count, [Term((1.0,), tuple(range(count)))])


def any_of(count: int) -> SimpleSum:
    """OR: 1 if anybody is there."""
    return simple_sum(count, [Term((1.0,), tuple(range(count)), any=True)])


def airport(costs: Sequence[float]) -> SimpleSum:
    """The longest runway that anyone present needs (Littlechild & Owen 1973)."""
    if min(costs) < 0:
        raise InputError(
            "a runway shorter than none", expected="costs from 0", got=str(costs), mend="0 or more"
        )
    steps = sorted({0.0, *costs})
    terms = [
        Term((high - low,), tuple(i for i, cost in enumerate(costs) if cost >= high), any=True)
        for low, high in pairwise(steps)
    ]
    return simple_sum(len(costs), terms)


def polynomial(
    coefficients: Mapping[tuple[int, ...], float],
    x: Sequence[float],
    baseline: Sequence[float] | None = None,
) -> SimpleSum:
    """A multilinear polynomial, at x where a player is there and at the baseline (0) elsewhere.

    Parameters
    ----------
    coefficients
        By set of variables the factor of their product; ``()`` is the constant.
    """
    off = [0.0] * len(x) if baseline is None else list(baseline)
    terms = [
        Term(
            (
                factor
                * prod(x[i] - off[i] for i in chosen)
                * prod(off[i] for i in variables if i not in chosen),
            ),
            chosen,
        )
        for variables, factor in coefficients.items()
        for size in range(len(variables) + 1)
        for chosen in combinations(sorted(variables), size)
    ]
    return simple_sum(len(x), terms)


def glove(left: int, right: int) -> SimpleSum:
    """Pairs of gloves: the first ``left`` players own a left one, the others a right one."""
    terms = []
    for a in range(1, left + 1):
        for b in range(1, right + 1):
            # What a left and b right gloves have that fewer of them have not.
            weight = sum(
                (-1) ** (a + b - i - j) * comb(a, i) * comb(b, j) * min(i, j)
                for i in range(a + 1)
                for j in range(b + 1)
            )
            if weight:
                terms += [
                    Term((float(weight),), (*one, *(left + player for player in other)))
                    for one in combinations(range(left), a)
                    for other in combinations(range(right), b)
                ]
    return simple_sum(left + right, terms)


def softmax(weights: Sequence[Sequence[float]], bias: Sequence[float]) -> SimpleSum:
    """Logits of K classes to which every player adds its own; the answers are on clr.

    Parameters
    ----------
    weights
        By player, one number per class.
    bias
        The logits when nobody is there.
    """
    names = labels(*(f"class {k}" for k in range(len(bias))))
    logits = simple_sum(len(weights), [Term(tuple(bias), ())], names).values.clone()
    rows = torch.arange(len(logits))
    for player, weight in enumerate(weights):
        logits += (rows >> player & 1)[:, None] * logits.new_tensor(list(weight))
    centred = [tuple(w - sum(row) / len(row) for w in row) for row in weights]
    return SimpleSum(logits, names, tuple(Term(w, (i,)) for i, w in enumerate(centred)))


def symmetric(count: int, score: Callable[[int], float]) -> SymmetricGame:
    """``score(size)`` of the coalition."""
    by_size = tuple(float(score(size)) for size in range(count + 1))
    rows = [by_size[row.bit_count()] for row in range(1 << count)]
    return SymmetricGame(torch.tensor(rows, dtype=torch.float64)[:, None], SCORE, by_size)


def parity(count: int) -> SymmetricGame:
    """1 for an odd number of players; XOR for two of them."""
    return symmetric(count, lambda size: size % 2)


def majority(count: int) -> SymmetricGame:
    """1 if more than half are there."""
    return symmetric(count, lambda size: 2 * size > count)


def _groups(sizes: Sequence[int], count: int) -> list[int]:
    """The group of each player."""
    if sum(sizes) != count or min(sizes, default=0) < 1:
        raise InputError(
            "groups that do not hold all players",
            expected=f"sizes from 1 that sum to {count}",
            got=str(list(sizes)),
            mend="one size per group, in the players' order",
        )
    return [group for group, size in enumerate(sizes) for _ in range(size)]

"""The known answers are right: against definitions that know nothing of where a game came from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, permutations
from math import factorial

import pytest
import torch
from torch import Tensor

from modalxai.attribution import Explanation, indices, on_scale
from modalxai.errors import InputError
from modalxai.testing import UnitTableGame, oracles
from modalxai.testing.oracles import Oracle, Term

ORACLES = {
    "additive": lambda: oracles.additive([2.0, -1.0, 0.5, 0.0]),
    "and": lambda: oracles.all_of(4),
    "or": lambda: oracles.any_of(5),
    "xor": lambda: oracles.parity(2),
    "parity": lambda: oracles.parity(5),
    "majority": lambda: oracles.majority(5),
    "even majority": lambda: oracles.majority(4),
    "airport": lambda: oracles.airport([3.0, 1.0, 1.0, 4.0, 0.0]),
    "glove": lambda: oracles.glove(1, 3),
    "gloves": lambda: oracles.glove(2, 3),
    "random": lambda: oracles.random_sum(6, 9, seed=1),
    "sparse": lambda: oracles.random_sum(5, 4, seed=2, largest=2),
    "mixed terms": lambda: oracles.simple_sum(
        4, [Term((2.0,), (0, 2, 3), any=True), Term((-1.0,), (1, 2)), Term((5.0,), ())]
    ),
    "polynomial": lambda: oracles.polynomial(
        {(): 1.0, (0,): 2.0, (0, 1): -1.5, (1, 2, 3): 3.0}, [1.0, 2.0, -1.0, 0.5]
    ),
    "polynomial, baseline": lambda: oracles.polynomial(
        {(0,): 2.0, (0, 1): -1.5, (1, 2): 3.0}, [1.0, 2.0, -1.0], [0.5, 1.0, 2.0]
    ),
    "softmax": lambda: oracles.softmax([[1.0, 0, 2], [0, -1, 3], [2, 2, 2]], [0.5, 0, 0]),
}
GROUPS = {2: [[1, 1], [2]], 3: [[1, 2], [1, 1, 1]], 4: [[2, 2], [1, 3]], 5: [[2, 3], [2, 1, 2]],
          6: [[3, 3], [1, 2, 3]]}  # fmt: skip


def on_default_scale(oracle: Oracle) -> Tensor:
    return on_scale(oracle.values, oracle.labels, "clr")


def slow_owen(v: Tensor, sizes: Sequence[int]) -> Tensor:
    """The mean gain over all orders in which groups come one after the other, players in any."""
    players = list(range(sum(sizes)))
    groups = [[players.pop(0) for _ in range(size)] for size in sizes]
    phi, orders = torch.zeros(sum(sizes), v.shape[1], dtype=v.dtype), 0

    def arrange(rest: list[list[int]], order: list[int]) -> None:
        nonlocal orders
        if not rest:
            orders += 1
            row = 0
            for player in order:
                phi[player] += v[row | 1 << player] - v[row]
                row |= 1 << player
            return
        for place, group in enumerate(rest):
            for inner in permutations(group):
                arrange(rest[:place] + rest[place + 1 :], [*order, *inner])

    arrange(groups, [])
    return phi / orders


def slow_sii(v: Tensor, players: tuple[int, ...], count: int) -> Tensor:
    own, total = sum(1 << player for player in players), torch.zeros_like(v[0])
    for row in (row for row in range(1 << count) if not row & own):
        size = row.bit_count()
        weight = factorial(size) * factorial(count - size - len(players))
        weight /= factorial(count - len(players) + 1)
        for chosen in range(len(players) + 1):
            for inner in combinations(players, chosen):
                sign = (-1) ** (len(players) - chosen)
                total = total + weight * sign * v[row | sum(1 << player for player in inner)]
    return total


@pytest.mark.parametrize("name", ORACLES)
def test_the_answers_are_those_of_the_definitions(name: str) -> None:
    oracle = ORACLES[name]()
    v, count = on_default_scale(oracle), oracle.players
    close = {"rtol": 0, "atol": 1e-9}
    torch.testing.assert_close(oracle.shapley(), slow_owen(v, [count]), **close)
    for size in range(1, count + 1):
        for players in combinations(range(count), size):
            expected = slow_sii(v, players, count)
            torch.testing.assert_close(oracle.interaction(*players), expected, **close)
    for sizes in GROUPS[count]:
        torch.testing.assert_close(oracle.owen(sizes), slow_owen(v, sizes), **close)


@pytest.mark.parametrize("name", ORACLES)
def test_the_indices_agree_with_the_answers(name: str) -> None:
    oracle = ORACLES[name]()
    v = on_default_scale(oracle)
    torch.testing.assert_close(indices.shapley(v).T, oracle.shapley())
    for (i, j), value in indices.pair_interactions(v).items():
        torch.testing.assert_close(value, oracle.interaction(i, j))


def test_scores_are_what_the_games_names_say() -> None:
    rows = range(8)
    expected = {
        "all_of": lambda row: row == 7,
        "any_of": lambda row: row > 0,
        "parity": lambda row: row.bit_count() in (1, 3),
        "majority": lambda row: row.bit_count() >= 2,
    }
    for name, rule in expected.items():
        values = getattr(oracles, name)(3).values[:, 0].tolist()
        assert values == [float(rule(row)) for row in rows], name
    assert oracles.airport([3, 1, 2]).values[:, 0].tolist() == [0, 3, 1, 3, 2, 3, 2, 3]
    assert oracles.glove(1, 2).values[:, 0].tolist() == [0, 0, 0, 1, 0, 1, 0, 1]
    xy = oracles.polynomial({(0, 1): 2.0, (1,): 1.0}, [3.0, 5.0], [1.0, -1.0])
    assert xy.values[:, 0].tolist() == [-2 - 1, -6 - 1, 10 + 5, 30 + 5]
    soft = oracles.softmax([[1.0, 2], [3, 4]], [10, 20])
    assert soft.values.tolist() == [[10, 20], [11, 22], [13, 24], [14, 26]]
    assert [label.kind for label in soft.labels] == ["categorical"] * 2


def test_sums_over_many_players_stay_exact() -> None:
    oracle = oracles.random_sum(14, 30, seed=3, largest=4)
    torch.testing.assert_close(indices.shapley(oracle.values)[0], oracle.shapley()[:, 0])
    sums = oracle.owen([6, 8]).split([6, 8])
    pair = Explanation.of(oracle.game({"text": 6, "audio": 8})).shapley().totals[0, 0]
    torch.testing.assert_close(pair, torch.stack([part.sum() for part in sums]))


def test_token_sums_are_not_the_modalitys_value_and_owen_sums_are() -> None:
    """science.md 2.8: OR and AND over 2 text and 8 audio players."""
    both = oracles.simple_sum(10, [])
    rows = torch.arange(1 << 10)
    both = ((rows & 3 != 0) & (rows >> 2 != 0)).double()[:, None]
    for values, text in ((oracles.any_of(10).values, 0.2), (both, 0.8)):
        units = indices.shapley(values)[0]
        assert units[:2].sum().item() == pytest.approx(text)
        game = UnitTableGame(values[:, None], oracles.SCORE, {"text": 2, "audio": 8})
        assert Explanation.of(game).shapley().totals[0, 0].tolist() == pytest.approx([0.5, 0.5])
    owen = oracles.any_of(10).owen([2, 8])
    assert owen[:2].sum().item() == pytest.approx(0.5)


def test_several_oracles_become_the_samples_of_one_game() -> None:
    some = [oracles.any_of(3), oracles.all_of(3), oracles.majority(3)]
    game = oracles.together(some, {"text": 1, "audio": 2}, kind="word")
    found = Explanation.of(game).shapley().totals[:, 0]
    expected = [[0.5, 0.5], [0.5, 0.5], [0.0, 1.0]]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: oracles.any_of(4).owen([2, 1]),
        lambda: oracles.majority(4).owen([4, 0]),
        lambda: oracles.simple_sum(2, [Term((1.0,), (2,))]),
        lambda: oracles.polynomial({(0, 0): 1.0}, [1.0]),
        lambda: oracles.airport([1.0, -1.0]),
    ],
)
def test_mistakes_are_refused(mistake) -> None:
    with pytest.raises(InputError):
        mistake()

from __future__ import annotations

from itertools import combinations, permutations
from math import factorial

import numpy as np
import pytest
import shapiq
import torch
from torch import Tensor

from modalxai.attribution import indices


def table(count: int, *shape: int) -> Tensor:
    return torch.randn(1 << count, *shape, dtype=torch.float64)


def slow_shapley(v: list[float], count: int) -> list[float]:
    """The mean gain of each player over all orders in which they can come."""
    phi = [0.0] * count
    for order in permutations(range(count)):
        row = 0
        for player in order:
            phi[player] += v[row + (1 << player)] - v[row]
            row += 1 << player
    return [value / factorial(count) for value in phi]


def slow_moebius(v: list[float], row: int) -> float:
    subsets = [s for s in range(row + 1) if s & row == s]
    return sum((-1) ** (row.bit_count() - s.bit_count()) * v[s] for s in subsets)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_shapley_is_the_mean_gain_over_all_orders(count: int) -> None:
    v = table(count)
    expected = torch.tensor(slow_shapley(v.tolist(), count), dtype=torch.float64)
    torch.testing.assert_close(indices.shapley(v), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_moebius_is_its_sum_over_subsets_and_rebuilds_the_game(count: int) -> None:
    v = table(count)
    m = indices.moebius(v)
    expected = [slow_moebius(v.tolist(), row) for row in range(1 << count)]
    torch.testing.assert_close(m, torch.tensor(expected, dtype=torch.float64))
    for row in range(1 << count):
        below = [s for s in range(row + 1) if s & row == s]
        torch.testing.assert_close(m[below].sum(), v[row])


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_shapley_shares_each_dividend_equally(count: int) -> None:
    v = table(count, 3)
    m = indices.moebius(v)
    for player in range(count):
        rows = [row for row in range(1 << count) if row >> player & 1]
        shared = sum(m[row] / row.bit_count() for row in rows)
        torch.testing.assert_close(indices.shapley(v)[..., player], shared)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_pair_interactions_share_each_dividend_over_the_pairs_place(count: int) -> None:
    """SII(T) is the sum over S above T of m(S) / (|S| - |T| + 1)."""
    v = table(count, 2)
    m, pairs = indices.moebius(v), indices.pair_interactions(v)
    assert list(pairs) == list(combinations(range(count), 2))
    for (i, j), value in pairs.items():
        rows = [row for row in range(1 << count) if row >> i & 1 and row >> j & 1]
        torch.testing.assert_close(value, sum(m[row] / (row.bit_count() - 1) for row in rows))


def test_for_two_players_the_interaction_is_the_moebius_coefficient() -> None:
    v = table(2, 4)
    torch.testing.assert_close(indices.pair_interactions(v)[0, 1], indices.moebius(v)[3])
    torch.testing.assert_close(
        indices.necessity(v) - indices.sufficiency(v),
        indices.moebius(v)[3][:, None].expand(-1, 2),
    )


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_shapiq_computes_the_same_values_and_interactions(count: int) -> None:
    v = table(count)

    def game(coalitions: np.ndarray) -> np.ndarray:
        weights = 1 << np.arange(count)
        return v.numpy()[np.asarray(coalitions).astype(int) @ weights]

    exact = shapiq.ExactComputer(n_players=count, game=game)
    values = exact("SV")
    ours = indices.shapley(v)
    for player in range(count):
        assert ours[player].item() == pytest.approx(values[(player,)], abs=1e-9)
    interactions = exact("SII", order=2)
    for pair, value in indices.pair_interactions(v).items():
        assert value.item() == pytest.approx(interactions[pair], abs=1e-9)


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_shapley_is_efficient(count: int) -> None:
    v = table(count, 4)
    torch.testing.assert_close(indices.shapley(v).sum(-1), v[-1] - v[0])


def test_a_player_who_changes_nothing_gets_exactly_nothing() -> None:
    v = torch.randn(16, 50)
    rows = torch.arange(16)
    v = v[rows & ~0b0100]  # player 2's bit is never read
    assert (indices.shapley(v)[..., 2] == 0).all()
    assert (indices.necessity(v)[..., 2] == 0).all()
    assert (indices.sufficiency(v)[..., 2] == 0).all()
    for pair, value in indices.pair_interactions(v).items():
        assert (2 not in pair) or (value == 0).all()


def test_such_a_player_does_not_change_the_others() -> None:
    v = table(3, 5)
    rows = torch.arange(16)
    more = v[rows & 0b0111]  # a fourth player, ignored
    torch.testing.assert_close(indices.shapley(more)[..., :3], indices.shapley(v))


def test_equal_players_get_equal_values() -> None:
    v = table(3)
    swap = [0, 2, 1, 3, 4, 6, 5, 7]  # exchanges players 0 and 1
    even = (v + v[swap]) / 2
    phi = indices.shapley(even)
    torch.testing.assert_close(phi[0], phi[1])


def test_shapley_and_interactions_are_linear() -> None:
    one, two = table(3), table(3)
    mixed = 2 * one - 0.5 * two
    torch.testing.assert_close(
        indices.shapley(mixed), 2 * indices.shapley(one) - 0.5 * indices.shapley(two)
    )
    for pair, value in indices.pair_interactions(mixed).items():
        parts = (indices.pair_interactions(v)[pair] for v in (one, two))
        torch.testing.assert_close(value, 2 * next(parts) - 0.5 * next(parts))


def test_only_the_odd_part_of_a_game_counts() -> None:
    v = table(4)
    odd = (v - v.flip(0)) / 2  # flipping the rows takes the complement of each coalition
    torch.testing.assert_close(indices.shapley(odd), indices.shapley(v))


@pytest.mark.parametrize("order", [(1, 0, 2), (2, 0, 1)])
def test_renaming_players_renames_values(order: tuple[int, ...]) -> None:
    v = table(3)
    rows = [sum((row >> new & 1) << old for new, old in enumerate(order)) for row in range(8)]
    torch.testing.assert_close(indices.shapley(v[rows]), indices.shapley(v)[list(order)])
    pairs, other = indices.pair_interactions(v), indices.pair_interactions(v[rows])
    for (i, j), value in other.items():
        torch.testing.assert_close(value, pairs[tuple(sorted((order[i], order[j])))])


def test_autocast_does_not_touch_the_arithmetic() -> None:
    v = torch.randn(8, 6)
    expected = indices.shapley(v), indices.pair_interactions(v)[0, 2]
    with torch.autocast("cpu", torch.bfloat16):
        found = indices.shapley(v), indices.pair_interactions(v)[0, 2]
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)


def test_tables_are_not_modified() -> None:
    v = table(3)
    before = v.clone()
    indices.moebius(v), indices.shapley(v), indices.pair_interactions(v)
    assert torch.equal(v, before)

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import combinations, permutations
from math import comb, factorial

import numpy as np
import pytest
import shapiq
import torch
from scipy.special import bernoulli
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
    assert (indices.banzhaf(v, 0.3)[..., 2] == 0).all()
    assert (indices.moebius(v)[[row for row in range(16) if row & 4]] == 0).all()
    for pair, value in indices.pair_interactions(v).items():
        assert (2 not in pair) or (value == 0).all()
    for index in indices.INDICES:
        for players, value in indices.interaction_terms(v, index, 3).items():
            assert (2 in players) == bool((value == 0).all()), (index, players)


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


def interesting(count: int) -> list[tuple[int, ...]]:
    return [T for size in range(1, count + 1) for T in combinations(range(count), size)]


def bits(players: Iterable[int]) -> int:
    return sum(1 << player for player in players)


def derivative(v: np.ndarray, T: tuple[int, ...], row: int) -> float:
    parts = [L for size in range(len(T) + 1) for L in combinations(T, size)]
    return sum((-1) ** (len(T) - len(L)) * v[row | bits(L)] for L in parts)


def slow_sii(v: np.ndarray, T: tuple[int, ...], count: int) -> float:
    total, size = 0.0, len(T)
    for row in (row for row in range(1 << count) if not row & bits(T)):
        s = row.bit_count()
        weight = factorial(s) * factorial(count - s - size) / factorial(count - size + 1)
        total += weight * derivative(v, T, row)
    return total


def slow_banzhaf(v: np.ndarray, T: tuple[int, ...], count: int, p: float) -> float:
    total, others = 0.0, count - len(T)
    for row in (row for row in range(1 << count) if not row & bits(T)):
        s = row.bit_count()
        total += p**s * (1 - p) ** (others - s) * derivative(v, T, row)
    return total


def slow_stii(v: np.ndarray, T: tuple[int, ...], count: int, order: int) -> float:
    """The mean over all orders of the derivative when the first of T comes."""
    if len(T) < order:
        return derivative(v, T, 0)
    orders = list(permutations(range(count)))
    before = [bits(one[: min(one.index(player) for player in T)]) for one in orders]
    return sum(derivative(v, T, row) for row in before) / len(orders)


def slow_k_sii(v: np.ndarray, count: int, order: int) -> dict[tuple[int, ...], float]:
    """Bord & von Luxburg 2023, definition of n-Shapley values, from one order to the next."""
    found = {(player,): slow_sii(v, (player,), count) for player in range(count)}
    numbers = bernoulli(order)
    for k in range(2, order + 1):
        top = {T: slow_sii(v, T, count) for T in combinations(range(count), k)}
        for T in found:
            found[T] += numbers[k - len(T)] * sum(
                value for above, value in top.items() if set(T) < set(above)
            )
        found |= top
    return found


def slow_faithful(
    v: np.ndarray, count: int, order: int, kernel: Callable[[int], float], exact: bool
) -> dict[tuple[int, ...], float]:
    """Weighted least squares over all polynomials of an order; both ends kept, if exact."""
    sets = [(), *(T for T in interesting(count) if len(T) <= order)]
    rows = range(1 << count)
    X = np.array([[row & bits(T) == bits(T) for T in sets] for row in rows], dtype=float)
    W = np.diag([kernel(row.bit_count()) for row in rows])
    ends = X[[0, -1]] if exact else X[:0]
    system = np.block([[X.T @ W @ X, ends.T], [ends, np.zeros((len(ends),) * 2)]])
    right = np.concatenate([X.T @ W @ v, v[[0, -1]] if exact else v[:0]])
    solution, *_ = np.linalg.lstsq(system, right, rcond=None)
    return dict(zip(sets, solution[: len(sets)], strict=True))


def shapley_kernel(count: int) -> Callable[[int], float]:
    return lambda s: 0 if s in (0, count) else 1 / (comb(count, s) * s * (count - s))


ORDERS = [(2, 1), (2, 2), (3, 2), (3, 3), (4, 2), (4, 3), (5, 2), (5, 4)]


@pytest.mark.parametrize(("count", "order"), ORDERS)
def test_every_interaction_index_is_its_definition(count: int, order: int) -> None:
    v = table(count)
    slow = v.numpy()
    definitions = {
        "SII": lambda T: slow_sii(slow, T, count),
        "STII": lambda T: slow_stii(slow, T, count, order),
        "k-SII": slow_k_sii(slow, count, order).__getitem__,
        "BII": lambda T: slow_banzhaf(slow, T, count, 0.5),
        "FSII": slow_faithful(slow, count, order, shapley_kernel(count), True).__getitem__,
        "FBII": slow_faithful(slow, count, order, lambda s: 1, False).__getitem__,
    }
    assert set(definitions) == set(indices.INDICES)
    for index, definition in definitions.items():
        found = indices.interaction_terms(v, index, order)
        assert list(found) == [T for T in interesting(count) if len(T) <= order]
        for T, value in found.items():
            assert value.item() == pytest.approx(definition(T), abs=1e-8), (index, T)
        if index in ("k-SII", "STII", "FSII"):
            assert sum(found.values()).item() == pytest.approx((v[-1] - v[0]).item())


@pytest.mark.parametrize("p", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_weighted_banzhaf_is_its_definition(p: float) -> None:
    v = table(4)
    ours = indices.banzhaf(v, p)
    for player in range(4):
        assert ours[player].item() == pytest.approx(slow_banzhaf(v.numpy(), (player,), 4, p))
    if 0 < p < 1:
        slow = slow_faithful(v.numpy(), 4, 2, lambda s: p**s * (1 - p) ** (4 - s), False)
        for T, value in indices.interaction_terms(v, "FBII", 2, p).items():
            assert value.item() == pytest.approx(slow[T], abs=1e-8)


def test_at_its_ends_banzhaf_is_what_a_player_adds_first_or_last() -> None:
    v = table(5, 3)
    torch.testing.assert_close(indices.banzhaf(v, 0.0), indices.sufficiency(v))
    torch.testing.assert_close(indices.banzhaf(v, 1.0), indices.necessity(v))


@pytest.mark.parametrize("count", [2, 3, 5, 6])
def test_the_interaction_of_any_set_is_its_definition(count: int) -> None:
    v = table(count, 2)
    for T in interesting(count):
        found = indices.shapley_interaction(v, T[::-1])
        expected = [slow_sii(v[:, column].numpy(), T, count) for column in (0, 1)]
        torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("count", [2, 4, 6])
@pytest.mark.parametrize("order", [2, 3])
def test_shapiq_computes_the_same_indices(count: int, order: int) -> None:
    if order > count:
        return
    v = table(count)

    def game(coalitions: np.ndarray) -> np.ndarray:
        return v.numpy()[np.asarray(coalitions).astype(int) @ (1 << np.arange(count))]

    exact = shapiq.ExactComputer(n_players=count, game=game)
    for index in indices.INDICES:
        theirs, ours = exact(index, order=order), indices.interaction_terms(v, index, order)
        for T, value in ours.items():
            assert value.item() == pytest.approx(theirs[T], abs=1e-6), (index, T)
    theirs = exact("BV")
    for player, value in enumerate(indices.banzhaf(v)):
        assert value.item() == pytest.approx(theirs[(player,)], abs=1e-9)
    theirs = exact("Moebius")
    for T in interesting(count):
        assert indices.moebius(v)[bits(T)].item() == pytest.approx(theirs[T], abs=1e-9)


def test_captum_and_shap_compute_the_same_values() -> None:
    """And SHAP's matrix of interactions is Shapley-Taylor's, halved off its diagonal."""
    import shap
    from captum.attr import ShapleyValues

    v = table(4)
    weights = torch.tensor([1.0, 2, 4, 8])

    def f(masks: Tensor) -> Tensor:
        return v[(masks.float() @ weights).long()]

    theirs = ShapleyValues(f).attribute(torch.ones(1, 4), baselines=torch.zeros(1, 4))
    torch.testing.assert_close(theirs[0].double(), indices.shapley(v), rtol=0, atol=1e-6)
    exact = shap.explainers.Exact(
        lambda masks: f(torch.from_numpy(masks)).numpy(), lambda mask, x: (x * mask)[None]
    )
    found = exact(np.ones((1, 4)))
    np.testing.assert_allclose(found.values[0], indices.shapley(v), atol=1e-9)
    matrix = exact(np.ones((1, 4)), interactions=2).values[0]
    for players, value in indices.interaction_terms(v, "STII", 2).items():
        theirs = matrix[players] * 2 if len(players) == 2 else matrix[players * 2]
        assert theirs == pytest.approx(value.item())


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_fit_is_the_r_squared_of_weighted_regression(order: int) -> None:
    v = table(5)
    kernel = np.array([shapley_kernel(5)(row.bit_count()) for row in range(32)])
    terms = slow_faithful(v.numpy(), 5, order, shapley_kernel(5), True)
    model = [
        sum(value for T, value in terms.items() if row & bits(T) == bits(T)) for row in range(32)
    ]
    left = (kernel * (v.numpy() - model) ** 2).sum()
    spread = (kernel * (v.numpy() - np.average(v.numpy(), weights=kernel)) ** 2).sum()
    assert indices.model_fit(v, order).item() == pytest.approx(1 - left / spread)
    assert indices.model_fit(v, order + 1) > indices.model_fit(v, order) - 1e-12


def test_the_fit_is_one_where_the_order_suffices_and_undefined_where_nothing_varies() -> None:
    v = table(4, 3)
    torch.testing.assert_close(indices.model_fit(v, 4), torch.ones(3).double())
    pairs = indices.moebius(v)
    for row in range(16):
        if row.bit_count() > 2:
            pairs[row] = 0
    torch.testing.assert_close(indices.model_fit(indices.zeta(pairs), 2), torch.ones(3).double())
    assert indices.model_fit(torch.ones(16, 2), 2).isnan().all()


def test_zeta_undoes_moebius() -> None:
    v = table(6, 2)
    torch.testing.assert_close(indices.zeta(indices.moebius(v)), v)


def test_order_shares_are_of_the_dividends() -> None:
    m = torch.zeros(8, 2, dtype=torch.float64)
    m[0], m[1], m[3], m[7] = 9.0, -1.0, 2.0, -5.0
    m[:, 1] = 0
    shares = indices.order_shares(m)
    assert shares[0].tolist() == [1 / 8, 2 / 8, 5 / 8]
    assert shares[1].isnan().all()


@pytest.mark.parametrize("count", [1, 3, 12])
def test_a_table_in_single_precision_is_summed_in_double(count: int) -> None:
    v = torch.randn(1 << count, 2) + 1000
    for compute in (indices.shapley, indices.banzhaf, indices.moebius):
        single, double = compute(v), compute(v.double())
        assert single.dtype == torch.float32
        torch.testing.assert_close(single, double.float(), rtol=1e-6, atol=0)


def test_columns_may_be_worked_on_in_any_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    v = table(4, 3, 5)
    computed = {
        "shapley": indices.shapley,
        "moebius": indices.moebius,
        "fit": lambda v: indices.model_fit(v, 2),
        "pairs": lambda v: torch.stack(list(indices.pair_interactions(v).values())),
    }
    whole = {name: compute(v) for name, compute in computed.items()}
    for size in (1, 8 * 16 * 4, 8 * 16 * 7):
        monkeypatch.setattr("modalxai.attribution.indices.sums.CHUNK_BYTES", size)
        for name, compute in computed.items():
            assert torch.equal(compute(v), whole[name])


def test_twenty_players_take_one_pass_over_the_table() -> None:
    """Ten players who matter among ten who do not: the answers of the small game."""
    small = torch.randn(1 << 10, 2)
    spread = torch.arange(1 << 20)
    rows = sum((spread >> 2 * player & 1) << player for player in range(10))
    found, expected = indices.shapley(small[rows]), indices.shapley(small)
    torch.testing.assert_close(found[:, ::2], expected, rtol=1e-5, atol=1e-6)
    assert (found[:, 1::2] == 0).all()


def test_gradients_pass() -> None:
    v = table(3, 2).requires_grad_()
    indices.shapley(v)[0, 1].backward()
    weights = torch.tensor([-2, -1, 2, 1, -1, -2, 1, 2], dtype=torch.float64) / 6
    torch.testing.assert_close(v.grad[:, 0], weights)
    assert (v.grad[:, 1] == 0).all()


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

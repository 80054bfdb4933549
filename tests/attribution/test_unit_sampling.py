"""Samples of coalitions: their sums, their splits of a budget, and how honest their errors are."""

from __future__ import annotations

from contextlib import suppress
from itertools import combinations, product
from math import comb, prod

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import Rows, vector_model, vector_samples

import modalxai as mx
from modalxai.attribution import Owen, UnitShapley, regression
from modalxai.attribution.crossed import Crossed, Side
from modalxai.attribution.grid import shares_of_budget
from modalxai.attribution.masks import Chance, Masks, every, sample
from modalxai.attribution.regression import GROUPS, RIDGE, estimate
from modalxai.errors import InputError
from modalxai.testing import oracles

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def listed(masks: list[Masks]) -> tuple[np.ndarray, np.ndarray]:
    """Every cell of the grid: signs [cells, n] and chances [cells], the slow obvious way."""
    signs, chance = [], []
    for rows in product(*(range(len(one.keep)) for one in masks)):
        parts = [one.keep[row].numpy() for one, row in zip(masks, rows, strict=True)]
        signs.append(2.0 * np.concatenate(parts) - 1)
        chance.append(prod(float(one.chance[row]) for one, row in zip(masks, rows, strict=True)))
    return np.array(signs), np.array(chance)


def fitted_by_hand(
    masks: list[Masks], values: np.ndarray, whole: float | None = None
) -> np.ndarray:
    """Constrained ridge regression on a list of all cells; ``whole`` is the ridge's weight."""
    signs, chance = listed(masks)
    count, players = signs.shape
    flat = values.reshape(count, -1)
    terms = [t for k in (1, 3) for t in combinations(range(players), k)]
    design = np.stack([signs[:, list(term)].prod(1) for term in terms], axis=1)
    sizes = (signs > 0).sum(1)
    inner = (sizes > 0) & (sizes < players)
    kernel = np.zeros(count)
    kernel[inner] = [(players - 1) / (comb(players, s) * s * (players - s)) for s in sizes[inner]]
    weight = kernel / chance
    whole = weight.sum() if whole is None else whole
    ridge = np.array([RIDGE if len(term) > 1 else 0 for term in terms]) * whole
    odd = (flat - flat[::-1]) / 2
    # The constraint by a Lagrange multiplier.
    normal = (design * weight[:, None]).T @ design + np.diag(ridge)
    ones = np.ones((len(terms), 1))
    system = np.block([[normal, ones], [ones.T, np.zeros((1, 1))]])
    right = np.concatenate([(design * weight[:, None]).T @ odd, odd[-1:]])
    found = np.linalg.lstsq(system, right, rcond=None)[0][:-1]
    shares = np.array([[2 / len(t) if i in t else 0 for t in terms] for i in range(players)])
    return shares @ found


@pytest.mark.parametrize(
    "sides",
    [
        [(5, 22), (6, 30)],
        [(8, 60)],
        [(4, 16), (6, 26), (3, 8)],
        [(1, 2), (9, 60)],
        [(3, 8), (2, 4), (1, 2), (5, 22)],
        [(12, 60)],  # fewer cells than terms
        [(7, 30), (1, 2)],
    ],
)
def test_the_regression_is_that_of_a_list_of_all_cells(sides: list[tuple[int, int]]) -> None:
    masks = [sample(players, rows, seed) for seed, (players, rows) in enumerate(sides)]
    draw = np.random.default_rng(1)
    values = draw.standard_normal([*(len(one.keep) for one in masks), 2]) + 5
    found = estimate(masks, values)
    assert found.orders == (1, 3)
    np.testing.assert_allclose(found.values, fitted_by_hand(masks, values), rtol=1e-3, atol=1e-4)
    change = values.reshape(-1, 2)[-1] - values.reshape(-1, 2)[0]
    np.testing.assert_allclose(found.values.sum(0), change, atol=1e-9)  # efficiency


def test_errors_are_a_jackknife_of_each_modalitys_masks() -> None:
    """Groups of masks left out in turn, by hand: their spread and their bias, 1 - f of each."""
    masks = [sample(5, 22, 0), sample(6, 30, 1)]
    values = np.random.default_rng(1).standard_normal([22, 30, 2])
    found = estimate(masks, values)
    signs, chance = listed(masks)
    sizes = (signs > 0).sum(1)
    kernel = [0 if s in (0, 11) else 10 / (comb(11, s) * s * (11 - s)) for s in sizes]
    whole = float((np.array(kernel) / chance).sum())
    squares, sums = 0.0, 0.0
    for place, one in enumerate(masks):
        half = len(one.keep) // 2
        size = one.keep.sum(1).numpy()
        drawn = [row for row in range(half) if one.chance[row] < 1]
        groups = min(GROUPS, len(drawn))
        left, part = [], []
        for group in range(groups):
            out = drawn[group::groups]
            rows = [row for row in range(half) if row not in out]
            # The others of their size stand for them.
            more = [(size[:half] == size[row]).sum() / (size[rows] == size[row]).sum()
                    for row in rows]  # fmt: skip
            chances = one.chance.numpy()[rows] / np.array(more)
            both = rows + [2 * half - 1 - row for row in reversed(rows)]
            cut = Masks(one.keep[both], torch.from_numpy(np.concatenate([chances, chances[::-1]])))
            others = [cut if at == place else other for at, other in enumerate(masks)]
            left.append(fitted_by_hand(others, values.take(both, axis=place), whole))
            part.append(float((1 - one.chance[out]).mean()))
        for total, add in ((False, lambda x: x), (True, lambda x: x[:5].sum(0))):
            turns = np.stack([add(one) for one in left])
            weights = np.array(part).reshape(-1, *[1] * (turns.ndim - 1))
            off = turns - add(found.values)
            square = (weights * (turns - turns.mean(0)) ** 2).sum(0)
            square = square + (weights * off).sum(0) ** 2
            squares, sums = (squares, sums + square) if total else (squares + square, sums)
    np.testing.assert_allclose(found.se, np.sqrt(squares), rtol=1e-3)
    np.testing.assert_allclose(found.total_se[0], np.sqrt(sums), rtol=1e-3)


def test_sums_over_a_grid_need_no_list_of_its_cells() -> None:
    masks = [sample(5, 20, 0), sample(4, 12, 1), every(2)]
    draw = np.random.default_rng(2)
    values = draw.standard_normal([*(len(one.keep) for one in masks), 3])
    by_size = draw.random(12)
    sides = [Side(one.keep.numpy(), draw.random(len(one.keep)), 3) for one in masks]
    grid = Crossed(sides, by_size, values, (1, 3))
    signs, _ = listed(masks)
    design = np.stack([signs[:, list(chosen)].prod(1) for chosen in grid.sets()], axis=1)
    assert sorted(grid.sets()) == sorted([*combinations(range(11), 1), *combinations(range(11), 3)])
    for place in range(3):
        changed = draw.random(len(masks[place].keep)) * (draw.random(len(masks[place].keep)) > 0.3)
        rows = [side.weight if at != place else changed for at, side in enumerate(sides)]
        weight = by_size[(signs > 0).sum(1)] * np.einsum("a,b,c->abc", *rows).reshape(-1)
        normal = (design * weight[:, None]).T @ design
        np.testing.assert_allclose(grid.normal(place, changed), normal, atol=1e-9)
        right = (design * weight[:, None]).T @ values.reshape(-1, 3)
        np.testing.assert_allclose(grid.right(place, changed), right, atol=1e-9)


@given(
    players=st.dictionaries(st.sampled_from("abcd"), st.integers(1, 40), min_size=1),
    ratio=st.sampled_from([1.0, 3.0, 34.0]),
    budget=st.integers(1, 4000),
)
@settings(max_examples=150, deadline=None)
def test_a_budget_is_split_up_to_its_size(
    players: dict[str, int], ratio: float, budget: int
) -> None:
    costs = {name: ratio**at for at, name in enumerate(players)}
    dearest = max(costs.values())

    def spent(rows: dict[str, int]) -> float:
        return sum(rows[name] * costs[name] / dearest for name in rows)

    try:
        rows = shares_of_budget(budget, players, costs)
    except InputError:
        least = {n: min(2**count, 4 * count + 2) for n, count in players.items()}
        assert spent(least) > budget
        return
    assert spent(rows) <= budget + 1e-6
    more = shares_of_budget(budget + 50, players, costs)
    for name, count in players.items():
        assert rows[name] <= more[name] <= 2**count
        assert rows[name] == 2**count or (rows[name] % 2 == 0 and rows[name] >= 4 * count + 2)
    # What is left would not buy a pair of what is not full.
    open_ = [name for name, count in players.items() if rows[name] < 2**count]
    assert not open_ or budget - spent(rows) < 2 * sum(costs[n] / dearest for n in open_) + 1e-6
    crossed = prod(rows.values())
    if crossed > 400:
        with suppress(InputError):  # too many players to cross
            smaller = shares_of_budget(budget, players, costs, cells=crossed // 2)
            assert prod(smaller.values()) <= crossed // 2
            assert all(smaller[name] <= rows[name] for name in rows)


def test_the_cheap_modality_is_listed_and_the_dear_one_drawn() -> None:
    rows = shares_of_budget(400, {"text": 10, "audio": 10}, {"text": 1.0, "audio": 34.0})
    assert rows["text"] == 1024
    assert 366 <= rows["audio"] <= 400 - 1024 / 34


@pytest.mark.parametrize("by", ["leverage", "kernel"])
@pytest.mark.parametrize(("players", "count"), [(9, 60), (14, 60), (30, 130), (14, 400)])
def test_masks_are_drawn_with_the_chance_they_state(players: int, count: int, by: Chance) -> None:
    """Horvitz-Thompson: sums over the masks, each by 1 / chance, are right on average."""
    found = []
    for seed in range(300):
        masks = sample(players, count, seed, by)
        keep = masks.keep.numpy()
        assert len(np.unique(keep, axis=0)) == len(keep) <= count
        assert (keep == ~keep[::-1]).all()
        assert not keep[0].any()
        sizes = keep.sum(1)
        found.append(np.bincount(sizes, 1 / masks.chance.numpy(), players + 1))
    expected = np.array([comb(players, size) for size in range(players + 1)])
    mean, error = np.mean(found, axis=0), np.std(found, axis=0) / 300**0.5
    assert (np.abs(mean - expected) <= 5 * error + 1e-6 * expected).all()


@pytest.mark.parametrize("by", ["leverage", "kernel"])
def test_the_chance_of_a_size_is_what_it_says(by: Chance) -> None:
    masks = sample(12, 60, 0, by)
    chance = dict(zip(masks.keep.sum(1).tolist(), masks.chance.tolist(), strict=True))
    assert chance[0] == chance[12] == 1
    drawn = [size for size in chance if chance[size] < 1]
    weight = {s: 1 / comb(12, s) / (s * (12 - s) if by == "kernel" else 1) for s in drawn}
    ratios = [chance[size] / weight[size] for size in drawn]
    assert ratios == pytest.approx([ratios[0]] * len(drawn))
    assert len(drawn) > 6
    # By weight the coalitions of one player come sooner.
    assert (chance[1] > 0.8) == (by == "kernel")


def test_few_masks_that_are_crossed_err_less_by_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    """8 + 8 players; a few masks of one modality, many of the other."""
    monkeypatch.setattr(regression, "_left_out", lambda _: iter(()))  # no errors, which take long
    logs = []
    for game_seed in range(4):
        oracle = oracles.random_sum(16, 120, seed=game_seed, largest=6)
        table = oracle.values.reshape(256, 256, 1).transpose(0, 1).numpy()  # the first's bits first
        truth = oracle.shapley().numpy()
        bits = 1 << torch.arange(8)
        errors = []
        for by in ("leverage", "kernel"):
            for seed in range(6):
                masks = [sample(8, 104, seed, by), sample(8, 34, 100 + seed, by)]
                cells = np.ix_(*((one.keep * bits).sum(1).numpy() for one in masks))
                off = estimate(masks, table[cells]).values - truth
                errors.append(np.linalg.norm(off))
        logs.append(np.log(errors).reshape(2, 6).mean(1))
    leverage, kernel = np.mean(logs, axis=0)
    assert kernel < leverage - 0.05


@pytest.mark.parametrize(
    ("method", "units", "budget"),
    [
        (Owen, {"a": 12, "b": 1}, 200),
        pytest.param(Owen, {"a": 12, "b": 1}, 800, marks=pytest.mark.slow),
        (UnitShapley, {"a": 8, "b": 5}, 100),
        pytest.param(UnitShapley, {"a": 8, "b": 5}, 150, marks=pytest.mark.slow),
    ],
)
def test_standard_errors_are_those_of_the_sample(
    method: type, units: dict[str, int], budget: int
) -> None:
    """Over seeds: about as large as what they estimate, and intervals that cover."""
    oracle = oracles.random_sum(13, 50, seed=3, largest=5)
    game, sizes = oracle.game(units), list(units.values())
    truth = (oracle.owen(sizes) if method is Owen else oracle.shapley())[:, 0]
    found, errors, sums, sum_errors = [], [], [], []
    for seed in range(24):
        one = method(budget=budget, seed=seed).attribute(game)
        names = [name for name in units if name in one.units]
        found.append(torch.cat([one.units[name][0, 0] for name in names]))
        errors.append(torch.cat([one.unit_se[name][0, 0] for name in names]))
        sums.append(one.totals[0, 0])
        sum_errors.append(one.se[0, 0])
        assert one.residual().abs().max() < 1e-8
    off = torch.stack(found) - truth[: len(found[0])]
    errors, spread = torch.stack(errors), torch.stack(found).std(0)
    drawn = spread > 1e-6
    off, errors, spread = off[:, drawn], errors[:, drawn], spread[drawn]
    ratio = float((errors.square().mean(0).sqrt() / spread).mean())
    assert 0.9 < ratio < 1.7
    assert float((off.abs() < 1.96 * errors).float().mean()) > 0.9
    # A ridge is biased in small samples, but less than it is uncertain, and the errors know it.
    assert float(off.mean(0).norm() / errors.square().mean(0).sqrt().norm()) < 0.6
    if method is UnitShapley:
        ends = torch.tensor(sizes).cumsum(0)
        totals = torch.stack(
            [truth[end - size : end].sum() for end, size in zip(ends, sizes, strict=True)]
        )
        inside = (torch.stack(sums) - totals).abs() < 1.96 * torch.stack(sum_errors)
        assert float(inside.float().mean()) > 0.88
    else:
        assert torch.stack(sum_errors).eq(0).all()  # the headline is exact


@pytest.mark.parametrize("budget", [60, 88])
def test_intervals_of_few_masks_cover(budget: int) -> None:
    """Half of all masks or more: nearly nothing is left to chance, but what is must be known."""
    inside = []
    for game_seed in (1, 2, 3, 4):
        oracle = oracles.random_sum(12, 60, seed=game_seed, largest=6)
        game, truth = oracle.game({"a": 6, "b": 6}), oracle.shapley()[:, 0]
        for seed in range(12):
            one = UnitShapley(budget=budget, seed=seed).attribute(game)
            values = torch.cat([one.units[name][0, 0] for name in "ab"])
            errors = torch.cat([one.unit_se[name][0, 0] for name in "ab"])
            inside.append(((values - truth).abs() <= 1.96 * errors + 1e-9).double().mean())
    assert 0.93 < float(torch.stack(inside).mean()) < 0.99


def test_more_budget_is_less_error() -> None:
    oracle = oracles.random_sum(14, 50, seed=5, largest=6)
    game, truth = oracle.game({"a": 7, "b": 7}), oracle.shapley()[:, 0]
    error = []
    for budget in (60, 110, 200):
        off = []
        for seed in range(3):
            one = UnitShapley(budget=budget, seed=seed).attribute(game)
            off.append(torch.cat([one.units[name][0, 0] for name in "ab"]) - truth)
        error.append(float(torch.stack(off).square().mean().sqrt() / truth.square().mean().sqrt()))
    assert error == sorted(error, reverse=True)
    assert error[-1] < 0.01


def test_an_additive_game_has_no_error() -> None:
    oracle = oracles.additive([0.5, -1, 2, 0, 3, 1, -2, 0.25, 1, 1, 1, 4, -3])
    for method, units, budget in ((Owen, {"a": 13}, 80), (UnitShapley, {"a": 8, "b": 5}, 60)):
        found = method(budget=budget).attribute(oracle.game(units))
        values = torch.cat([found.units[name][0, 0] for name in units])
        torch.testing.assert_close(values, oracle.shapley()[:, 0], atol=1e-6, rtol=1e-6)
        assert max(float(se.max()) for se in found.unit_se.values()) < 1e-5


def test_errors_of_draws_and_of_masks_add_up() -> None:
    """R draws of one game: the masks' error is that of their mean, not the mean of theirs."""
    draw = torch.Generator().manual_seed(0)
    base = oracles.random_sum(12, 40, seed=1).values[None, :, None]  # [1, 2**n, 1, 1]
    shifts = torch.randn(6, 1, 1, 1, generator=draw).double()
    rows = torch.arange(4096)
    first = (rows & 1).double()[None, :, None, None]
    values = base + shifts * first  # player 0 differs between the draws, additively
    label = mx.labels("v", kind="dimensional")
    many = mx.testing.UnitTableGame(values, label, {"a": 12})
    mean = mx.testing.UnitTableGame(values.mean(0), label, {"a": 12})
    ask = Owen(budget=100)
    found, alone = ask.attribute(many), ask.attribute(mean)
    torch.testing.assert_close(found.units["a"], alone.units["a"], atol=1e-7, rtol=1e-6)
    between = torch.zeros(12).double()
    between[0] = shifts.std() / 6**0.5
    expected = (alone.unit_se["a"][0, 0].square() + between.square()).sqrt()
    torch.testing.assert_close(found.unit_se["a"][0, 0], expected, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(float(found.se[0, 0, 0]), float(between[0]))


def test_many_players_finish_and_too_many_modalities_say_so() -> None:
    model = vector_model(2, found=mx.labels("x", "y"))
    draw = torch.Generator().manual_seed(0)
    long = [{"id": "u", **{m: torch.randn(20, 4, generator=draw) for m in "ab"}}]
    game = model.game(long, removal="zero")
    with Rows(model) as rows:
        found = UnitShapley({"a": "item", "b": "item"}, budget=512).attribute(game)
        # Counted in rows of the modality that costs the most.
        spent = sum(count * game.cost(name) for name, count in rows.encoded.items())
        assert spent <= 512 * max(game.cost(name) for name in "ab")
    assert found.residual().abs().max() < 1e-4
    wide = vector_model(5, "late", found=mx.labels("x", "y"))
    one = [{"id": "u", **{m: torch.randn(9, 4, generator=draw) for m in "abcde"}}]
    with pytest.raises(InputError, match="too many players to cross"):
        UnitShapley(dict.fromkeys("abcde", "item")).attribute(wide.game(one, removal="zero"))
    found = Owen(dict.fromkeys("abcde", "item"), budget=260).attribute(
        wide.game(one, removal="zero")
    )
    assert found.residual().abs().max() < 1e-4


def test_a_grid_larger_than_memory_is_drawn_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    oracle = oracles.random_sum(12, 30, seed=2, largest=3)
    game = oracle.game({"a": 6, "b": 6})
    exact = UnitShapley().attribute(game)
    assert exact.unit_se["a"].eq(0).all()
    monkeypatch.setattr("modalxai.attribution.unit_shapley.MOST_SCORES", 1600)
    drawn = UnitShapley().attribute(game)
    assert (drawn.unit_se["a"] > 0).all()
    assert (drawn.units["a"] - exact.units["a"]).abs().max() < 0.1
    assert drawn.residual().abs().max() < 1e-8
    with pytest.raises(InputError, match="pairs of too many players"):
        UnitShapley(pairs=True).attribute(game)


@pytest.mark.parametrize("level", ["input", "features"])
@pytest.mark.parametrize("budget", [2048, 56])
def test_a_modality_that_a_sample_lacks_is_exactly_nothing(budget: int, level: str) -> None:
    """Also where it was not divided, or where spans were given for it all the same."""
    model = vector_model(3)
    draw = torch.Generator().manual_seed(0)
    samples = [
        {"id": f"u{i}", **{m: torch.randn(6, 4, generator=draw) for m in "abc"}} for i in range(2)
    ]
    samples[0]["b"] = None
    start = torch.arange(6.0).expand(2, 6)
    own = mx.Spans(start, start + 1, "index")
    game = model.game(samples, removal="zero" if level == "input" else "absent", level=level)
    for players in ({"a": "item"}, {"a": "item", "b": own}):
        for method in (Owen, UnitShapley):
            found = method(players, budget=budget).attribute(game)
            assert found.totals[0, :, 1].eq(0).all()
            assert found.se[0, :, 1].eq(0).all()
            assert found.residual().abs().max() < 1e-4
            if "b" in players:
                assert found.units["b"][0].eq(0).all()
                assert found.unit_se["b"][0].eq(0).all()
                assert not found.mask["b"][0].any()
            cut = {n: p if p == "item" else mx.Spans(start[:1], start[:1] + 1, "index")
                   for n, p in players.items()}  # fmt: skip
            alone = method(cut, budget=budget).attribute(game.select([0]))
            torch.testing.assert_close(alone.totals[0], found.totals[0], **CLOSE)


def test_padding_players_may_lie_between_real_ones() -> None:
    model, samples = vector_model(2), vector_samples(1)
    samples[0]["a"] = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    plain = mx.Spans(torch.tensor([[0.0, 2, 4]]), torch.tensor([[2.0, 4, 6]]), "index")
    holes = mx.Spans(
        torch.tensor([[0.0, 1, 2, 2, 4, 0]]), torch.tensor([[2.0, 1, 4, 2, 6, 0]]), "index"
    )
    game = model.game(samples, removal="zero")
    for method in (Owen, UnitShapley):
        expected = method({"a": plain}).attribute(game)
        found = method({"a": holes}).attribute(game)
        assert found.units["a"][..., [1, 3, 5]].eq(0).all()
        torch.testing.assert_close(found.units["a"][..., [0, 2, 4]], expected.units["a"], **CLOSE)
        torch.testing.assert_close(found.totals, expected.totals, **CLOSE)


def test_a_modality_without_units_is_one_player() -> None:
    """Or nothing could be removed, and it would seem to contribute nothing."""
    model, samples = vector_model(2), vector_samples(3)
    length = max(len(sample["a"]) for sample in samples)
    start = torch.arange(float(length)).expand(3, length)
    some = torch.tensor([[True], [False], [True]])
    spans = mx.Spans(start * some, (start + 1) * some, "index")
    game = model.game(samples, removal="zero")
    whole = mx.Explanation.of(game).shapley()
    found = Owen({"a": spans}).attribute(game)
    torch.testing.assert_close(found.totals, whole.totals, **CLOSE)
    assert found.mask["a"].sum(1).tolist() == [length, 1, length]
    torch.testing.assert_close(found.units["a"][1, :, 0], whole.totals[1, :, 0], **CLOSE)


def test_spans_may_overlap_and_leave_gaps() -> None:
    """Removing all of them removes the modality; a vector goes with any of its players."""
    model = vector_model(2)
    sample = {"id": "u", "a": torch.randn(5, 4, generator=torch.Generator().manual_seed(1)),
              "b": torch.ones(2, 4)}  # fmt: skip
    spans = mx.Spans(torch.tensor([[0.0, 1]]), torch.tensor([[2.0, 3]]), "index")
    game = model.game([sample], removal="zero").divide({"a": spans})

    def score(*kept: int) -> torch.Tensor:
        edited = sample["a"] * torch.tensor([at in kept for at in range(5)])[:, None]
        return model.predict([{**sample, "a": edited}]).scores

    both = torch.ones(1, 1, dtype=torch.bool)
    for keep, kept in (((0, 0), ()), ((1, 0), (0, 3, 4)), ((0, 1), (2, 3, 4)), ((1, 1), range(5))):
        found = game.value({"a": torch.tensor([keep]).bool(), "b": both})[0]
        torch.testing.assert_close(found, score(*kept), **CLOSE)


def test_labels_are_chosen_and_ordered_and_compared_with_one() -> None:
    model, samples = vector_model(2), vector_samples(3)
    samples = [{**sample, "a": torch.randn(6, 4), "b": torch.randn(5, 4)} for sample in samples]
    game = model.game(samples[:2], removal="zero")
    for method, budget in product((Owen, UnitShapley), (2048, 60)):
        ask = method({"a": "item", "b": "item"}, budget=budget, scale="contrast", against="joy")
        whole = ask.attribute(game)
        names = [label.name for label in whole.labels]
        some = ask.attribute(game, labels=["fear", "anger"])
        assert [label.name for label in some.labels] == ["fear", "anger"]
        at = [names.index("fear"), names.index("anger")]
        torch.testing.assert_close(some.units["a"], whole.units["a"][:, at], **CLOSE)
        torch.testing.assert_close(some.unit_se["b"], whole.unit_se["b"][:, at], **CLOSE)
        assert whole.units["a"][:, names.index("joy")].abs().max() < 1e-6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_models_of_half_precision(dtype: torch.dtype) -> None:
    model, samples = vector_model(2), vector_samples(2)
    half = vector_model(2)
    half.load_state_dict(model.state_dict())
    half.to(dtype)
    for encoder in half.encoders.values():  # collate gives float32
        forward = encoder.forward
        encoder.forward = lambda inputs, f=forward: f(  # type: ignore[method-assign]
            {**inputs, "values": inputs["values"].to(dtype)}
        )
    for method in (Owen, UnitShapley):
        ask = method({"a": "item", "b": "item"}, scale="raw")
        found = ask.attribute(half.game(samples, removal="zero"))
        expected = ask.attribute(model.game(samples, removal="zero"))
        assert found.totals.dtype == torch.float32
        assert found.residual().abs().max() < 1e-5
        assert found.unit_gap().abs().max() < 1e-5
        torch.testing.assert_close(found.units["a"], expected.units["a"], atol=0.2, rtol=0.05)


def test_a_provenance_tells_how_a_game_was_divided() -> None:
    model, samples = vector_model(2), vector_samples(4)
    game = model.game(samples, removal="zero")
    items, pairs = (Owen().attribute(game.divide({"a": kind})) for kind in ("item", "pair"))
    assert items.provenance == Owen({"a": "item"}).attribute(game).provenance
    assert items.provenance != pairs.provenance
    assert items.provenance != Owen({"a": "item"}, pairs=True).attribute(game).provenance
    # A batch whose samples have one item each is divided all the same.
    short = [{**samples[0], "a": samples[0]["a"][:1]}]
    one = Owen().attribute(model.game(short, removal="zero").divide({"a": "item"}))
    rest = Owen().attribute(model.game(samples[1:], removal="zero").divide({"a": "item"}))
    merged = mx.Attribution.merge([one, rest])
    torch.testing.assert_close(merged.units["a"][0, :, 0], merged.totals[0, :, 0], **CLOSE)

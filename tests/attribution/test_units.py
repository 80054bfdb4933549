"""Owen and Shapley values of words and moments, against the definitions written out."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, permutations, product
from math import factorial

import pytest
import torch
from toys import Rows, speech_model, speech_samples, vector_model, vector_samples

import modalxai as mx
from modalxai.attribution import Owen, UnitShapley, mm_shap
from modalxai.errors import InputError
from modalxai.testing import UnitTableGame

VALUE = mx.labels("v", kind="dimensional")
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def table_game(
    units: dict[str, int], rule: Callable[[dict[str, set[int]]], float]
) -> UnitTableGame:
    """A game of one sample from a rule on the players left in each modality."""
    names, counts = list(units), list(units.values())
    rows = []
    for bits in range(2 ** sum(counts)):
        left, start = {}, 0
        for name, count in units.items():
            left[name] = {i for i in range(count) if bits >> (start + i) & 1}
            start += count
        rows.append(rule(left))
    assert names
    return UnitTableGame(torch.tensor(rows, dtype=torch.float64)[:, None, None], VALUE, units)


def random_game(
    units: dict[str, int], samples: int = 2, labels: int = 3, seed: int = 0
) -> UnitTableGame:
    draw = torch.Generator().manual_seed(seed)
    values = torch.randn(2 ** sum(units.values()), samples, labels, generator=draw).double()
    return UnitTableGame(values, mx.labels("x", "y", "z"), units)


def value(game: UnitTableGame, players: set[tuple[str, int]]) -> torch.Tensor:
    keep = {
        name: torch.tensor([[(name, i) in players for i in range(spans.start.shape[1])]]).expand(
            len(game.sample_ids), -1
        )
        for name, spans in game.players.items()
    }
    scores = game.value(keep)[0]
    return scores - scores.mean(-1, keepdim=True) if scores.shape[-1] > 1 else scores


def owen_by_hand(game: UnitTableGame, name: str, unit: int) -> torch.Tensor:
    """The double sum of Owen 1977."""
    units = {m: [(m, i) for i in range(s.start.shape[1])] for m, s in game.players.items()}
    others = [m for m in units if m != name]
    fellows = [player for player in units[name] if player[1] != unit]
    total, count, n = 0, len(units), len(units[name])
    for q in range(len(others) + 1):
        for chosen in combinations(others, q):
            outside = {player for m in chosen for player in units[m]}
            for t in range(len(fellows) + 1):
                for inside in combinations(fellows, t):
                    weight = factorial(q) * factorial(count - q - 1) / factorial(count)
                    weight *= factorial(t) * factorial(n - t - 1) / factorial(n)
                    base = outside | set(inside)
                    gain = value(game, base | {(name, unit)}) - value(game, base)
                    total = total + weight * gain
    return total


def shapley_by_hand(game: UnitTableGame) -> dict[tuple[str, int], torch.Tensor]:
    """The mean marginal contribution over all orders."""
    players = [(m, i) for m, s in game.players.items() for i in range(s.start.shape[1])]
    found = dict.fromkeys(players, torch.zeros(()))
    for order in permutations(players):
        before: set[tuple[str, int]] = set()
        for player in order:
            gain = value(game, before | {player}) - value(game, before)
            found[player] = found[player] + gain / factorial(len(players))
            before.add(player)
    return found


@pytest.mark.parametrize("units", [{"a": 3, "b": 2}, {"a": 1, "b": 3}, {"a": 2, "b": 2, "c": 3}])
def test_owen_is_the_double_sum(units: dict[str, int]) -> None:
    game = random_game(units)
    found = Owen().attribute(game)
    for name, count in units.items():
        if name in found.units:
            for unit in range(count):
                expected = owen_by_hand(game, name, unit)
                torch.testing.assert_close(found.units[name][..., unit].double(), expected, **CLOSE)
    assert found.residual().abs().max() < 1e-5
    assert found.unit_gap()[..., [n in found.units for n in units]].abs().max() < 1e-5


@pytest.mark.parametrize("units", [{"a": 3, "b": 2}, {"a": 2, "b": 1, "c": 2}])
def test_unit_shapley_is_the_mean_over_orders(units: dict[str, int]) -> None:
    game = random_game(units)
    found, expected = UnitShapley().attribute(game), shapley_by_hand(game)
    for (name, unit), values in expected.items():
        if name in found.units:
            torch.testing.assert_close(found.units[name][..., unit].double(), values, **CLOSE)
    assert found.residual().abs().max() < 1e-5


def test_the_length_bias_that_owen_has_not() -> None:
    units = {"text": 2, "audio": 8}
    either = table_game(units, lambda left: float(bool(left["text"] or left["audio"])))
    both = table_game(units, lambda left: float(bool(left["text"] and left["audio"])))
    for game, flat in ((either, [0.2, 0.8]), (both, [0.8, 0.2])):
        torch.testing.assert_close(
            UnitShapley().attribute(game).totals[0, 0],
            torch.tensor(flat).to(torch.float64),
            **CLOSE,
        )
        totals = Owen().attribute(game).totals[0, 0]
        torch.testing.assert_close(totals, torch.tensor([0.5, 0.5]).to(totals), **CLOSE)


def test_pairs_sum_to_the_modalities_interaction() -> None:
    game = random_game({"a": 3, "b": 2, "c": 2})
    found = Owen(pairs=True).attribute(game)
    modal = mx.Explanation.of(game).interactions()
    assert set(found.pairs) == {("a", "b"), ("a", "c"), ("b", "c")}
    for pair, values in found.pairs.items():
        torch.testing.assert_close(
            values.sum((-1, -2)).double(), modal.pairs[pair][..., 0, 0].double(), **CLOSE
        )


def test_a_product_of_one_word_and_one_moment_is_one_pair() -> None:
    game = table_game({"text": 3, "audio": 2}, lambda s: 2.0 * (1 in s["text"]) * (0 in s["audio"]))
    expected = torch.zeros(3, 2)
    expected[1, 0] = 2
    for method in (Owen(pairs=True), UnitShapley(pairs=True)):
        found = method.attribute(game)
        torch.testing.assert_close(found.pairs["text", "audio"][0, 0].float(), expected, **CLOSE)
        words = found.units["text"][0, 0].float()
        torch.testing.assert_close(words, torch.tensor([0.0, 1, 0]), **CLOSE)


def test_unit_pairs_are_the_shapley_interaction_index() -> None:
    units = {"a": 2, "b": 3}
    game = random_game(units, samples=1)
    found = UnitShapley(pairs=True).attribute(game).pairs["a", "b"][0]
    players = [(m, i) for m, n in units.items() for i in range(n)]
    for i, j in product(range(2), range(3)):
        rest, total = [p for p in players if p not in (("a", i), ("b", j))], 0
        for size in range(len(rest) + 1):
            weight = factorial(size) * factorial(len(rest) - size) / factorial(len(rest) + 1)
            for chosen in combinations(rest, size):
                base = set(chosen)
                v = [
                    value(game, base | extra)
                    for extra in ({("a", i), ("b", j)}, {("a", i)}, {("b", j)}, set())
                ]
                total = total + weight * (v[0] - v[1] - v[2] + v[3])
        torch.testing.assert_close(found[:, i, j].double(), total[0], **CLOSE)


def test_words_and_segments_of_a_model() -> None:
    model, samples = speech_model(), speech_samples(3)
    samples[1]["text"] = None
    removal = {"audio": "silence", "text": "mask"}
    players = {"text": "word", "audio": "segment"}
    game = model.game(samples, removal=removal)
    shapley = mx.Explanation.of(game).shapley()
    owen = Owen(players).attribute(game)
    near = 1e-5 * float(owen.prediction.abs().max().clamp(min=1))
    torch.testing.assert_close(owen.totals, shapley.totals)
    assert owen.residual().abs().max() < near
    assert owen.unit_gap().abs().max() < near
    assert owen.units["text"][1].eq(0).all()
    assert owen.spans["text"].names[2] == ("no",)
    flat = UnitShapley(players).attribute(game)
    assert flat.residual().abs().max() < near
    assert flat.unit_gap().abs().max() < near
    assert not torch.allclose(flat.totals, owen.totals, atol=1e-4)
    for found in (owen, flat):
        for name, units in found.units.items():
            assert units.masked_fill(found.mask[name][:, None], 0).eq(0).all()
            assert units[found.mask[name][:, None].expand_as(units)].ne(0).any()
        assert (mm_shap(found).sum(-1) - 1).abs().max() < 1e-5


@pytest.mark.parametrize("method", [Owen, UnitShapley])
def test_a_sample_alone_is_the_sample_in_a_batch(method: type) -> None:
    model, samples = vector_model(2), vector_samples(4, missing=True)
    players = {"a": "item", "b": "pair"}
    for budget in (2048, 26):
        ask = method(players, budget=budget)
        whole = ask.attribute(model.game(samples, removal="zero"))
        merged = mx.Attribution.merge(
            [ask.attribute(model.game([sample], removal="zero")) for sample in samples[::-1]]
        )
        for row in range(4):
            for name in "ab":
                size = merged.units[name].shape[-1]
                torch.testing.assert_close(
                    merged.units[name][3 - row], whole.units[name][row][:, :size], **CLOSE
                )
            torch.testing.assert_close(merged.totals[3 - row], whole.totals[row], **CLOSE)


def test_ten_words_and_ten_segments_cost_2048_rows_and_are_exact() -> None:
    model = vector_model(2)
    samples = [{"id": "u", "a": torch.randn(10, 4), "b": torch.randn(10, 4)}]
    game = model.game(samples, removal="zero")
    with Rows(model) as rows:
        found = Owen({"a": "item", "b": "item"}, pairs=False).attribute(game)
    assert sum(rows.encoded.values()) == 2048
    assert found.unit_se["a"].eq(0).all()
    with Rows(model) as rows:
        Owen({"a": "item", "b": "item"}).attribute(game)
    assert sum(rows.encoded.values()) == 0


def test_a_sample_of_coalitions_is_efficient_close_and_honest() -> None:
    model = vector_model(2, "joint")
    draw = torch.Generator().manual_seed(1)
    samples = [
        {"id": f"u{i}", **{m: torch.randn(8, 4, generator=draw) for m in "ab"}} for i in range(3)
    ]
    game = model.game(samples, removal="zero")
    players = {"a": "item", "b": "item"}
    for method in (Owen, UnitShapley):
        exact = method(players).attribute(game)
        drawn = method(players, budget=160).attribute(game)
        assert drawn.residual().abs().max() < 1e-4
        assert drawn.unit_gap().abs().max() < 1e-4
        error, size = 0.0, 0.0
        inside = []
        for name in "ab":
            difference = drawn.units[name] - exact.units[name]
            error += float(difference.square().sum())
            size += float(exact.units[name].square().sum())
            assert (drawn.unit_se[name] > 0).all()
            inside.append(difference.abs() < 4 * drawn.unit_se[name] + 1e-6)
        assert (error / size) ** 0.5 < 0.1
        assert torch.stack(inside).float().mean() > 0.97
        assert drawn.provenance.params["budget"] == 160


def test_what_is_too_little_or_nothing_is_refused() -> None:
    game = random_game({"a": 8, "b": 8})
    with pytest.raises(InputError, match="a budget that would give noise"):
        Owen(budget=40).attribute(game)
    with pytest.raises(InputError, match="pairs of too many players"):
        UnitShapley(budget=200, pairs=True).attribute(game)
    with pytest.raises(InputError, match="pairs of too many players"):
        Owen(budget=200, pairs=True).attribute(game)
    with pytest.raises(InputError, match="budget out of range"):
        Owen(budget=0).attribute(game)
    plain = vector_model(2).game(vector_samples(2), removal="zero")
    for method in (Owen, UnitShapley):
        with pytest.raises(InputError, match="no modality is divided"):
            method().attribute(plain)
    with pytest.raises(InputError, match="no units"):
        mm_shap(mx.attribution.ModalityShapley().attribute(plain))


def test_results_are_kept_and_merged(tmp_path) -> None:
    model, samples = vector_model(2), vector_samples(4)
    ask = Owen({"a": "item", "b": "pair"}, pairs=True)
    parts = [ask.attribute(model.game([sample], removal="zero")) for sample in samples]
    merged = mx.Attribution.merge(parts)
    merged.save(tmp_path)
    again = mx.Attribution.load(tmp_path)
    assert again.provenance == merged.provenance
    for name in "ab":
        assert torch.equal(again.units[name], merged.units[name])
        assert torch.equal(again.unit_se[name], merged.unit_se[name])
    assert torch.equal(again.pairs["a", "b"], merged.pairs["a", "b"])

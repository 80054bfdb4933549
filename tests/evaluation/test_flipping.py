"""Deletion, insertion and SRG, against walks that take one player at a time."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.evaluation.hand import Watched, attribution, one_map, random_game
from toys import Rows, vector_model, vector_samples

import modalxai as mx
from modalxai.attribution import FeatureDifference, ModalityShapley, Owen, UnitShapley, on_scale
from modalxai.errors import InputError
from modalxai.evaluation import deletion, insertion, srg
from modalxai.testing import oracles

TWO = {"text": 2, "audio": 2}
ITEMS = {"a": "item", "b": "item"}


def walk(game, found, row, label, order, kind, scale="clr"):
    """Scores of one sample and label, one player after the other, ties in their own order."""
    players = [
        (float(found.units[name][row, label, i]), name, i)
        for name, spans in game.players.items()
        for i in range(spans.start.shape[1])
        if bool(spans.mask[row, i])
    ]
    ranked = sorted(players, key=lambda one: -one[0])
    if order == "LIF":
        ranked = sorted(players, key=lambda one: one[0])
    scores = []
    for step in range(len(ranked) + 1):
        moved = {(name, i) for _, name, i in ranked[:step]}
        keep = {
            name: torch.tensor(
                [
                    [((name, i) in moved) == (kind == "insertion") for i in range(s.start.shape[1])]
                    for _ in game.sample_ids
                ]
            )
            for name, s in game.players.items()
        }
        scores.append(on_scale(game.value(keep), game.labels, scale)[:, row, label].mean().item())
    return scores


# Against the definition.


@pytest.mark.parametrize("kind", [deletion, insertion])
@pytest.mark.parametrize("order", ["MIF", "LIF"])
@pytest.mark.parametrize("scale", ["clr", "probability"])
def test_curves_are_walks_of_one_player_at_a_time(kind, order, scale) -> None:
    game, found = random_game()
    curves = kind(found, game, order, scale=scale)
    assert curves.players.tolist() == [5, 4, 3]
    for row in range(3):
        count = int(curves.players[row])
        for label in range(4):
            expected = walk(game, found, row, label, order, kind.__name__, scale)
            steps = curves.scores[row, label]
            assert steps[: count + 1].tolist() == pytest.approx(expected, abs=1e-12)
            assert steps[count + 1 :].isnan().all()
            area = sum((a + b) / 2 for a, b in pairwise(expected)) / count
            assert curves.area[row, label].item() == pytest.approx(area, abs=1e-12)
    assert torch.allclose(curves.mean_area, curves.area.mean(0))


def test_known_areas_of_an_additive_game() -> None:
    # Removed in order, 4 + 3 + 2 + 1 leaves 10, 6, 3, 1, 0; the other way 10, 9, 7, 4, 0.
    game = oracles.additive([4, 3, 2, 1]).game(TWO)
    found = one_map(game, [4, 3, 2, 1])
    gain = srg(found, game)
    assert gain.most.scores[0, 0].tolist() == [10, 6, 3, 1, 0]
    assert gain.least.scores[0, 0].tolist() == [10, 9, 7, 4, 0]
    assert gain.most.area.item() == 3.75
    assert gain.least.area.item() == 6.25
    assert gain.values.item() == gain.mean.item() == 2.5


@pytest.mark.parametrize("game", [oracles.all_of(4), oracles.any_of(4), oracles.parity(4)])
def test_where_players_are_alike_no_order_is_better(game) -> None:
    game = game.game(TWO)
    assert srg(one_map(game, [0.4, 0.3, 0.2, 0.1]), game).values.item() == 0


def test_the_longest_runway_is_found() -> None:
    # Whoever needs the longest runway decides: without them the next longest is needed.
    game = oracles.airport([1, 2, 3, 8]).game(TWO)
    gain = srg(Owen().attribute(game), game)
    assert gain.most.scores[0, 0].tolist() == [8, 3, 2, 1, 0]
    assert gain.least.scores[0, 0].tolist() == [8, 8, 8, 8, 0]
    assert gain.values.item() == pytest.approx((8 + 8 + 8 - 3 - 2 - 1) / 4)


# What the number means.


@settings(max_examples=40)
@given(st.integers(0, 1000))
def test_backwards_has_minus_the_gain_and_rescaling_changes_nothing(seed) -> None:
    game, found = random_game(seed)
    gain = srg(found, game).values
    turned = replace(found, units={name: -one for name, one in found.units.items()})
    grown = replace(found, units={name: 3 * one for name, one in found.units.items()})
    assert torch.allclose(srg(turned, game).values, -gain, atol=1e-12)
    assert torch.equal(srg(grown, game).values, gain)


@settings(max_examples=40)
@given(st.integers(0, 1000))
def test_insertion_is_deletion_backwards(seed) -> None:
    game, found = random_game(seed)
    put, taken = insertion(found, game, "MIF"), deletion(found, game, "LIF")
    assert torch.allclose(put.area, taken.area, atol=1e-12)
    most = deletion(found, game)
    assert torch.allclose(srg(found, game).values, put.area - most.area, atol=1e-12)


@settings(max_examples=20)
@given(st.lists(st.integers(-5, 5), min_size=4, max_size=4))
def test_no_order_beats_the_shapley_values_of_an_additive_game(weights) -> None:
    game = oracles.additive(weights).game(TWO)
    best = srg(one_map(game, weights), game).values.item()
    gains = [srg(one_map(game, list(p)), game).values.item() for p in permutations([1, 2, 3, 4])]
    assert best == pytest.approx(max(gains), abs=1e-12)
    assert sum(gains) == pytest.approx(0, abs=1e-9)  # chance


def test_shapley_values_beat_chance_and_their_reverse() -> None:
    draw = torch.Generator().manual_seed(0)
    exact, chance = [], []
    for seed in range(30):
        game = oracles.random_sum(8, 12, seed).game({"text": 4, "audio": 4})
        found = UnitShapley().attribute(game)
        exact.append(srg(found, game).values.item())
        random = one_map(game, torch.randn(8, generator=draw).tolist())
        chance.append(srg(random, game).values.item())
    gains, others = torch.tensor(exact), torch.tensor(chance)
    assert (gains > 0).float().mean() > 0.9
    assert gains.mean() > others.mean() + 5 * others.std() / 30**0.5
    assert abs(others.mean()) < 3 * others.std() / 30**0.5


def test_a_map_that_says_nothing_has_no_gain() -> None:
    # Taken in their own order, the first of these players would look like the best.
    game = oracles.additive([9, 5, 1, 0]).game(TWO)
    assert srg(one_map(game, [0, 0, 0, 0]), game).values.item() == 0
    some = srg(one_map(game, [1, 0, 0, 0]), game)
    # The tied ones 5, 1, 0 go from both ends: 6, 1, 0, 0 and 6, 6, 5, 0.
    assert some.most.scores[0, 0].tolist() == [15, 6, 3.5, 2.5, 0]
    assert some.values.item() > 0


# Who is ranked.


def test_one_modality_alone_leaves_the_others_in_place() -> None:
    game = oracles.additive([4, 3, 2, 1]).game(TWO)
    found = one_map(game, [4, 3, 2, 1])
    alone = deletion(found, game, modalities=["audio"])
    assert alone.players.tolist() == [2]
    assert alone.scores[0, 0].tolist() == [10, 8, 7]
    assert torch.equal(alone.scores, deletion(found, game, modalities="audio").scores)


def test_an_undivided_modality_is_one_player() -> None:
    game = oracles.additive([4, 3, 2, 1]).game({"text": 2, "audio": 2})
    found = one_map(game, [4, 3, 2, 1])
    words = replace(found, units={"text": found.units["text"]})
    curve = deletion(words, game)
    assert curve.players.tolist() == [3]
    assert curve.scores[0, 0].tolist() == [10, 6, 3, 0]  # 4, then 3 before 2 + 1: a tie
    none = replace(found, units={})
    assert deletion(none, game).scores[0, 0].tolist() == [10, 3, 0]
    assert srg(none, game).values.item() == pytest.approx((7 - 3) / 2)


def test_of_one_player_there_is_no_order() -> None:
    game = oracles.additive([4, 1]).game({"text": 1, "audio": 1})
    found = one_map(game, [4, 1])
    alone = srg(found, game, modalities="text")
    assert alone.values.isnan().all()
    assert alone.most.area.item() == 3  # from 5 to 1


def test_a_sample_without_players_has_no_area() -> None:
    game, found = random_game()
    curve = deletion(found, game, modalities=["audio"])
    assert curve.players.tolist() == [2, 2, 0]
    assert curve.area[2].isnan().all()
    assert curve.area[:2].isfinite().all()
    assert curve.mean_area.isfinite().all()


# Models.


@pytest.mark.parametrize("method", [Owen, UnitShapley])
def test_a_model_with_missing_modalities(method) -> None:
    samples = vector_samples(5, missing=True)
    game = vector_model().eval().game(samples, removal="zero").divide(ITEMS)
    found = method().attribute(game)
    gain = srg(found, game)
    for row, sample in enumerate(samples):
        here = [name for name in "ab" if sample[name] is not None]
        count = sum(len(sample[name]) for name in here)
        assert int(gain.most.players[row]) == count
        for label in range(len(game.labels)):
            expected = walk(game, found, row, label, "MIF", "deletion")
            steps = gain.most.scores[row, label, : count + 1].tolist()
            assert steps == pytest.approx(expected, abs=1e-5)
            # All is there, and nothing is.
            assert steps[0] == pytest.approx(found.prediction[row, label].item(), abs=1e-5)
            if len(here) == 2:
                assert steps[-1] == pytest.approx(found.reference[row, label].item(), abs=1e-5)
    assert gain.mean[0] > 0


def test_no_neighbours_and_no_order_of_samples() -> None:
    samples = vector_samples(4, missing=True)
    model = vector_model().eval()

    def gains(some: list[dict]) -> dict[str, torch.Tensor]:
        game = model.game(some, removal="zero")
        found = srg(Owen(ITEMS).attribute(game), game.divide(ITEMS))
        return dict(zip(game.sample_ids, found.values, strict=True))

    together, backwards = gains(samples), gains(samples[::-1])
    for sample in samples:
        alone = gains([sample])[sample["id"]]
        for other in (together, backwards):
            assert torch.allclose(alone, other[sample["id"]], atol=1e-5, equal_nan=True)


def test_gradient_maps_are_ranked_over_the_vectors_they_lie_on() -> None:
    samples = vector_samples(3)
    game = vector_model().eval().game(samples, level="features")
    found = FeatureDifference().attribute(game)
    with pytest.raises(InputError, match=r"divide\(attribution.spans\)"):
        srg(found, game)
    assert srg(found, game.divide(dict(found.spans))).values.isfinite().any()


def test_random_removals_are_averaged_on_the_scale() -> None:
    samples = vector_samples(2)
    game = vector_model().eval().game(samples, removal="noise", draws=3).divide(ITEMS)
    found = Owen().attribute(game)
    curve = deletion(found, game)
    expected = walk(game, found, 1, 0, "MIF", "deletion")
    assert curve.scores[1, 0, : len(expected)].tolist() == pytest.approx(expected, abs=1e-5)


def test_a_black_box_and_a_contrast() -> None:
    def fn(samples):
        return [[len(s["text"] or ""), 0.5, 0.0] for s in samples]

    samples = [{"id": "u", "text": "a bbb cc"}, {"id": "v", "text": "dddd e"}]
    game = mx.CallableGame(fn, samples, labels=mx.labels("x", "y", "z"), modalities=["text"])
    game = game.divide({"text": "word"})
    found = Owen(scale="contrast", against="z").attribute(game)
    curve = deletion(found, game)
    assert curve.scale == "contrast"
    assert curve.scores[0, 0, 0].item() == 8
    assert curve.scores[0, 1, 0].item() == 0.5
    assert curve.scores[0, 0, -1].item() == 0


# Costs.


def test_the_number_of_coalitions_is_linear_and_asked_at_once() -> None:
    game = oracles.random_sum(10, 20, 0).game({"text": 5, "audio": 5})
    found = UnitShapley().attribute(game)
    watched = Watched(game)
    gain = srg(found, watched)
    assert watched.asked == [1, 2 * 10]  # everyone, for rivals; then 2 n of the one label
    assert gain.most.coalitions.tolist() == [20]


def test_each_part_of_a_model_is_encoded_once() -> None:
    model, samples = vector_model().eval(), vector_samples(3)
    game = model.game(samples, removal="zero").divide(ITEMS)
    found = attribution(
        game,
        {
            name: torch.randn(3, len(game.labels), spans.start.shape[1]) * spans.mask[:, None]
            for name, spans in game.players.items()
        },
    )
    with Rows(model) as rows:
        gain = srg(found, game)
    players = gain.most.players
    assert (gain.most.coalitions <= 2 + 2 * len(game.labels) * (players - 1)).all()
    for name, spans in game.players.items():
        # At most every coalition of so few, and no more than two of each size for each label.
        counts = spans.mask.sum(1)
        most = sum(min(2**n, 2 * len(game.labels) * n) for n in counts.tolist())
        assert rows.encoded[name] <= most
    with Rows(model) as again:
        srg(found, game)
    assert sum(again.encoded.values()) == 0


# Mistakes.


def test_what_cannot_be_ranked_is_refused() -> None:
    game, found = random_game()
    other, _ = random_game(samples=3)
    other.sample_ids = ("p", "q", "r")
    with pytest.raises(InputError, match="other samples"):
        srg(found, other)
    with pytest.raises(InputError, match="unknown order"):
        deletion(found, game, "first")
    with pytest.raises(InputError, match="cannot be ranked"):
        deletion(found, game, modalities=["video"])
    with pytest.raises(InputError, match="no modality"):
        deletion(found, game, modalities=[])
    with pytest.raises(InputError, match="unknown scale"):
        deletion(found, game, scale="nats")
    broken = {name: one.clone() for name, one in found.units.items()}
    broken["text"][1, 0, 0] = float("nan")
    with pytest.raises(InputError, match=r"'#1'.*cannot be ranked"):
        deletion(replace(found, units=broken), game)
    moved = {name: replace(s, start=s.start + 1, end=s.end + 1) for name, s in found.spans.items()}
    with pytest.raises(InputError, match="other players"):
        deletion(replace(found, spans=moved), game)


def test_modalities_are_ranked_as_well() -> None:
    game = vector_model().eval().game(vector_samples(3, missing=True))
    gain = srg(ModalityShapley().attribute(game), game)
    assert gain.most.players.tolist() == [2, 1, 2]
    assert gain.values[1].isnan().all()
    assert (gain.values[[0, 2]] >= 0).all()

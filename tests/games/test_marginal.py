"""Marginal removals: what donors lend, against the definition written out."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
import torch
from toys import Rows, vector_model, vector_samples

import modalxai as mx
from modalxai.attribution import Owen, UnitShapley
from modalxai.errors import InputError, RemovalError
from modalxai.games import Background
from modalxai.games.donors import Lenders
from modalxai.types import Features

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def others(count: int, names: str = "ab", missing: bool = False) -> list[dict]:
    found = vector_samples(count, names, missing)
    return [{**sample, "id": f"donor {sample['id']}"} for sample in found]


def encoded(model: mx.EmotionModel, samples: list[dict]) -> list[dict[str, Features]]:
    model.eval()
    with torch.no_grad():
        return [model.encode(model.collate([sample])) for sample in samples]


def scores_of(model: mx.EmotionModel, features: dict[str, Features]) -> torch.Tensor:
    with torch.no_grad():
        return model.fusion(features).scores[0]


@pytest.mark.parametrize("fusion", ["shallow", "joint"])
def test_all_joint_donors_are_interventional_shap(fusion: str) -> None:
    model, samples, donors = vector_model(2, fusion), vector_samples(3), others(5)
    found = mx.explain(model, samples, removal="marginal", background=donors, draws="all")
    assert found.draws.shape[0] == 5
    own, lent = encoded(model, samples), encoded(model, donors)
    for row, draw in product(range(3), range(5)):
        for coalition in range(4):
            mixed = {
                name: (own[row] if coalition >> bit & 1 else lent[draw])[name]
                for bit, name in enumerate("ab")
            }
            expected = scores_of(model, mixed)
            torch.testing.assert_close(found.draws[draw, coalition, row], expected, **CLOSE)


def test_all_independent_donors_give_emaps_residual() -> None:
    model, samples, donors = vector_model(2, "joint"), vector_samples(3), others(4)
    found = mx.explain(
        model, samples, removal="marginal-independent", background=donors, draws="all"
    )
    assert found.draws.shape[0] == 16
    own, lent = encoded(model, samples), encoded(model, donors)
    for row in range(3):
        text = torch.stack([scores_of(model, {**own[row], "b": one["b"]}) for one in lent])
        audio = torch.stack([scores_of(model, {**own[row], "a": one["a"]}) for one in lent])
        pairs = [scores_of(model, {"a": i["a"], "b": j["b"]}) for i, j in product(lent, lent)]
        empty = torch.stack(pairs)
        additive = text.mean(0) + audio.mean(0) - empty.mean(0)  # Hessel & Lee 2020, equation 2
        residual = scores_of(model, own[row]) - additive
        pair = found.interactions("raw").pairs["a", "b"][row, :, 0, 0]
        torch.testing.assert_close(pair, residual, **CLOSE)


def test_drawn_donors_come_from_all_donors_and_each_is_a_coherent_game() -> None:
    model, samples, donors = vector_model(2, "joint"), vector_samples(3), others(6)
    drawn = mx.explain(model, samples, removal="marginal", background=donors, draws=4)
    every = mx.explain(model, samples, removal="marginal", background=donors, draws="all")
    for row in range(3):
        places = set()
        for draw in range(4):
            distance = (every.draws[:, :, row] - drawn.draws[draw, :, row]).abs().amax((1, 2))
            places.add(int(distance.argmin()))
            assert distance.min() < 1e-5
        assert len(places) == 4  # without replacement
    shapley = drawn.shapley()
    assert shapley.residual().abs().max() < 1e-5
    assert (shapley.se > 0).all()
    expected = torch.stack(
        [replace(drawn, draws=drawn.draws[draw : draw + 1]).shapley().totals for draw in range(4)]
    )
    torch.testing.assert_close(shapley.totals, expected.mean(0), **CLOSE)
    torch.testing.assert_close(shapley.se, expected.std(0) / 2, **CLOSE)


def test_no_sample_is_its_own_donor() -> None:
    model, samples = vector_model(2), vector_samples(4)
    found = mx.explain(model, samples, removal="marginal", background=samples, draws=3)
    lent = encoded(model, samples)
    for row in range(4):
        empty = {scores_of(model, one).sum().item(): index for index, one in enumerate(lent)}
        for draw in range(3):
            score = found.draws[draw, 0, row].sum()
            nearest = min(empty, key=lambda value: abs(value - score.item()))
            assert empty[nearest] != row
    with pytest.raises(InputError, match="too few donors"):
        mx.explain(model, samples, removal="marginal", background=samples, draws=4)
    with pytest.raises(InputError, match="in its own background"):
        mx.explain(model, samples, removal="marginal", background=samples, draws="all")


def test_donors_belong_to_the_sample_and_not_to_its_batch() -> None:
    model, samples, donors = vector_model(2), vector_samples(5, missing=True), others(7)
    for removal in ("marginal", "marginal-independent"):
        ask = {"removal": removal, "draws": 3, "seed": 5}
        whole = mx.explain(model, samples, background=donors, **ask)
        for row, sample in enumerate(samples):
            alone = mx.explain(model, sample, background=donors[::-1], **ask)
            torch.testing.assert_close(alone.draws[:, :, 0], whole.draws[:, :, row], **CLOSE)
        other = mx.explain(model, samples, background=donors, **{**ask, "seed": 6})
        assert not torch.equal(other.draws, whole.draws)


def test_donors_without_a_modality_lend_nothing_of_it() -> None:
    model, donors = vector_model(2), others(7, missing=True)
    whole = [sample for sample in donors if sample["a"] is not None and sample["b"] is not None]
    samples = vector_samples(2)
    found = mx.explain(model, samples, removal="marginal", background=donors, draws="all")
    assert found.draws.shape[0] == len(whole) < 7
    one = mx.explain(model, samples, removal="marginal-independent", background=donors, draws="all")
    counts = [sum(sample[name] is not None for sample in donors) for name in "ab"]
    assert one.draws.shape[0] == counts[0] * counts[1]


def test_a_modality_that_a_sample_lacks_stays_missing_and_is_no_player() -> None:
    model, samples, donors = vector_model(2), vector_samples(4, missing=True), others(5)
    found = mx.explain(model, samples, removal="marginal", background=donors, draws=5)
    lacks = [row for row, sample in enumerate(samples) if sample["a"] is None]
    assert lacks
    for row in lacks:
        torch.testing.assert_close(found.draws[:, 0, row], found.draws[:, 1, row])
        assert found.shapley().totals[row, :, 0].eq(0).all()


def test_other_removals_mix_with_marginal_ones() -> None:
    model, samples, donors = vector_model(2, "joint"), vector_samples(2), others(3)
    removal = {"a": "marginal", "b": "absent"}
    found = mx.explain(model, samples, removal=removal, background=donors, draws="all")
    own, lent = encoded(model, samples), encoded(model, donors)
    for row, draw in product(range(2), range(3)):
        gone = Features(own[row]["b"].values * 0, own[row]["b"].mask & False, own[row]["b"].spans)
        expected = scores_of(model, {"a": lent[draw]["a"], "b": gone})
        torch.testing.assert_close(found.draws[draw, 0, row], expected, **CLOSE)


def test_donors_are_encoded_once_for_a_corpus() -> None:
    model, samples, donors = vector_model(2), vector_samples(6), others(5)
    with Rows(model) as rows:
        mx.explain(model, samples, removal="marginal", background=donors, draws=5, batch_size=2)
    assert rows.encoded == {"a": 6 + 5, "b": 6 + 5}


def test_the_provenance_names_the_background() -> None:
    model, samples, donors = vector_model(2), vector_samples(2), others(5)
    ask = {"removal": "marginal", "draws": 2}
    one, other = (mx.explain(model, samples, background=b, **ask) for b in (donors, donors[:4]))
    assert one.provenance.background
    assert one.provenance != other.provenance
    assert one.provenance.params == {"draws": 2}


def test_what_marginal_removals_need_is_said() -> None:
    model, samples, donors = vector_model(2), vector_samples(2), others(5)
    with pytest.raises(RemovalError, match="needs other samples"):
        mx.explain(model, samples, removal="marginal")
    with pytest.raises(InputError, match="draws out of range"):
        mx.explain(model, samples, draws="all")
    with pytest.raises(InputError, match="without donors"):
        mx.explain(model, samples, removal="marginal", background=Background.of(model, donors))
    for level in ("input", "features"):
        game = model.game(samples, removal="marginal", background=donors, level=level)
        with pytest.raises(RemovalError, match="as a whole"):
            game.divide({"a": "item"})


def test_all_donors_have_no_error_and_a_sample_of_them_has() -> None:
    model, samples, donors = vector_model(2, "joint"), vector_samples(4, missing=True), others(5)
    ask = {"removal": "marginal", "background": donors}
    every, some = (mx.explain(model, samples, draws=draws, **ask) for draws in ("all", 5))
    assert every.provenance.params == {"draws": "all"}
    assert every.shapley().se.eq(0).all()
    assert every.moebius().se.eq(0).all()
    assert (some.shapley().se[0] > 0).all()
    torch.testing.assert_close(every.shapley().totals, some.shapley().totals, **CLOSE)
    # An interaction counts as one from 0.05 nats, not from three errors that there are not.
    tight = every.interaction_types()
    assert (tight.tolerance <= some.interaction_types().tolerance).all()
    assert (tight.tolerance < some.interaction_types().tolerance).any()
    parts = [mx.explain(model, sample, draws="all", **ask) for sample in samples]
    merged = mx.Explanation.merge(parts)
    assert merged.shapley().se.eq(0).all()
    torch.testing.assert_close(merged.draws, every.draws, **CLOSE)
    with pytest.raises(InputError, match="do not merge"):
        mx.Explanation.merge(
            [parts[0], mx.explain(model, samples[1], draws=5, **ask)]
        )  # one exact, one a sample


def test_all_donors_beside_a_removal_that_may_be_random_are_a_sample() -> None:
    model, samples, donors = vector_model(2, "joint"), vector_samples(2), others(4)
    removal = {"a": "marginal", "b": "noise"}
    found = mx.explain(model, samples, removal=removal, background=donors, draws="all")
    assert found.provenance.params == {"draws": 4}
    assert (found.shapley().se > 0).any()


@pytest.mark.parametrize("how", ["zero", "noise"])
def test_batches_without_what_is_removed_at_random_merge(how: str) -> None:
    """Whether a removal is drawn cannot be tried on a sample that lacks the modality."""
    model, samples, donors = vector_model(2), vector_samples(4, missing=True), others(4)
    assert any(sample["a"] is None for sample in samples)
    removal = {"b": "marginal", "a": how}
    ask = {"removal": removal, "background": donors, "draws": "all"}
    found = mx.explain(model, samples, batch_size=1, **ask)
    assert found.provenance.params == {"draws": "all" if how == "zero" else 4}
    whole = mx.explain(model, samples, batch_size=4, **ask)
    assert whole.provenance == found.provenance
    torch.testing.assert_close(whole.draws, found.draws, **CLOSE)


def test_all_donors_beside_a_mask_are_exact() -> None:
    """A removal that leaves the same whatever the seed is made once, and draws nothing."""
    model, samples, donors = vector_model(2, "joint"), vector_samples(3), others(4)
    long = [{**one, "b": torch.randn(3, 4)} for one in samples]
    removal = {"a": "marginal", "b": "zero"}
    ask = {"removal": removal, "background": donors}
    found = mx.explain(model, long, draws="all", **ask)
    assert found.provenance.params == {"draws": "all"}
    assert found.shapley().se.eq(0).all()
    game = model.game(long, draws="all", **ask)
    units = Owen({"b": "item"}).attribute(game)
    assert units.se.eq(0).all()
    assert units.unit_se["b"].eq(0).all()
    assert (units.units["b"].sum(-1) - found.shapley().totals[..., 1]).abs().max() < 1e-4
    # The mean over games with one donor each, whose missing "b" is zeros.
    for row, sample in enumerate(long):
        scores = torch.stack(
            [
                model.predict(
                    [
                        {"id": "0", "a": donor["a"], "b": sample["b"] * 0},
                        {"id": "1", "a": sample["a"], "b": sample["b"] * 0},
                        {"id": "2", "a": donor["a"], "b": sample["b"]},
                        {"id": "3", "a": sample["a"], "b": sample["b"]},
                    ]
                ).scores
                for donor in donors
            ]
        )
        torch.testing.assert_close(found.draws[:, :, row], scores, **CLOSE)
    made = []
    remove = model.encoders["b"].remove
    model.encoders["b"].remove = lambda inputs, *rest: (  # type: ignore[method-assign]
        made.append(len(inputs["mask"])) or remove(inputs, *rest)
    )
    Owen({"b": "item"}).attribute(model.game(long, draws=4, **ask))
    # Two tries of the seed for each of 1 + 3 games, then 7 coalitions and nothing for each sample.
    assert sum(made) <= 2 * (3 + 3) + 3 * 8


@pytest.mark.parametrize("batch_size", [1, 4])
def test_samples_that_lack_what_is_lent_have_as_many_draws(batch_size: int) -> None:
    model, samples, donors = vector_model(2), vector_samples(4, missing=True), others(5)
    assert any(sample["a"] is None for sample in samples)
    removal = {"a": "marginal", "b": "absent"}
    found = mx.explain(
        model, samples, removal=removal, background=donors, draws=3, batch_size=batch_size
    )
    assert found.draws.shape[0] == 3
    assert found.provenance.params == {"draws": 3}


def test_words_of_a_game_whose_other_modality_is_lent() -> None:
    """Random removals of parts, and donors: units sum to totals, totals to the change."""
    model, donors = vector_model(2, "joint"), others(4)
    samples = [{**one, "a": torch.randn(8, 4)} for one in vector_samples(3, missing=True)]
    removal = {"a": "noise", "b": "marginal"}
    for draws in (1, 3):
        game = model.game(samples, removal=removal, background=donors, draws=draws)
        for method in (Owen, UnitShapley):
            for budget in (2048, 60):
                found = method({"a": "item"}, budget=budget).attribute(game)
                assert found.residual().abs().max() < 1e-4
                gap = found.unit_gap()[..., 0]
                assert gap.abs().max() < 1e-4
                drawn = (found.unit_se["a"] > 0).any()
                assert bool(drawn) == (draws > 1 or budget == 60)


def test_each_sample_draws_its_own_donors() -> None:
    names = [f"d{i}" for i in range(20)]
    present = {"a": [True] * 20, "b": [True] * 20}
    for removal, alike in (("marginal", True), ("marginal-independent", False)):
        lenders, again = (
            Lenders(names, present, dict.fromkeys("ab", removal), 5, seed) for seed in (0, 1)
        )
        assert lenders.of("a", "u0") == lenders.of("a", "u0")
        assert lenders.of("a", "u0") != lenders.of("a", "u1")
        assert lenders.of("a", "u0") != again.of("a", "u0")
        assert (lenders.of("a", "u0") == lenders.of("b", "u0")) == alike
        # Every donor about as often as any other.
        counts = torch.zeros(20)
        for sample in range(400):
            counts[lenders.of("a", f"u{sample}")] += 1
        assert ((counts - 100).abs() < 5 * (100 * 0.75) ** 0.5).all()

"""One run of the fusion on the whole samples serves gradients and the table of coalitions."""

from __future__ import annotations

import weakref
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from toys import Rows, VectorEncoder, vector_samples

from modalxai import plugins
from modalxai.attribution import Explanation, GradCAM, IntegratedGradients, UnitShapley
from modalxai.attribution.gradients.head import placed
from modalxai.errors import StaleGameError
from modalxai.games import encodings
from modalxai.model import EmotionModel
from modalxai.types import labels

LABELS = labels(*"abcd")
FUSIONS = ("fusion-transformer", "crossmodal-transformer", "meta-attention", "shallow", "late")
REMOVALS = (
    {"removal": "absent"},
    {"removal": "zero"},
    {"removal": "noise", "draws": 3},
    {"removal": "marginal", "draws": 3},
)


def model_with(fusion: str = "fusion-transformer") -> EmotionModel:
    torch.manual_seed(0)
    encoders = {name: VectorEncoder(4, 8) for name in "ab"}
    settings = {"width": 8, "heads": 2} if "transformer" in fusion else {}
    dims = dict.fromkeys(encoders, 8)
    made = plugins.create("fusion", fusion, dims=dims, labels=LABELS, **settings)
    return EmotionModel(encoders, made).eval()


def rows_joined(model: EmotionModel, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many coalitions of samples each call of ``join`` was given."""
    seen: list[int] = []
    real = model.fusion.join

    def join(projected: dict) -> object:
        seen.append(len(next(iter(projected.values())).mask))
        return real(projected)

    monkeypatch.setattr(model.fusion, "join", join)
    return seen


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("asked", REMOVALS, ids=lambda asked: asked["removal"])
def test_the_table_is_the_one_asked_for_alone(fusion: str, asked: dict) -> None:
    model, samples = model_with(fusion), vector_samples(5, missing=True)
    if asked["removal"] == "marginal":
        asked = {**asked, "background": [{**s, "id": f"d{s['id']}"} for s in vector_samples(6)]}
    alone = Explanation.of(model.game(samples, **asked)).draws
    game = model.game(samples, **asked)
    GradCAM().attribute(game)
    torch.testing.assert_close(Explanation.of(game).draws, alone, rtol=1e-5, atol=1e-6)
    again = model.game(samples, **asked)
    torch.testing.assert_close(Explanation.of(again).draws, alone, rtol=0, atol=0)


def test_the_whole_samples_are_joined_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, samples = model_with(), vector_samples(3)
    seen = rows_joined(model, monkeypatch)
    alone = model.game(samples, removal="absent")
    Explanation.of(alone)
    assert sum(seen) == 4 * 3
    seen.clear()
    both = model.game(samples, removal="absent")
    GradCAM().attribute(both)
    Explanation.of(both)
    assert seen[0] == 3  # with gradients
    assert sum(seen[1:]) == 3 * 3


def test_the_flops_of_one_join_are_saved() -> None:
    model, samples = model_with(), vector_samples(1)
    batch = model.collate(samples)

    def flops(*asked: object) -> int:
        game = model.game(batch, removal="absent")
        with FlopCounterMode(display=False) as counter:
            for ask in asked:
                ask(game)
        return int(counter.get_total_flops())

    cam, table = GradCAM().attribute, Explanation.of
    game = model.game(batch, removal="absent")
    whole = {name: model.fusion.project(name, game.encode(name)) for name in game.modalities}
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.fusion.join(whole)
    assert flops(table, cam) - flops(cam, table) == counter.get_total_flops() > 0


def test_a_sample_without_a_modality_is_whole_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_with()
    samples = [{"id": "only a", "a": torch.randn(5, 4)}]
    game = model.game(samples, removal="absent")
    GradCAM().attribute(game)
    seen = rows_joined(model, monkeypatch)
    Explanation.of(game)
    assert sum(seen) == 2  # with b or without it is the same: only what lacks a is left


def test_encodings_that_were_changed_are_not_the_whole() -> None:
    model, samples = model_with(), vector_samples(3)
    alone = Explanation.of(model.game(samples, removal="absent")).draws
    game = model.game(samples, removal="absent")
    full = {name: game.encode(name) for name in game.modalities}
    b = full["b"]
    later = replace(b.spans, start=b.spans.start + 1)
    for other in (
        {**full, "b": replace(b, values=b.values + 1e-3)},
        {**full, "b": replace(b, mask=torch.zeros_like(b.mask))},
        {**full, "b": replace(b, spans=later)},
        {**full, "b": game.encode("b", torch.zeros(3, 1, dtype=torch.bool))},
        {name: placed(one, one.values.repeat(2, 1, 1)) for name, one in full.items()},
    ):
        game.fuse(other)
        torch.testing.assert_close(Explanation.of(game).draws, alone, rtol=0, atol=0)


def test_features_of_ones_own_make_nothing_be_encoded() -> None:
    model = model_with()
    game, other = (model.game(vector_samples(3), removal="absent") for _ in range(2))
    full = {name: other.encode(name) for name in other.modalities}
    with Rows(model) as rows:
        game.fuse(full)
    assert rows.encoded == {"a": 0, "b": 0}


def test_some_of_the_samples_keep_their_own() -> None:
    model, samples = model_with(), vector_samples(4)
    game = model.game(samples, removal="absent")
    IntegratedGradients(4).attribute(game)
    alone = Explanation.of(model.game([samples[2], samples[0]], removal="absent")).draws
    some = Explanation.of(game.select([2, 0])).draws
    torch.testing.assert_close(some, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("budget", [64, 36])
def test_grids_of_players_and_halved_questions_too(
    budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_with()
    samples = [{"id": "u", "a": torch.randn(5, 4), "b": torch.randn(4, 4)}]
    method = UnitShapley({"a": "item", "b": "item"}, budget=budget)
    alone = method.attribute(model.game(samples, removal="zero"))
    monkeypatch.setattr(encodings, "BANK_BYTES", 2000)
    game = model.game(samples, removal="zero")
    GradCAM().attribute(game)
    both = method.attribute(game)
    for name in "ab":
        torch.testing.assert_close(both.units[name], alone.units[name], rtol=1e-4, atol=1e-5)


def test_only_numbers_are_kept() -> None:
    model = model_with()
    game = model.game(vector_samples(3), removal="absent")
    full = {name: game.encode(name) for name in game.modalities}
    leaf = full["a"].values.clone().requires_grad_()  # the graph holds it, and nobody else
    scores = game.fuse({**full, "a": replace(full["a"], values=leaf)}).scores
    assert scores.requires_grad
    held = weakref.ref(leaf)
    del leaf, scores
    assert held() is None
    assert not Explanation.of(game).draws.requires_grad


def test_inside_inference_mode() -> None:
    model, samples = model_with(), vector_samples(3)
    alone = Explanation.of(model.game(samples, removal="absent")).draws
    with torch.inference_mode():
        game = model.game(samples, removal="absent")
        GradCAM().attribute(game)
        found = Explanation.of(game).draws
    torch.testing.assert_close(found.clone(), alone, rtol=1e-5, atol=1e-6)
    game = model.game(samples, removal="absent")
    with torch.inference_mode():
        game.fuse({name: game.encode(name) for name in game.modalities})
    torch.testing.assert_close(Explanation.of(game).draws, alone, rtol=1e-5, atol=1e-6)


def test_weights_that_changed_are_refused() -> None:
    model = model_with()
    game = model.game(vector_samples(3), removal="absent")
    GradCAM().attribute(game)
    with torch.no_grad():
        model.fusion.head.bias += 1
    with pytest.raises(StaleGameError):
        Explanation.of(game)


def test_low_precision_is_widened_as_in_the_table() -> None:
    model, samples = model_with("shallow").bfloat16(), vector_samples(3)
    for sample in samples:
        sample.update({name: sample[name].bfloat16() for name in "ab"})
    alone = Explanation.of(model.game(samples, removal="absent")).draws
    game = model.game(samples, removal="absent")
    GradCAM().attribute(game)
    found = Explanation.of(game).draws
    assert found.dtype == alone.dtype == torch.float32
    torch.testing.assert_close(found, alone, rtol=1e-2, atol=1e-2)


def test_scores_of_lower_precision_never_stand_in_a_table_of_full_precision() -> None:
    model, samples = model_with(), vector_samples(5)
    alone = Explanation.of(model.game(samples, removal="absent")).draws
    game = model.game(samples, removal="absent")
    whole = {name: game.encode(name) for name in game.modalities}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = game.fuse(whole).scores
    assert not torch.equal(low.float(), model.predict(samples).scores)
    assert torch.equal(Explanation.of(game).draws, alone)

"""Every built-in attributor keeps its promises; each broken one fails the check that fits."""

from __future__ import annotations

import inspect
from typing import Any

import broken_attributors as broken
import pytest
import torch
from hypothesis import given, settings
from tests.support.counting import Conforms
from toys import speech_model

import modalxai as mx
from modalxai import attribution, plugins, testing
from modalxai.datasets import tonebench
from modalxai.errors import InputError
from modalxai.protocols import AXIOMS, Axiomatic, FactoredGame, Selectable, StagedGame
from modalxai.testing import random_vectors, strategies
from modalxai.testing.fusion_case import LABELS
from modalxai.testing.venues import VENUES, fitting

BROKEN: dict[Any, set[str]] = {
    broken.ReturnsADict: {"it returns an attribution"},
    broken.ModalitiesByName: {"it returns an attribution"},
    broken.DividesByNothing: {"numbers are finite"},
    broken.NegativeErrors: {"numbers are finite"},
    broken.AlwaysAllLabels: {"labels are those asked for"},
    broken.LeavesUnknownLabelsOut: {"unknown labels are refused"},
    broken.BareKeyError: {"unknown labels are refused"},
    broken.GivesToTheMissing: {"what is missing gets nothing"},
    broken.WritesOnPadding: {"padding gets nothing"},
    broken.PredictsProbabilities: {"the prediction is the score of everything"},
    broken.MadeUpReference: {"the reference is a score of the game"},
    broken.ForgetsTheRemoval: {"it says how it came about"},
    broken.TuplesInParams: {"it says how it came about"},
    broken.SavesLess: {"the result comes back from a folder"},
    broken.DrawsGlobally: {"it draws nothing from global generators"},
    broken.DrawsWithPython: {"it draws nothing from global generators"},
    broken.ReadsTheGlobalSeed: {"it draws nothing from global generators"},
    broken.CountsItsCalls: {"asking again gives the same"},
    broken.RemembersTheLast: {"asking changes no setting"},
    broken.WritesToTheGame: {"the game is left as it was"},
    broken.WritesToTheTable: {"the game is left as it was"},
    broken.HoldsAModel: {"it is plain settings"},
    broken.HoldsALambda: {"it is plain settings"},
    broken.CentresOverTheBatch: {"a sample alone is its row"},
    broken.SeedsByPlace: {"a sample alone is its row"},
    broken.SortsById: {"the order of the samples does not matter"},
    broken.SaysHowManySamples: {"parts merge to the whole"},
    broken.FirstComeFirstServed: {"the order of the modalities does not matter"},
    broken.RawThoughItSaysClr: {"a shift of all logits changes nothing"},
    broken.NotInTheGamesPrecision: {"half precision is widened"},
    broken.ClaimsEfficiency: {"efficiency holds as claimed"},
    broken.UnitsThatDoNotAddUp: {"efficiency holds as claimed"},
    broken.EqualShares: {"null player holds as claimed"},
    broken.AlphabetFirst: {"symmetry holds as claimed"},
    broken.SquaresTotals: {"linearity holds as claimed"},
}
VOICES = ("content-tone", "prosody")
LEAST = 20


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_a_broken_attributor_is_caught_by_name(kind: Any) -> None:
    report = testing.check_attributor(kind())
    assert {check.name for check in report.failures} == BROKEN[kind], str(report)
    assert all(check.why and check.mend for check in report.failures)


def test_every_check_can_fail() -> None:
    caught = set().union(*BROKEN.values())
    assert {check.name for check in testing.attributor_checks()} == caught


@pytest.mark.parametrize("name", sorted({*plugins.available("attribution")} - {*VOICES}))
def test_a_built_in_conforms(name: str, conforms: Conforms) -> None:
    made = plugins.create("attribution", name)
    conforms(testing.check_attributor(made), LEAST)


@pytest.mark.parametrize("name", sorted({*plugins.available("attribution")} - {*VOICES}))
@pytest.mark.parametrize(
    "scale",
    ["contrast", *(pytest.param(s, marks=pytest.mark.full) for s in ("raw", "log-odds"))],
)
def test_a_built_in_conforms_on_other_scales(name: str, scale: str, conforms: Conforms) -> None:
    made = plugins.create("attribution", name, scale=scale)
    # A softmax is no polynomial, so that the quadrature of 16 nodes leaves a little.
    conforms(testing.check_attributor(made, tolerance=1e-4), LEAST - 1)


@pytest.mark.parametrize("method", ["InputXGradient"])
def test_captum_methods_conform(method: str, conforms: Conforms) -> None:
    conforms(testing.check_attributor(attribution.CaptumMethod(method)), LEAST - 3)


@pytest.fixture(scope="module")
def voices() -> Any:
    corpus = tonebench.ToneBench(tonebench.xor(), 3, speakers=range(3), clip_seconds=0.6)
    samples = [{key: corpus[row][key] for key in ("id", "audio", "text")} for row in range(3)]
    samples[1]["text"] = None
    torch.manual_seed(0)
    return speech_model().game(samples, removal="absent")


@pytest.mark.parametrize("name", ["prosody", pytest.param("content-tone", marks=pytest.mark.full)])
def test_what_edits_voices_conforms(name: str, voices: Any, conforms: Conforms) -> None:
    made = plugins.create("attribution", name)
    with pytest.raises(InputError, match="no game of the kit fits"):
        testing.check_attributor(made)
    conforms(testing.check_attributor(made, voices), LEAST - 5)


def test_a_game_of_a_real_model_will_do(voices: Any, conforms: Conforms) -> None:
    conforms(testing.check_attributor(attribution.ModalityShapley(), voices), LEAST)


def test_claims_are_known_and_made_by_what_can_keep_them() -> None:
    for name in plugins.available("attribution"):
        kind = plugins.load("attribution", name)
        assert set(getattr(kind, "axioms", ())) <= set(AXIOMS)
    assert isinstance(attribution.Owen(), Axiomatic)
    with pytest.raises(InputError, match="axioms that the kit does not know"):
        testing.check_attributor(attribution.Owen(), axioms=["fairness"])
    claimed = testing.check_attributor(attribution.ModalityAblation(), axioms=["efficiency"])
    assert [check.name for check in claimed.failures] == ["efficiency holds as claimed"]


def test_a_class_or_something_else_is_refused() -> None:
    for wrong in (attribution.Owen, 3, lambda game: None):
        with pytest.raises(InputError, match="nothing that the kit can check"):
            testing.check_attributor(wrong)


@pytest.mark.parametrize("check", testing.attributor_checks(), ids=str)
def test_each_check_by_itself(check: Any) -> None:
    check(attribution.ModalityShapley())


def test_each_method_is_tried_on_the_game_that_it_wants() -> None:
    wanted = {"modality-shapley": "modalities", "owen": "units", "grad-cam": "vectors"}
    for name, venue in wanted.items():
        assert fitting(plugins.create("attribution", name)) is VENUES[venue]


# The kit's own games.


def test_a_vector_game_is_what_it_says() -> None:
    game = random_vectors(LABELS)
    assert isinstance(game, FactoredGame)
    assert isinstance(game, StagedGame)
    assert isinstance(game, Selectable)
    assert game.present.tolist() == [[1, 1], [1, 0], [0, 1], [1, 1]]
    whole = {name: torch.ones_like(spans.mask) for name, spans in game.players.items()}
    features = {name: game.encode(name) for name in game.modalities}
    torch.testing.assert_close(game.value(whole)[0], game.fuse(features).scores)
    stage = game.stage("audio")
    assert stage is not None
    torch.testing.assert_close(stage.rest(stage.maps).values, features["audio"].values)
    assert game.stage("text") is None


def test_the_shapley_values_of_a_vector_game_are_those_of_its_table() -> None:
    labels = mx.labels("valence", "arousal", kind="dimensional")
    game = random_vectors(labels, {"audio": 3, "text": 2, "body": 4}, seed=5)
    found = attribution.ModalityShapley().attribute(game)
    torch.testing.assert_close(found.totals, game.shapley() * game.present[:, None])
    again = attribution.IntegratedGradients().attribute(game)
    torch.testing.assert_close(again.totals, game.shapley(), rtol=1e-4, atol=1e-4)


def test_players_of_a_vector_game_may_be_its_vectors() -> None:
    labels = mx.labels("valence", kind="dimensional")
    game = random_vectors(labels, interaction=0)
    found = attribution.Owen(players={"audio": "vector"}).attribute(game)
    weights, absent = game.weights["audio"], game.absent["audio"]
    one = game.features["audio"]
    away = (one.values - absent) @ weights / one.mask.sum(1).clamp(min=1)[:, None, None]
    expected = (away * one.mask[..., None]).transpose(1, 2)
    torch.testing.assert_close(found.units["audio"], expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="cannot be divided further"):
        game.divide({"audio": "word"})
    with pytest.raises(InputError, match="parts of a game"):
        type(game).make(game.features, labels, {}, game.bias, game.absent)


@settings(deadline=None, max_examples=40)
@given(strategies.games())
def test_any_game_is_divided_completely(game: testing.UnitTableGame) -> None:
    for method in (attribution.ModalityShapley(), attribution.UnitShapley()):
        if (
            isinstance(method, attribution.UnitShapley)
            and max(map(_size, game.players.values())) < 2
        ):
            continue
        found = method.attribute(game)
        assert found.residual().abs().max() < 1e-4
        assert found.totals[~found.present[:, None].expand(found.totals.shape)].eq(0).all()


def _size(spans: mx.Spans) -> int:
    return spans.start.shape[-1]


def test_how_far_the_checks_have_come_is_told() -> None:
    told: list[tuple[str, int, int]] = []
    with testing.watched(lambda *what: told.append(what)):
        report = testing.check_attributor(attribution.ModalityShapley())
    assert [name for name, _, _ in told] == [check.name for check in report.checks]
    assert [place for _, place, _ in told] == list(range(len(told)))
    assert {total for _, _, total in told} == {len(told)}
    testing.check_attributor(attribution.ModalityShapley())
    assert len(told) == len(report.checks)


def test_the_examples_of_the_signatures_agree() -> None:
    names = ("check_encoder", "check_fusion", "check_attributor", "check_dataset")
    for name in names:
        parameters = inspect.signature(getattr(testing, name)).parameters
        assert parameters["expected"].kind is inspect.Parameter.KEYWORD_ONLY

"""Captum, SHAP and shapiq on our games, divided or not, and back: equal numbers, equal shapes."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from tests.games.test_callable_game import Counting, Signs, game_of, others
from torch import Tensor
from toys import MIXED, vector_model, vector_samples

import modalxai as mx
from modalxai.attribution import ModalityAblation, ModalityShapley
from modalxai.errors import DependencyError, InputError
from modalxai.interop import (
    FlatGame,
    exact_shap,
    from_captum,
    from_shap,
    from_shapiq,
    to_shap,
    to_shapiq,
)
from modalxai.interop.home import bring_home
from modalxai.protocols import Game
from modalxai.testing import TableGame, UnitTableGame

CLOSE = {"rtol": 0, "atol": 1e-5}
SCALES = ["clr", "contrast", "probability", "raw"]


def games(kind: str, missing: bool = True) -> Game:
    """Four samples, two modalities: the same scores through every door."""
    model = vector_model(2, "joint")
    samples = vector_samples(4, missing=missing)
    if kind == "callable":
        return game_of(Counting(model), samples)
    if kind == "divided":
        return game_of(Counting(model), samples).divide({"a": Signs()})
    if kind == "drawn":
        ask = {"removal": "marginal", "background": others(5), "draws": 3}
        return game_of(model.predict, samples, **ask)
    if kind == "words":
        return model.game(samples, removal="zero").divide({"a": "pair", "b": "pair"})
    return model.game(samples, removal="absent")


KINDS = ["model", "callable", "divided", "drawn", "words"]


def brute(flat: FlatGame) -> Tensor:
    """Shapley values [1, U, L] of a flat game of one sample, by all orders."""
    players = len(flat.columns)
    masks = (torch.arange(2**players)[:, None] >> torch.arange(players)) & 1
    scores = flat(masks).double()
    orders = list(permutations(range(players)))
    phi = scores.new_zeros(1, players, scores.shape[1])
    for order in orders:
        row = 0
        for player in order:
            phi[0, player] += (scores[row | 1 << player] - scores[row]) / len(orders)
            row |= 1 << player
    return phi


def one(game: Game, row: int, **ask: Any) -> FlatGame:
    return FlatGame(game, samples=game.sample_ids[row], **ask)


def flat_values(found: mx.Attribution) -> Tensor:
    """[B, L, U]: units side by side, or totals."""
    if not found.units:
        return found.totals
    return torch.cat([found.units[name] for name in found.modalities], -1)


# A game as a function of masks


@pytest.mark.parametrize("kind", ["model", "callable", "drawn"])
@pytest.mark.parametrize("scale", SCALES)
def test_a_flat_game_scores_what_the_table_does(kind: str, scale: str) -> None:
    game = games(kind, missing=False)
    flat = FlatGame(game, labels=["joy", "valence"], scale=scale)
    table = mx.Explanation.of(game)
    expected = table.values(scale).mean(0)[..., [1, 4]]
    assert flat.names == [("a", "b")] * 4
    for row in range(4):
        masks = torch.tensor([[row & 1, row >> 1 & 1]]).expand(4, -1)
        torch.testing.assert_close(flat(masks, flat.rows), expected[row], **CLOSE)
    torch.testing.assert_close(flat.prediction, expected[-1], **CLOSE)
    torch.testing.assert_close(flat.reference, expected[0], **CLOSE)
    array = flat(np.array([[0, 1], [1, 1]], dtype=bool), [2, 1])
    assert isinstance(array, np.ndarray)
    np.testing.assert_allclose(array, [expected[2, 2], expected[3, 1]], atol=1e-5)


def test_players_that_no_sample_has_are_no_columns() -> None:
    game = games("words")
    flat = FlatGame(game)
    longest = max(len(s["a"]) for s in vector_samples(4, missing=True) if s["a"] is not None)
    assert sum(name == "a" for name, _ in flat.columns) == (longest + 1) // 2
    lacks = one(game, 1)
    assert {name for name, _ in lacks.columns} == {"b"}
    assert not flat.real[1, : (longest + 1) // 2].any()
    assert flat.names[1][0] == ""
    assert one(games("divided"), 0).names == [("a[0] plus", "a[1] minus", "b")]


def test_games_that_cannot_select_are_asked_row_by_row() -> None:
    torch.manual_seed(2)
    values = torch.randn(8, 3, 5)
    mask = {"a": torch.tensor([[True, True], [True, False], [False, False]])}
    game = UnitTableGame(values, MIXED, {"a": 2, "b": 1}, mask)
    found = exact_shap(game, scale="raw")
    for row in range(3):
        flat = one(game, row, scale="raw")
        assert len(flat.columns) == (3, 2, 1)[row]
        torch.testing.assert_close(
            flat_values(found)[row].T[flat_index(flat)].float(), brute(flat)[0].float(), **CLOSE
        )


def flat_index(flat: FlatGame) -> list[int]:
    """Where the columns of a flat game lie among the units of its own attribution."""
    widths = [spans.start.shape[1] for spans in flat.spans.values()]
    starts = dict(zip(flat.spans, np.cumsum([0, *widths]), strict=False))
    return [int(starts[name]) + unit for name, unit in flat.columns]


def test_masks_that_cannot_be_are_refused() -> None:
    flat = FlatGame(games("callable"))
    alone = one(games("callable"), 0)
    for call, words in (
        (lambda: flat(torch.ones(4, 3), flat.rows), "wrong shape"),
        (lambda: flat(torch.ones(2), flat.rows), "wrong shape"),
        (lambda: flat(torch.full((4, 2), 0.5), flat.rows), "neither left nor removed"),
        (lambda: flat(torch.full((4, 2), float("nan")), flat.rows), "neither left nor removed"),
        (lambda: flat(torch.ones(4, 2)), "nobody knows which"),
        (lambda: flat(torch.ones(4, 2), [0, 1, 2]), "nobody knows which"),
        (lambda: flat(torch.ones(4, 2), [0, 1, 2, 4]), "nobody knows which"),
        (lambda: alone(torch.ones(1, 2), [1]), "nobody knows which"),
        (lambda: FlatGame(games("callable"), samples="u9"), "cannot be asked about"),
        (lambda: FlatGame(games("callable"), samples=[]), "cannot be asked about"),
        (lambda: FlatGame(games("callable"), labels="bliss"), "unknown label"),
        (lambda: FlatGame(games("callable"), scale="nats"), "unknown scale"),  # type: ignore[arg-type]
    ):
        with pytest.raises(InputError, match=words):
            call()


# Captum


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", SCALES)
def test_captum_on_all_samples_and_labels_at_once(kind: str, scale: str) -> None:
    from captum.attr import FeatureAblation, ShapleyValues

    game = games(kind)
    flat = FlatGame(game, scale=scale)
    ask = {"baselines": flat.off, "additional_forward_args": flat.rows}
    if len(flat.columns) <= 4:
        values = ShapleyValues(flat).attribute(flat.on, **ask)
        found = from_captum(values, flat, "shapley-values", exact=True)
        assert found.residual().abs().max() < 1e-5
        for row in range(4):
            expected = brute(one(game, row, scale=scale))
            mine = flat_values(found)[row].T[flat_index(flat)][flat.real[row]]
            torch.testing.assert_close(mine.double(), expected[0], **CLOSE)
        if not found.units:
            ours = ModalityShapley(scale).attribute(game)
            torch.testing.assert_close(found.totals.float(), ours.totals.float(), **CLOSE)
            torch.testing.assert_close(found.prediction, ours.prediction, **CLOSE)
            torch.testing.assert_close(found.reference, ours.reference, **CLOSE)
            assert found.provenance.removal == ours.provenance.removal
        else:
            assert found.unit_gap().nan_to_num().abs().max() < 1e-5
    values = FeatureAblation(flat).attribute(flat.on, perturbations_per_eval=2, **ask)
    found = from_captum(values, flat, "feature-ablation", exact=True)
    if not found.units:
        ours = ModalityAblation(scale).attribute(game)
        torch.testing.assert_close(found.totals.float(), ours.totals.float(), **CLOSE)
    whole = flat(flat.on, flat.rows)
    for column in range(len(flat.columns)):
        mask = flat.on
        mask[:, column] = 0
        drop = (whole - flat(mask, flat.rows)) * flat.real[:, [column]]
        mine = flat_values(found)[..., flat_index(flat)[column]]
        torch.testing.assert_close(mine, drop, **CLOSE)
    assert found.provenance.attributor == "captum/feature-ablation"


def test_captums_kernel_shap_of_one_label() -> None:
    from captum.attr import KernelShap

    game = games("callable", missing=False)
    flat = FlatGame(game, labels="joy")
    torch.manual_seed(0)
    values = KernelShap(flat).attribute(
        flat.on, baselines=flat.off, additional_forward_args=flat.rows, n_samples=200
    )
    found = from_captum(values, flat, "kernel-shap", exact=False)
    ours = ModalityShapley().attribute(game, ["joy"])
    torch.testing.assert_close(found.totals, ours.totals, rtol=0, atol=0.02)
    assert ours.totals.abs().max() > 0.5
    assert found.se.isnan().all()
    with pytest.raises(InputError, match="Captum did not find"):
        from_captum(values[:, :1], flat, "kernel-shap", exact=False)


# SHAP


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", SCALES)
def test_shaps_exact_explainer_is_ours(kind: str, scale: str) -> None:
    game = games(kind)
    found = exact_shap(game, scale=scale)
    assert found.sample_ids == tuple(game.sample_ids)
    assert found.residual().abs().max() < 1e-5
    if not found.units:
        ours = ModalityShapley(scale).attribute(game)
        torch.testing.assert_close(found.totals.float(), ours.totals.float(), **CLOSE)
        torch.testing.assert_close(found.prediction, ours.prediction, **CLOSE)
    for row in range(4):
        flat = one(game, row, scale=scale)
        alone = from_shap(shap_exact(flat), flat, "exact", exact=True)
        places = flat_index(flat)
        torch.testing.assert_close(
            flat_values(alone)[0].T[places].double(), brute(flat)[0], **CLOSE
        )
    if kind == "drawn":
        assert found.se[:, 0, 1].isnan().all()  # those of the draws, that nobody computed
        assert found.se[1, :, 0].eq(0).all()  # a modality that is not there
    else:
        assert found.se.eq(0).all()


def shap_exact(flat: FlatGame, **ask: Any) -> Any:
    import shap

    return shap.explainers.Exact(flat, flat.off.numpy())(flat.on.numpy(), **ask)


def test_shap_permutations_and_kernels_know_our_games() -> None:
    import shap

    flat = one(games("divided"), 2)
    expected = brute(flat)
    found = shap.explainers.Permutation(flat, flat.off.numpy())(flat.on.numpy(), silent=True)
    home = from_shap(found, flat, "permutation", exact=False)
    assert home.se.isnan().all()
    assert home.residual().abs().max() < 1e-5
    kernel = shap.KernelExplainer(flat, flat.off.numpy())
    values = kernel.shap_values(flat.on.numpy(), silent=True)
    torch.testing.assert_close(torch.from_numpy(values).double(), expected, **CLOSE)


@pytest.mark.parametrize("kind", ["model", "divided"])
def test_shaps_interactions_are_shapley_taylor(kind: str) -> None:
    import shapiq

    game = games(kind, missing=False)
    flat = one(game, 0, labels="fear")
    found = from_shap(shap_exact(flat, interactions=2), flat, "exact", exact=True)
    summed = found.totals.sum(-1) + sum(pair.sum((-1, -2)) for pair in found.pairs.values())
    torch.testing.assert_close(summed, found.prediction - found.reference, **CLOSE)
    computer = shapiq.ExactComputer(to_shapiq(flat), n_players=len(flat.columns))
    other = from_shapiq(computer("STII", order=2), flat)
    torch.testing.assert_close(found.totals, other.totals, **CLOSE)
    assert found.pairs.keys() == other.pairs.keys()
    for pair, values in found.pairs.items():
        torch.testing.assert_close(values, other.pairs[pair], **CLOSE)
    if kind == "model":
        ours = mx.Explanation.of(game).interactions(labels=["fear"], index="STII")
        pair = found.pairs["a", "b"]
        torch.testing.assert_close(pair, ours.pairs["a", "b"][:1], **CLOSE)
        torch.testing.assert_close(found.totals, ours.totals[:1], **CLOSE)
        assert set(found.pairs) == {("a", "b")}
    else:
        assert set(found.pairs) == {("a", "a"), ("a", "b")}
        within = found.pairs["a", "a"][0, 0]
        assert within[0, 1] != 0
        assert within.tril().eq(0).all()


def test_our_results_as_shaps() -> None:
    game = games("model")
    ours = ModalityShapley().attribute(game)
    theirs = to_shap(ours)
    assert theirs.values.shape == (4, 2, 5)
    np.testing.assert_allclose(theirs.values, ours.totals.movedim(1, 2))
    np.testing.assert_allclose(theirs.base_values, ours.reference)
    assert theirs.data.tolist() == [["a", "b"]] * 4
    joy = theirs[0, :, "joy"]
    np.testing.assert_allclose(joy.values.sum() + joy.base_values, ours.prediction[0, 1], atol=1e-5)
    units = exact_shap(games("divided"), labels=["joy"])
    theirs = to_shap(units)
    assert theirs.data[0].tolist() == ["a[0] plus", "a[1] minus", "", "b"]
    assert theirs.data[1].tolist() == ["", "", "", "b"]
    np.testing.assert_allclose(
        theirs.values.sum(1) + theirs.base_values, units.prediction, atol=1e-5
    )
    again = from_shap(shap_exact(one(game, 0)), one(game, 0), "exact", exact=True)
    np.testing.assert_allclose(to_shap(again).values, to_shap(ours).values[:1], atol=1e-5)


# shapiq


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", [0, 1, 3])
def test_shapiqs_exact_values_are_ours(kind: str, row: int) -> None:
    import shapiq

    game = games(kind)
    for label, scale in (("joy", "clr"), ("tired", "probability")):
        flat = one(game, row, labels=label, scale=scale)
        theirs = to_shapiq(flat)
        computer = shapiq.ExactComputer(theirs, n_players=len(flat.columns))
        found = from_shapiq(computer("SV"), flat)
        places = flat_index(flat)
        torch.testing.assert_close(
            flat_values(found)[0].T[places].double(), brute(flat)[0], **CLOSE
        )
        assert found.residual().abs().max() < 1e-5
        assert found.provenance.attributor == "shapiq/SV"
        if not found.units:
            ours = ModalityShapley(scale).attribute(game, [label])
            torch.testing.assert_close(found.totals.float(), ours.totals[[row]].float(), **CLOSE)


@pytest.mark.parametrize("index", ["k-SII", "STII", "FSII"])
@pytest.mark.parametrize("kind", ["model", "divided", "words"])
def test_shapiqs_interactions_come_home(index: str, kind: str) -> None:
    import shapiq

    game = games(kind, missing=False)
    flat = one(game, 3, labels="anger")
    computer = shapiq.ExactComputer(to_shapiq(flat), n_players=len(flat.columns))
    found = from_shapiq(computer(index, order=2), flat)
    summed = found.totals.sum(-1) + sum(pair.sum((-1, -2)) for pair in found.pairs.values())
    torch.testing.assert_close(summed, found.prediction - found.reference, **CLOSE)
    if kind == "model":
        ours = mx.Explanation.of(game).interactions(labels=["anger"], index=index)
        torch.testing.assert_close(found.pairs["a", "b"], ours.pairs["a", "b"][[3]], **CLOSE)
        torch.testing.assert_close(found.totals, ours.totals[[3]], **CLOSE)


def test_shapiqs_approximators_take_our_games() -> None:
    import shapiq

    flat = one(games("divided"), 3, labels="joy")
    players = len(flat.columns)
    approximator = shapiq.KernelSHAP(n=players, random_state=1)
    values = approximator.approximate(2**players, to_shapiq(flat))
    found = from_shapiq(values, flat)
    mine = flat_values(found)[0].T[flat_index(flat)]
    torch.testing.assert_close(mine.double(), brute(flat)[0], **CLOSE)
    assert found.provenance.params["budget"] == 2**players


def test_what_shapiq_cannot_do_is_said() -> None:
    import shapiq

    game = games("divided", missing=False)
    for flat in (FlatGame(game, labels="joy"), one(game, 0)):
        with pytest.raises(InputError, match="one sample and one label"):
            to_shapiq(flat)
    flat = one(game, 0, labels="joy")
    computer = shapiq.ExactComputer(to_shapiq(flat), n_players=3)
    with pytest.raises(InputError, match="do not fit"):
        from_shapiq(computer("k-SII", order=3), flat)
    with pytest.raises(InputError, match="do not fit"):
        from_shapiq(computer("SV"), one(games("model", missing=False), 0, labels="joy"))


# All of them


def test_known_answers_through_every_door() -> None:
    """AND and OR of two players, Owen's table 2.4: what three libraries say of them."""
    import shapiq
    from captum.attr import ShapleyValues

    from modalxai.testing import and_, conflict, or_, xor

    expected = {and_: (0.5, 0.5, 1), or_: (0.5, 0.5, -1), xor: (0, 0, -2), conflict: (2, -3, 0)}
    for make, (first, second, pair) in expected.items():
        game: TableGame = make()
        flat = FlatGame(game)
        values = ShapleyValues(flat).attribute(flat.on, baselines=flat.off)
        by_captum = from_captum(values, flat, "shapley-values", exact=True)
        by_shap = exact_shap(game)
        computer = shapiq.ExactComputer(to_shapiq(flat), n_players=2)
        by_shapiq = from_shapiq(computer("SV"), flat)
        for found in (by_captum, by_shap, by_shapiq):
            torch.testing.assert_close(
                found.totals[0, 0].float(), torch.tensor([first, second]).float(), **CLOSE
            )
        pairs = from_shapiq(computer("SII", order=2), flat).pairs["text", "audio"]
        assert pairs.item() == pytest.approx(pair, abs=1e-5)


def test_results_come_home_in_the_shape_of_their_game(tmp_path: Any) -> None:
    found = exact_shap(games("divided"))
    assert set(found.units) == {"a", "b"}
    lengths = [len(s["a"]) if s["a"] is not None else 0 for s in vector_samples(4, missing=True)]
    players = [0 if not length else 3 if length > 3 else 2 for length in lengths]
    assert found.mask["a"].sum(1).tolist() == players
    assert found.mask["b"].sum(1).tolist() == [1, 1, 1, 1]
    for name in "ab":
        padding = ~found.mask[name][:, None].expand_as(found.units[name])
        assert found.units[name][padding].eq(0).all()
    found.save(tmp_path)
    again = mx.Attribution.load(tmp_path)
    assert torch.equal(again.totals, found.totals)
    assert again.provenance == found.provenance
    assert not exact_shap(games("model")).units


def test_players_that_a_sample_lacks_come_home_as_nothing() -> None:
    flat = FlatGame(games("divided"))
    shape = (4, len(flat.columns), 5)
    found = bring_home(
        flat, torch.ones(shape), "ones", exact=True, pairs=torch.ones(*shape[:2], *shape[1:])
    )
    assert found.totals[:, 0, 0].tolist() == found.mask["a"].sum(1).tolist()
    counts = found.mask["a"].sum(1)
    assert found.pairs["a", "b"][:, 2].sum((1, 2)).tolist() == counts.tolist()
    within = found.pairs["a", "a"][:, 2].sum((1, 2))
    assert within.tolist() == (counts * (counts - 1) / 2).tolist()
    with pytest.raises(InputError, match="do not fit the game"):
        bring_home(flat, torch.ones(4, 2, 5), "ones", exact=True)


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    flat = one(games("callable"), 0, labels="joy")
    for package, call in (
        ("shapiq", lambda: to_shapiq(flat)),
        ("shap", lambda: exact_shap(games("callable"))),
        ("shap", lambda: to_shap(ModalityShapley().attribute(games("callable")))),
    ):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(DependencyError, match=package):
            call()

"""Others are asked the same question: their exact answers are ours, whatever it costs them."""

from __future__ import annotations

from itertools import permutations
from math import factorial

import numpy as np
import pytest
import torch
from torch import Tensor

from modalxai.attribution import Explanation, UnitShapley
from modalxai.benchmark.speed import modality, peers, saliency, units
from modalxai.benchmark.speed.blackbox import BlackBox
from modalxai.benchmark.speed.models import EMOTIONS, Shape, make, removal_for, samples, spoken
from modalxai.benchmark.speed.peers import FOR_MODALITIES, FOR_UNITS, Peer
from modalxai.benchmark.speed.played import Known
from modalxai.interop import FlatGame

UNITS = {"text": "word", "audio": "segment"}


def by_definition(values: Tensor) -> Tensor:
    """Shapley values [L, U] of a table [2**U, L], from all orders of the players."""
    players = len(values).bit_length() - 1
    found = torch.zeros(values.shape[1], players, dtype=torch.float64)
    for order in permutations(range(players)):
        row = 0
        for player in order:
            found[:, player] += values[row | 1 << player] - values[row]
            row |= 1 << player
    return found / factorial(players)


@pytest.mark.parametrize("removal", ["absent", "replaced"])
@pytest.mark.parametrize("count", [2, 4])
def test_the_black_box_is_the_game(removal: str, count: int) -> None:
    model = make(Shape("tiny", modalities=count))
    given = samples(2, [0.3, 0.45], count)
    how = removal_for(model, removal)
    box, flat = BlackBox(model, given, how), FlatGame(model.game(given, removal=how))
    masks = (torch.arange(2**count)[:, None] >> torch.arange(count) & 1).float().repeat(2, 1)
    about = torch.arange(2).repeat_interleave(2**count)
    torch.testing.assert_close(box(masks, about), flat(masks, about), rtol=1e-4, atol=1e-6)
    assert (box.calls, box.asked) == (1, 2 * 2**count)


def test_the_black_box_is_the_game_of_words_and_segments() -> None:
    model = make(Shape("tiny", segment=0.1))
    sample, how = spoken(3, 0.3), removal_for(model, "replaced")
    box = BlackBox(model, [sample], how, UNITS)
    flat = FlatGame(model.game([sample], removal=how).divide(UNITS))
    assert box.players == {"audio": 3, "text": 3}
    masks = (torch.arange(64)[:, None] >> torch.arange(6) & 1).float()
    torch.testing.assert_close(box(masks), flat(masks), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("peer", FOR_MODALITIES, ids=lambda peer: peer.name)
def test_exact_answers_are_ours(peer: Peer) -> None:
    model = make(Shape("tiny", modalities=3))
    given, how = samples(1, 0.3, 3), removal_for(model, "replaced")
    explanation = Explanation.of(model.game(given, removal=how))
    exact = explanation.ablation() if peer.estimand == "necessity" else explanation.shapley()
    truth = exact.totals[0].double()
    with peers.quiet():
        found = peer.solve(BlackBox(model, given, how), 400, 0).double()
    assert found.shape == (len(EMOTIONS) if peer.every_label else 1, 3)
    far = float((found - truth[: len(found)]).abs().max() / truth.abs().max())
    if peer.exact and peer.estimand != "Owen, nested":
        assert far < 1e-4
    else:
        assert far < 0.5  # the same question, sampled; or another tree


def test_a_tree_of_two_is_no_other_question() -> None:
    model = make(Shape("tiny"))
    given, how = samples(1, 0.3), removal_for(model, "replaced")
    truth = Explanation.of(model.game(given, removal=how)).shapley().totals[0]
    peer = next(peer for peer in FOR_MODALITIES if "Partition" in peer.name)
    with peers.quiet():
        found = peer.solve(BlackBox(model, given, how), 5, 0)
    torch.testing.assert_close(found.float(), truth, rtol=1e-3, atol=1e-6)


def test_others_leave_no_trace_in_the_generators() -> None:
    model = make(Shape("tiny"))
    box = BlackBox(model, samples(1, 0.3), removal_for(model, "replaced"))
    state, drawn = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    for peer in FOR_MODALITIES:
        with peers.quiet():
            peer.solve(box, 20, 3)
    assert torch.equal(state, torch.random.get_rng_state())
    assert (np.random.get_state()[1] == drawn).all()


def test_nested_trees_hold_every_player_once() -> None:
    tree = peers.nested({"text": 3, "audio": 2})
    assert len(tree) == 4
    assert sorted(tree[:, :2].flatten()) == list(range(8))
    # The last merge is text with audio: their sums are the modalities' Shapley values.
    assert tree[-1, 3] == 5
    sizes = {int(5 + row): int(size) for row, size in enumerate(tree[:, 3])}
    assert sorted(sizes[int(node)] for node in tree[-1, :2]) == [2, 3]


def test_gradient_methods_agree_where_captum_sees_the_right_axes() -> None:
    asked = modality.Asked(modality.Cell(Shape("tiny"), seconds=0.3))
    cam = asked.cam()[0]
    for head in (False, True):
        found = saliency.grad_cam(asked.model, asked.samples[0], head=head)
        torch.testing.assert_close(found, cam, rtol=1e-4, atol=1e-6)
    found = saliency.integrated_gradients(asked.model, asked.samples[0], asked.references())
    torch.testing.assert_close(found, asked.gradients()[0], rtol=1e-4, atol=1e-6)


@pytest.fixture
def known() -> Known:
    draw = torch.Generator().manual_seed(0)
    raw = torch.randn(2**5, len(EMOTIONS), generator=draw)
    return Known(raw, {"text": 2, "audio": 3}, EMOTIONS)


def test_a_known_game_is_solved_by_the_definition(known: Known) -> None:
    torch.testing.assert_close(known.exact, by_definition(known.values))


def test_a_known_game_knows_its_model() -> None:
    model = make(Shape("tiny", segment=0.1))
    sample, how = spoken(2, 0.3), removal_for(model, "replaced")
    known = Known.of(model.game([sample], removal=how).divide(UNITS))
    box, table = BlackBox(model, [sample], how, UNITS), known.masked()
    masks = (torch.arange(32)[:, None] >> torch.arange(5) & 1).float()
    torch.testing.assert_close(table(masks), box(masks), rtol=1e-4, atol=1e-5)
    assert table.players == box.players
    ours = UnitShapley(UNITS).attribute(model.game([sample], removal=how))
    values = torch.cat([ours.units[name][0] for name in known.units], dim=-1)
    torch.testing.assert_close(values.double(), known.exact, rtol=1e-4, atol=1e-6)


def test_tables_count_what_is_asked_once(known: Known) -> None:
    box = known.masked()
    box(box.on), box(box.on), box(box.off), box.array(np.ones((1, 5)))
    assert box.rows_asked == 2
    table = known.asked({"text": 1.0, "audio": 30.0})
    UnitShapley(budget=100).attribute(table)
    assert table.encoded == {"text": 4, "audio": 8}
    assert table.cost("audio") == 30.0


def test_a_label_may_come_first(known: Known) -> None:
    plain, turned = known.masked(), known.masked(first=2)
    every = torch.ones(1, 5)
    assert torch.equal(turned(every)[:, 0], plain(every)[:, 2])
    assert torch.equal(turned(every)[:, -1], plain(every)[:, 1])


@pytest.mark.parametrize("peer", FOR_UNITS, ids=lambda peer: peer.name)
def test_methods_of_units_answer_the_question(peer: Peer, known: Known) -> None:
    """Of an additive game all are right, those that sample means of coalitions nearly."""
    draw = torch.Generator().manual_seed(1)
    weights = torch.randn(5, len(EMOTIONS), generator=draw)
    rows = (torch.arange(32)[:, None] >> torch.arange(5) & 1).float()
    additive = Known(rows @ weights, known.units, EMOTIONS)
    exact = additive.exact
    centred = (weights - weights.mean(1, keepdim=True)).T.double()
    torch.testing.assert_close(exact, centred)
    with peers.quiet():
        found = peer.solve(additive.masked(), 200, 0)
    assert found.shape == (len(EMOTIONS) if peer.every_label else 1, 5)
    limit = 0.35 if "SVARM" in peer.name or "Unbiased" in peer.name else 1e-3
    assert max(units.relative(found, exact[: len(found)])) < limit


def test_curves_say_what_is_not_installed(known: Known) -> None:
    missing = Peer("nobody", "no-such-package", FOR_UNITS[0].solve)
    (row,) = units.peer_curve(missing, [known], [64], {"text": 1.0, "audio": 9.0}, 1)
    assert row["note"] == "not installed"
    cell = modality.Cell(Shape("tiny"), seconds=0.3)
    found = modality.measure(cell, peers=(missing,), memory=False)
    assert found[-1] == {**cell.keys, "contestant": "nobody", "note": "not installed"}


def test_curves_charge_what_was_encoded(known: Known) -> None:
    costs = {"text": 1.0, "audio": 9.0}
    (ours,) = units.our_curve([known], [64], costs, 1)
    assert ours["encoder_rows"] == 4 + 8
    assert ours["encoder_flops"] == 4 * 1 + 8 * 9
    assert ours["error"] < 1e-5
    (theirs,) = units.peer_curve(FOR_UNITS[0], [known], [22], costs, 1)
    assert theirs["encoder_flops"] == theirs["encoder_rows"] / 2 * 10
    assert units.our_curve([known], [2], costs, 1) == []  # refused: it would be noise

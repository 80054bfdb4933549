"""Sensitivity-n and infidelity, against sums over all sets."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.evaluation.hand import Watched, one_map, random_game

from modalxai.attribution import UnitShapley, on_scale
from modalxai.errors import InputError
from modalxai.evaluation import infidelity, sensitivity_n
from modalxai.evaluation.subsets import _of_size
from modalxai.testing import oracles

SIX = {"text": 4, "audio": 2}


@given(st.lists(st.floats(-5, 5), min_size=6, max_size=6, unique=True))
def test_additive_games_are_explained_perfectly(weights) -> None:
    game = oracles.additive(weights).game(SIX)
    exact = UnitShapley().attribute(game)
    found = sensitivity_n(exact, game, (1, 2, 3, 6)).values[0, 0]
    spread = np.ptp(weights) > 1e-3
    if spread:
        assert found[:3].tolist() == pytest.approx([1, 1, 1], abs=1e-6)
    assert found[3].isnan()  # all six: a single set
    assert infidelity(exact, game).values.item() == pytest.approx(0, abs=1e-12)
    turned = replace(exact, units={name: -one for name, one in exact.units.items()})
    if spread:
        assert sensitivity_n(turned, game, [2]).values.item() == pytest.approx(-1, abs=1e-6)


def by_hand(game, found, row, label, size):
    flat = [
        (name, i)
        for name, spans in game.players.items()
        for i in range(spans.start.shape[1])
        if spans.mask[row, i]
    ]

    def score(gone):
        keep = {
            name: torch.tensor([[(name, i) not in gone for i in range(s.start.shape[1])]] * 3)
            for name, s in game.players.items()
        }
        return on_scale(game.value(keep), game.labels, "clr")[0, row, label].item()

    sets = [set(each) for each in combinations(flat, size)]
    sums = [sum(float(found.units[n][row, label, i]) for n, i in each) for each in sets]
    return sums, [score(set()) - score(each) for each in sets]


def test_every_sample_label_and_size_against_all_sets() -> None:
    game, found = random_game()
    got = sensitivity_n(found, game, (1, 2, 4)).values
    error = infidelity(found, game).values
    for row, players in enumerate([5, 4, 3]):
        for label in range(4):
            squares = []
            for size in range(players + 1):
                sums, changes = by_hand(game, found, row, label, size)
                squares += [(a - b) ** 2 for a, b in zip(sums, changes, strict=True)]
                if size in (1, 2, 4):
                    value = got[row, label, (1, 2, 4).index(size)].item()
                    if size == players:
                        assert np.isnan(value)
                    else:
                        assert value == pytest.approx(np.corrcoef(sums, changes)[0, 1])
            assert error[row, label, 0].item() == pytest.approx(np.mean(squares))
        assert got[2, :, 2].isnan().all()  # four of three players


def test_a_random_sample_of_sets_is_near_all_of_them_and_reproducible() -> None:
    game = oracles.random_sum(10, 20, 3).game({"text": 6, "audio": 4})
    found = UnitShapley().attribute(game)
    every = sensitivity_n(found, game, (3, 5), subsets=1000).values
    some = sensitivity_n(found, game, (3, 5), subsets=80, seed=1).values
    assert (every - some).abs().max() < 0.2
    assert not torch.equal(every, some)
    assert torch.equal(some, sensitivity_n(found, game, (3, 5), subsets=80, seed=1).values)
    exact = infidelity(found, game, 1024).values.item()
    drawn = infidelity(found, game, 700).values.item()
    assert drawn == pytest.approx(exact, rel=0.25)
    assert drawn != exact


def test_random_sets_have_their_size() -> None:
    for size in (1, 5, 9):
        sets = _of_size(20, size, 15, "u", 0)
        assert sets.sum(1).tolist() == [size] * 15
    assert _of_size(20, 5, 15, "u", 0).any(0).sum() > 15  # everyone has a chance
    assert len(_of_size(6, 3, 20, "u", 0).unique(dim=0)) == 20


def test_a_factor_changes_no_correlation() -> None:
    game = oracles.random_sum(6, 12, 3).game(SIX)
    found = UnitShapley().attribute(game)
    small = replace(found, units={name: 1e-9 * one for name, one in found.units.items()})
    expected = sensitivity_n(found, game, (1, 2)).values
    assert torch.allclose(sensitivity_n(small, game, (1, 2)).values, expected)
    assert expected.isfinite().all()


def test_the_global_generator_is_left_alone() -> None:
    game = oracles.random_sum(10, 20, 3).game({"text": 6, "audio": 4})
    found = UnitShapley().attribute(game)
    before = torch.random.get_rng_state()
    sensitivity_n(found, game, (3,), subsets=20)
    infidelity(found, game, 20)
    assert torch.equal(before, torch.random.get_rng_state())


def test_interactions_cannot_be_explained_by_single_players() -> None:
    game = oracles.parity(4).game({"text": 2, "audio": 2})
    assert infidelity(UnitShapley().attribute(game), game).values.item() > 0.1


def test_what_does_not_vary_has_no_correlation() -> None:
    # Tenths, whose sums differ by rounding.
    flat = oracles.additive([0.1] * 6).game(SIX)
    assert sensitivity_n(one_map(flat, [1, 2, 3, 4, 5, 6]), flat).values.isnan().all()
    game = oracles.additive([1, 2, 3, 4, 5, 6]).game(SIX)
    assert sensitivity_n(one_map(game, [0.1] * 6), game).values.isnan().all()
    assert infidelity(one_map(game, [1.0] * 6), game, modalities="text").values.isfinite().all()


def test_sets_are_asked_about_once_and_together() -> None:
    game = oracles.additive([1, 2, 3, 4, 5, 6]).game(SIX)
    watched = Watched(game)
    sensitivity_n(one_map(game, [1, 2, 3, 4, 5, 6]), watched, (1, 2))
    assert watched.asked == [1, 1 + 6 + 15]


def test_a_sample_without_players_and_mistakes() -> None:
    game, found = random_game()
    assert sensitivity_n(found, game, [1], modalities="audio").values[2].isnan().all()
    assert infidelity(found, game, modalities="audio").values[2].isnan().all()
    for bad in ([], [0], [1.5], [True]):
        with pytest.raises(InputError, match="sizes"):
            sensitivity_n(found, game, bad)
    for measure in (sensitivity_n, infidelity):
        with pytest.raises(InputError, match="subsets"):
            measure(found, game, subsets=1)

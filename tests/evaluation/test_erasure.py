"""Comprehensiveness and sufficiency, by hand."""

from __future__ import annotations

import pytest
import torch
from tests.evaluation.hand import one_map, random_game

from modalxai.attribution import on_scale
from modalxai.errors import InputError
from modalxai.evaluation import comprehensiveness, sufficiency
from modalxai.testing import oracles

TEN = {"text": 6, "audio": 4}


def test_known_values_of_an_additive_game() -> None:
    weights = [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]
    game = oracles.additive(weights).game(TEN)
    found = one_map(game, weights)
    gone = comprehensiveness(found, game)
    assert gone.points == (0.01, 0.05, 0.1, 0.2, 0.5)
    assert gone.values[0, 0].tolist() == [10, 10, 10, 19, 40]
    assert gone.per_sample.item() == pytest.approx(89 / 5)
    assert sufficiency(found, game).values[0, 0].tolist() == [45, 45, 45, 36, 15]
    backwards = one_map(game, [-w for w in weights])
    assert comprehensiveness(backwards, game).values[0, 0].tolist() == [1, 1, 1, 3, 15]


def test_one_word_is_enough_of_an_or_and_all_are_needed_of_an_and() -> None:
    scores = [0.4, 0.3, 0.2, 0.1]
    either, both = (g.game({"text": 2, "audio": 2}) for g in (oracles.any_of(4), oracles.all_of(4)))
    assert sufficiency(one_map(either, scores), either, [0.25]).values.item() == 0
    assert comprehensiveness(one_map(either, scores), either, [0.25, 1]).values[0, 0].tolist() == [
        0,
        1,
    ]
    assert sufficiency(one_map(both, scores), both, [0.5]).values.item() == 1
    assert comprehensiveness(one_map(both, scores), both, [0.25]).values.item() == 1


@pytest.mark.parametrize("scale", ["clr", "probability"])
def test_of_every_sample_and_label(scale) -> None:
    game, found = random_game()
    gone = comprehensiveness(found, game, [0.4], scale=scale).values
    left = sufficiency(found, game, [0.4], scale=scale).values
    names = game.modalities
    for row in range(3):
        for label in range(4):
            flat = [
                (float(found.units[name][row, label, i]), name, i)
                for name in names
                for i in range(found.units[name].shape[-1])
                if game.players[name].mask[row, i]
            ]
            top = {one[1:] for one in sorted(flat, reverse=True)[: -(-len(flat) * 2 // 5)]}

            def score(kept, row=row, label=label):
                keep = {
                    name: torch.tensor([[kept(name, i) for i in range(s.start.shape[1])]] * 3)
                    for name, s in game.players.items()
                }
                return on_scale(game.value(keep), game.labels, scale)[0, row, label].item()

            whole = score(lambda *_: True)
            without = score(lambda *one, top=top: one not in top)
            alone = score(lambda *one, top=top: one in top)
            assert gone[row, label].item() == pytest.approx(whole - without, abs=1e-12)
            assert left[row, label].item() == pytest.approx(whole - alone, abs=1e-12)


def test_players_that_tie_are_taken_from_both_ends() -> None:
    game = oracles.additive([6, 0, 0, 2]).game({"text": 2, "audio": 2})
    assert comprehensiveness(one_map(game, [0] * 4), game, [0.25]).values.item() == 4


def test_rounding_takes_no_player_too_many() -> None:
    # 0.07 * 100 is a little more than 7 in floating point; 14 of 200 for the same reason.
    game = oracles.additive([1.0] * 10).game(TEN)
    found = one_map(game, [1.0] * 10)
    assert comprehensiveness(found, game, [0.1, 0.3, 0.7, 1]).values[0, 0].tolist() == [1, 3, 7, 10]


def test_a_sample_without_players_and_bad_fractions() -> None:
    game, found = random_game()
    assert comprehensiveness(found, game, modalities="audio").values[2].isnan().all()
    assert comprehensiveness(found, game, modalities="audio").mean.isfinite().all()
    for bad in ([], [0.0], [1.1], [float("nan")]):
        with pytest.raises(InputError, match="fractions"):
            sufficiency(found, game, bad)

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from toys import MIXED

from modalxai.attribution import Explanation
from modalxai.errors import InputError
from modalxai.protocols import Game
from modalxai.testing import UnitTableGame, oracles
from modalxai.types import Spans

UNITS = {"text": 2, "audio": 3}


def table(samples: int = 4, draws: int = 2) -> Tensor:
    return torch.randn(draws, 32, samples, len(MIXED), dtype=torch.float64)


def masks(*lead: int, samples: int = 4, count: int) -> Tensor:
    return torch.rand(*lead, samples, count) < 0.5


def row_of(text: Tensor, audio: Tensor) -> int:
    return sum(int(on) << bit for bit, on in enumerate([*text.tolist(), *audio.tolist()]))


def test_it_is_a_game() -> None:
    game: Game = UnitTableGame(table(), MIXED, UNITS)
    assert game.modalities == ("text", "audio")
    assert game.sample_ids == ("#0", "#1", "#2", "#3")
    assert game.present.all()
    assert {name: spans.mask.sum(1).tolist() for name, spans in game.players.items()} == {
        "text": [2] * 4,
        "audio": [3] * 4,
    }
    assert game.players["audio"].start[0].tolist() == [0, 1, 2]


def test_bits_are_the_first_modalitys_players_then_the_seconds() -> None:
    values = table()
    game = UnitTableGame(values, MIXED, UNITS)
    text, audio = masks(5, count=2), masks(5, count=3)
    found = game.value({"text": text, "audio": audio})
    assert found.shape == (2, 5, 4, len(MIXED))
    for one in range(5):
        for sample in range(4):
            row = row_of(text[one, sample], audio[one, sample])
            assert torch.equal(found[:, one, sample], values[:, row, sample])


def test_masks_broadcast_over_the_modalities() -> None:
    game = UnitTableGame(table(), MIXED, UNITS)
    text, audio = masks(5, 1, count=2), masks(1, 6, count=3)
    grid = game.value({"text": text, "audio": audio})
    assert grid.shape == (2, 5, 6, 4, len(MIXED))
    every = {"text": text.expand(5, 6, 4, 2), "audio": audio.expand(5, 6, 4, 3)}
    assert torch.equal(grid, game.value(every))
    one = game.value({"text": text[0, 0], "audio": audio[0, 0]})
    assert torch.equal(one, grid[:, 0, 0])


def test_a_player_that_a_sample_lacks_is_never_there() -> None:
    values = table(3)
    real = {"text": torch.tensor([[True, True], [True, False], [False, False]])}
    game = UnitTableGame(values, MIXED, UNITS, mask=real)
    assert game.present.tolist() == [[True, True], [True, True], [False, True]]
    assert torch.equal(game.players["text"].mask, real["text"])
    every = {"text": torch.ones(3, 2).bool(), "audio": torch.ones(3, 3).bool()}
    found = game.value(every)
    for sample, row in enumerate([0b11111, 0b11101, 0b11100]):
        assert torch.equal(found[:, sample], values[:, row, sample])
    totals = Explanation.of(game).shapley().totals
    assert (totals[2, :, 0] == 0).all()
    assert (totals[:2, :, 0] != 0).all()


def test_its_modalities_are_played_by_their_players_together() -> None:
    values = table()
    units = Explanation.of(UnitTableGame(values, MIXED, UNITS))
    assert torch.equal(units.draws, values[:, [0, 0b11, 0b11100, 0b11111]])


def test_dividing_it_into_what_it_is_divided_into_already_is_accepted() -> None:
    game = UnitTableGame(table(), MIXED, UNITS, kind="word")
    players = game.players
    for asked in (
        {},
        {"text": "word"},
        {"text": "word", "audio": "word"},
        players,
        {"audio": Spans(players["audio"].start, players["audio"].end, "index")},
    ):
        assert game.divide(asked) is game
    moved = Spans(players["audio"].start + 1, players["audio"].end + 1, "index")
    longer = Spans(players["audio"].start, players["audio"].end + 1, "index")
    refused = ({"text": "segment"}, {"video": "word"}, {"audio": moved}, {"audio": longer})
    for asked in refused:
        with pytest.raises(InputError, match="cannot be divided further"):
            game.divide(asked)


@pytest.mark.parametrize(
    ("units", "mask"),
    [
        ({"text": 2, "audio": 2}, None),
        ({"text": 5, "audio": 0}, None),
        ({}, None),
        (UNITS, {"text": torch.ones(4, 3).bool()}),
        (UNITS, {"text": torch.ones(4, 2)}),
        (UNITS, {"video": torch.ones(4, 2).bool()}),
    ],
)
def test_a_table_of_the_wrong_shape_is_refused(units, mask) -> None:
    with pytest.raises(InputError, match="does not fit"):
        UnitTableGame(table(), MIXED, units, mask)


def test_masks_of_the_wrong_shape_are_refused() -> None:
    game = oracles.majority(5).game(UNITS)
    right = {"text": torch.ones(1, 2).bool(), "audio": torch.ones(1, 3).bool()}
    assert game.value(right).item() == 1
    for wrong in (
        {"text": right["text"]},
        right | {"video": right["text"]},
        right | {"text": right["text"].float()},
        right | {"text": right["audio"]},
    ):
        with pytest.raises(InputError, match="do not fit"):
            game.value(wrong)

"""Absent modalities cost a fusion over sequences what they are: one vector."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from toys import VectorEncoder, vector_samples

from modalxai import plugins
from modalxai.games import grids
from modalxai.model import EmotionModel
from modalxai.types import Features, labels

LABELS = labels(*"abc")
SEQUENCES = ("fusion-transformer", "crossmodal-transformer", "meta-attention")


def model_with(fusion: str, names: str = "ab") -> EmotionModel:
    torch.manual_seed(0)
    encoders = {name: VectorEncoder(4, 8) for name in names}
    settings = {"width": 8, "heads": 2} if "transformer" in fusion else {}
    dims = dict.fromkeys(encoders, 8)
    return EmotionModel(
        encoders, plugins.create("fusion", fusion, dims=dims, labels=LABELS, **settings)
    ).eval()


def lengths_seen(model: EmotionModel, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Rows and padded lengths of every call of ``join``."""
    seen: list[tuple[int, ...]] = []
    real = model.fusion.join

    def join(projected: dict[str, Features]) -> object:
        parts = list(projected.values())
        seen.append((len(parts[0].mask), *(part.mask.shape[1] for part in parts)))
        return real(projected)

    monkeypatch.setattr(model.fusion, "join", join)
    return seen


def every(game: object) -> dict[str, Tensor]:
    rows = torch.arange(4)
    return {
        name: (rows >> bit & 1).bool()[:, None, None].expand(-1, len(game.sample_ids), 1)
        for bit, name in enumerate(game.modalities)
    }


@pytest.mark.parametrize("fusion", [*SEQUENCES, "shallow", "late"])
def test_the_scores_are_those_of_one_padded_call(
    fusion: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, samples = model_with(fusion), vector_samples(5, missing=True)
    apart = model.game(samples, removal="absent").value(every(model.game(samples)))
    monkeypatch.setattr(grids, "_alike", lambda rows, places: [(next(iter(places.values())), {})])
    padded = model.game(samples, removal="absent").value(every(model.game(samples)))
    torch.testing.assert_close(apart, padded, rtol=1e-5, atol=1e-6)


def test_an_absent_modality_is_joined_as_one_vector(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_with("fusion-transformer")
    samples = [
        {"id": "long", "a": torch.randn(9, 4), "b": torch.randn(3, 4)},
        {"id": "short", "a": torch.randn(6, 4), "b": torch.randn(5, 4)},
    ]
    game = model.game(samples, removal="absent")
    seen = lengths_seen(model, monkeypatch)
    game.value(every(game))
    # Two rows each: nothing, a alone, b alone, both.
    assert sorted(seen) == [(2, 1, 1), (2, 1, 5), (2, 9, 1), (2, 9, 5)]


def test_as_many_calls_whatever_the_recordings_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks that share sharded weights must make equally many."""
    model = model_with("fusion-transformer")
    seen = lengths_seen(model, monkeypatch)
    counts = []
    for lengths in ((2, 300), (40, 41), (7, 7)):
        samples = [
            {"id": str(row), "a": torch.randn(length, 4), "b": torch.randn(4, 4)}
            for row, length in enumerate(lengths)
        ]
        game = model.game(samples, removal="absent")
        seen.clear()
        game.value(every(game))
        counts.append(len(seen))
    assert counts == [4, 4, 4]


def test_rows_of_one_kind_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_with("fusion-transformer")
    samples = [
        {"id": str(row), "a": torch.randn(3 + row, 4), "b": torch.randn(9 - row, 4)}
        for row in range(5)
    ]
    game = model.game(samples, removal="zero")
    seen = lengths_seen(model, monkeypatch)
    game.value(every(game))
    assert len(seen) == 1


def test_a_question_without_coalitions_has_no_scores() -> None:
    model = model_with("fusion-transformer")
    game = model.game(vector_samples(3), removal="absent")
    nothing = {name: torch.ones(0, 3, 1, dtype=torch.bool) for name in "ab"}
    assert game.value(nothing).shape == (1, 0, 3, 3)


def test_cut_leaves_what_is_real() -> None:
    mask = torch.tensor([[True, True, False, False], [False, True, False, False]])
    assert grids._lengths(mask).tolist() == [2, 2]
    assert grids._lengths(torch.zeros(2, 3, dtype=torch.bool)).tolist() == [1, 1]

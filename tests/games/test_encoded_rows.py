"""Each distinct input is encoded once: counted in rows, by hooks, not in seconds."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader
from toys import Rows, speech_model, speech_samples, vector_model, vector_samples

import modalxai as mx
from modalxai.attribution import (
    Explanation,
    FeatureDifference,
    GradCAM,
    ModalityAblation,
    ModalityShapley,
)
from modalxai.games.bank import References, digest
from modalxai.trace import Fingerprint
from modalxai.types import Audio


def equal_samples(count: int, seconds: float = 0.2) -> list[dict]:
    """Clips of one length, texts of one shape."""
    return [
        {"id": f"u{i}", "audio": Audio(torch.randn(int(16_000 * seconds)), 16_000), "text": text}
        for i, text in zip(range(count), ["so far", "oh yes", "no way", "we do."] * 5, strict=False)
    ]


@pytest.mark.parametrize("level", ["input", "features"])
@pytest.mark.parametrize("removal", ["absent", "mean"])
def test_outer_removals_cost_one_row_per_sample_and_modality(removal: str, level: str) -> None:
    model, samples = vector_model(3), vector_samples(5, "abc")
    game = model.game(samples, removal=removal, level=level, background=samples)
    with Rows(model) as rows:
        Explanation.of(game)
    assert rows.encoded == {"a": 5, "b": 5, "c": 5}


@pytest.mark.parametrize("count", [2, 5])
def test_the_weights_are_looked_at_as_often_whatever_the_modalities(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With small encoders a look is not nothing: once for who is there, for players, for scores."""
    model, looks = vector_model(count), []
    game = model.game(vector_samples(3, "abcde"[:count]), removal="absent")
    real = Fingerprint.matches
    monkeypatch.setattr(Fingerprint, "matches", lambda *a: looks.append(1) or real(*a))
    Explanation.of(game)
    assert len(looks) == 3


def test_everything_asked_of_one_game_costs_one_encoding() -> None:
    model, samples = vector_model(3), vector_samples(5, "abc")
    with Rows(model) as rows:
        game = model.game(samples)
        explanation = Explanation.of(game)
        for scale in ("clr", "contrast", "log-odds", "probability", "raw"):
            explanation.shapley(scale), explanation.ablation(scale), explanation.interactions(scale)
        explanation.conflict()
        ModalityShapley().attribute(game), ModalityAblation().attribute(game)
        GradCAM().attribute(game), GradCAM("raw").attribute(game)
        FeatureDifference().attribute(game)
    assert rows.encoded == {"a": 5, "b": 5, "c": 5}


def test_removals_at_the_input_cost_one_more_row_each() -> None:
    model, samples = speech_model(), speech_samples(4)
    with Rows(model) as rows:
        game = model.game(samples, removal={"audio": "silence", "text": "mask"})
        Explanation.of(game)
        Explanation.of(game)
    assert rows.encoded == {"audio": 8, "text": 8}


def test_a_grid_costs_its_sides_and_not_its_area() -> None:
    model, samples = vector_model(2), vector_samples(3)
    game = model.game(samples, removal="zero").divide({"a": "item", "b": "item"})
    shapes = {name: spans.start.shape for name, spans in game.players.items()}
    bits = {
        name: (torch.arange(2**units)[:, None] >> torch.arange(units) & 1).bool()
        for name, (_, units) in shapes.items()
    }
    keep = {
        "a": bits["a"][:, None, None].expand(-1, 1, 3, -1),
        "b": bits["b"][None, :, None].expand(1, -1, 3, -1),
    }
    distinct = {
        name: sum(2 ** int(count) for count in game.players[name].mask.sum(1)) for name in "ab"
    }
    with Rows(model) as rows:
        game.value(keep)
        game.value(keep)
    # The whole was encoded with the game's players, before.
    assert rows.encoded == {name: count - 3 for name, count in distinct.items()}
    assert rows.encoded["a"] + rows.encoded["b"] < keep["a"].shape[0] * keep["b"].shape[1] * 3


def test_dividing_a_game_does_not_encode_the_whole_again() -> None:
    model, samples = vector_model(2), vector_samples(3)
    game = model.game(samples, removal="zero")
    game.encode("a"), game.encode("b")
    with Rows(model) as rows:
        divided = game.divide({"a": "item", "b": "pair"})
        divided.value({name: s.mask | ~s.mask for name, s in divided.players.items()})
    assert rows.encoded == {"a": 0, "b": 0}


def test_draws_of_a_constant_removal_cost_nothing() -> None:
    model, samples = vector_model(2), vector_samples(4)
    with Rows(model) as rows:
        mx.explain(model, samples, removal="zero", draws=10)
    assert rows.encoded["a"] <= 8
    with Rows(model) as rows:
        mx.explain(model, samples, removal="noise", draws=10)
    assert rows.encoded["a"] == 4 + 40


def test_missing_modalities_are_removed_at_no_cost() -> None:
    model, samples = vector_model(2), vector_samples(6, missing=True)
    missing = sum(sample["a"] is None for sample in samples)
    assert missing
    with Rows(model) as rows:
        mx.explain(model, samples, removal="noise")
    assert rows.encoded["a"] == 6 + 6 - missing


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_references_are_encoded_once_per_length_over_a_corpus(batch_size: int) -> None:
    model = speech_model()
    samples = equal_samples(6) + [
        {**sample, "id": f"long {sample['id']}"} for sample in equal_samples(3, seconds=0.5)
    ]
    with Rows(model) as rows:
        mx.explain(
            model, samples, removal={"audio": "silence", "text": "empty"}, batch_size=batch_size
        )
    # Two silences of two lengths, one empty text.
    assert rows.encoded == {"audio": 9 + 2, "text": 9 + 1}


def test_masked_texts_of_one_shape_are_encoded_once() -> None:
    model = speech_model()
    with Rows(model) as rows:
        mx.explain(
            model, equal_samples(4), removal={"audio": "silence", "text": "mask"}, batch_size=2
        )
    shapes = {tuple(map(len, sample["text"].split())) for sample in equal_samples(4)}
    assert rows.encoded == {"audio": 4 + 1, "text": 4 + len(shapes)}


def test_a_corpus_gives_the_same_numbers_as_each_sample_by_itself() -> None:
    model = speech_model()
    samples = equal_samples(5) + speech_samples(3)
    for index, sample in enumerate(samples):
        sample["id"] = f"u{index}"
    for removal in ({"audio": "silence", "text": "mask"}, {"audio": "noise", "text": "empty"}):
        shared = mx.explain(model, samples, removal=removal, batch_size=3).draws
        for row, sample in enumerate(samples):
            alone = mx.explain(model, sample, removal=removal).draws
            torch.testing.assert_close(shared[:, :, row], alone[:, :, 0], rtol=1e-5, atol=1e-5)


def test_the_shared_references_make_room_for_new_ones() -> None:
    kept = References(limit=2)
    one = torch.zeros(1)
    for mark in (b"1", b"2", b"3"):
        kept.put("a", mark, one)
    assert kept.get("a", b"1") is None
    assert kept.get("a", b"3") is one
    assert kept.get("b", b"3") is None


def test_a_digest_ignores_padding_and_nothing_else() -> None:
    inputs = {"x": torch.tensor([[1.0, 2, 0], [1, 2, 0]]), "n": torch.tensor([2, 3])}
    longer = {"x": torch.tensor([[1.0, 2, 0, 0, 0]]), "n": torch.tensor([2])}
    assert digest(inputs, 0) == digest(longer, 0)
    assert digest(inputs, 0) != digest(inputs, 1)  # the length tells them apart
    moved = {"x": torch.tensor([[0.0, 1, 2]]), "n": torch.tensor([2])}
    assert digest(inputs, 0) != digest(moved, 0)
    assert digest(inputs, 0) != digest({**longer, "x": longer["x"].double()}, 0)
    assert digest(inputs, 0) != digest({"y": longer["x"], "n": longer["n"]}, 0)
    wide = {"x": torch.tensor([[[1.0, 2], [0, 0]]]), "n": torch.tensor([2])}
    assert digest(inputs, 0) != digest(wide, 0)


def test_every_kind_of_data_gives_the_same_table() -> None:
    model, samples = speech_model(), speech_samples(5)

    class Map:
        def __len__(self) -> int:
            return len(samples)

        def __getitem__(self, index: int) -> dict:
            return samples[index]  # never raises IndexError by itself: must be asked for its length

    expected = mx.explain(model, samples)
    loader = DataLoader(samples, batch_size=2, collate_fn=model.collate)
    for data in (
        model.collate(samples),
        tuple(samples),
        Map(),
        loader,
        [model.collate(samples[:2]), model.collate(samples[2:])],
        iter(samples),
        (model.collate([sample]) for sample in samples),
    ):
        found = mx.explain(model, data)
        assert found.sample_ids == expected.sample_ids
        torch.testing.assert_close(found.draws, expected.draws, rtol=1e-5, atol=1e-5)
        assert found.columns == expected.columns
    one = mx.explain(model, samples[2])
    torch.testing.assert_close(one.draws[:, :, 0], expected.draws[:, :, 2], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 4, 100])
def test_the_batch_size_changes_nothing(batch_size: int) -> None:
    model, samples = speech_model(), speech_samples(5)
    samples[1]["text"] = None
    for removal in ("absent", {"audio": "noise", "text": "mask"}):
        expected = mx.explain(model, samples, removal=removal)
        found = mx.explain(model, samples, removal=removal, batch_size=batch_size)
        torch.testing.assert_close(found.draws, expected.draws, rtol=1e-5, atol=1e-5)


def test_targets_and_columns_travel_along() -> None:
    model, samples = vector_model(2), vector_samples(4)
    for index, sample in enumerate(samples):
        sample |= {"labels": {"joy": 1.0, "valence": index / 2}, "speaker": f"s{index}"}
    found = mx.explain(model, samples, batch_size=3)
    assert found.columns == {"speaker": ("s0", "s1", "s2", "s3")}
    assert found.targets.values[:, 4].tolist() == [0, 0.5, 1, 1.5]
    assert found.targets.mask[:, 3].tolist() == [False] * 4
    assert found.targets.values[:, :3].argmax(-1).tolist() == [1] * 4


def test_samples_without_ids_are_numbered_over_the_whole_corpus() -> None:
    model = vector_model(2)
    samples = [{k: v for k, v in s.items() if k != "id"} for s in vector_samples(5)]
    found = mx.explain(model, samples, batch_size=2)
    assert found.sample_ids == ("#0", "#1", "#2", "#3", "#4")


def test_progress_is_shown_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    model, samples = vector_model(2), vector_samples(4)
    mx.explain(model, samples)
    assert capsys.readouterr().err == ""
    mx.explain(model, samples, progress=True, batch_size=2)
    assert "explain" in capsys.readouterr().err

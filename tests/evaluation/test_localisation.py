"""Where a map points, against a truth that is known."""

from __future__ import annotations

import pytest
import torch
from tests.evaluation.hand import attribution
from toys import speech_model, speech_samples

import modalxai as mx
from modalxai.attribution import Owen
from modalxai.errors import InputError
from modalxai.evaluation import localisation
from modalxai.types import Attribution, Spans


class Segments:
    """A game's players alone: half seconds of up to three seconds, and words of ten characters."""

    labels = mx.labels("x", "y")
    modalities = ("audio", "text")
    level = "input"
    settings = {"removal": {}, "background": None, "seed": 0, "versions": {}}  # noqa: RUF012

    def __init__(self, counts: list[int]) -> None:
        self.sample_ids = tuple(f"u{row}" for row in range(len(counts)))
        self.present = torch.tensor([[count > 0, True] for count in counts])
        place = torch.arange(max(counts))
        real = place < torch.tensor(counts)[:, None]
        start = place * real * 0.5
        words = torch.arange(3).expand(len(counts), 3) * 10.0
        self.players = {
            "audio": Spans(start, start + 0.5 * real, "seconds"),
            "text": Spans(words, words + 10, "characters"),
        }


def maps(*rows: list[float], label: int = 0) -> Attribution:
    game = Segments([len(row) for row in rows])
    audio = torch.zeros(len(rows), 2, game.players["audio"].start.shape[1], dtype=torch.float64)
    for row, values in enumerate(rows):
        audio[row, label, : len(values)] = torch.tensor(values, dtype=torch.float64)
        audio[row, 1 - label, 0] = 99.0 if values else 0.0
    text = torch.tensor([0.0, 2.0, 1.0]).expand(len(rows), 2, 3).double()
    return attribution(game, {"audio": audio, "text": text})


def seconds(*rows: list[tuple[float, float]]) -> Spans:
    longest = max(1, *(len(row) for row in rows))
    edges = torch.zeros(2, len(rows), longest)
    for row, spans in enumerate(rows):
        for at, (start, end) in enumerate(spans):
            edges[0, row, at], edges[1, row, at] = start, end
    return Spans(edges[0], edges[1], "seconds")


def test_a_perfect_map() -> None:
    found = localisation(maps([0, 0, 5, 4, 0, 0]), seconds([(1.0, 2.0)]), "x")
    assert found.means == {"pointing": 1, "auc": 1, "iou": 1, "onset_error": 0}
    assert (found.modality, found.label) == ("audio", "x")


def test_a_map_that_points_elsewhere() -> None:
    found = localisation(maps([5, 4, 0, 0, 0, 1]), seconds([(1.0, 2.0)]), "x")
    assert found.pointing.item() == 0
    # The true ones beat nobody, and tie with one of the four others.
    assert found.auc.item() == pytest.approx(2 * 0.5 / (2 * 4) * 1)
    assert found.iou.item() == 0
    assert found.onset_error.item() == -1000
    assert found.means["onset_error"] == 1000


def test_half_right() -> None:
    found = localisation(maps([0, 3, 5, 1, 0, 0]), seconds([(1.0, 2.0)]), "x")
    assert found.pointing.item() == 1
    assert found.auc.item() == pytest.approx((4 + 3) / 8)
    assert found.iou.item() == pytest.approx(1 / 3)
    assert found.onset_error.item() == -500


def test_the_event_is_the_run_around_the_largest() -> None:
    # The fifth is strong as well, but apart: the event starts at the second.
    found = localisation(maps([0, 4, 5, 0, 3, 0]), seconds([(0.5, 2.0)]), "x")
    assert found.onset_error.item() == 0
    apart = localisation(maps([4, 0, 0, 5, 0, 0]), seconds([(1.5, 2.5)]), "x")
    assert apart.onset_error.item() == 0
    assert apart.iou.item() == pytest.approx(1 / 3)


def test_the_nearest_of_several_events_counts() -> None:
    truth = seconds([(0.0, 0.5), (2.0, 2.5)])
    found = localisation(maps([0, 0, 0, 5, 4, 0]), truth, "x")
    assert found.onset_error.item() == -500
    assert found.auc.item() == pytest.approx((0.5 * 3 + 3) / 8)


def test_a_constant_map_is_chance() -> None:
    found = localisation(maps([1, 1, 1, 1]), seconds([(0.5, 1.0)]), "x")
    assert found.pointing.item() == 0.25
    assert found.auc.item() == 0.5


def test_units_that_are_true() -> None:
    # 0.74 - 1.25 s is half of the second unit and half of the third; the first holds nothing.
    assert localisation(maps([0, 5, 4, 0]), seconds([(0.74, 1.25)]), "x").auc.item() == 1
    # A click of 50 ms makes its unit true, though it is a tenth of it.
    assert localisation(maps([0, 0, 5, 0]), seconds([(1.2, 1.25)]), "x").auc.item() == 1
    # Two halves of a unit make it true.
    both = seconds([(0.5, 0.65), (0.8, 1.0)])
    assert localisation(maps([0, 5, 0, 0]), both, "x").auc.item() == 1


def test_ragged_missing_and_unknown() -> None:
    found = localisation(
        maps([0, 1, 0, 0], [], [1, 0], [3, 2]),
        seconds([(0.5, 1.0)], [(0.5, 1.0)], [], [(0.0, 1.0)]),
        "x",
    )
    assert found.auc[0] == 1
    for values in (found.pointing, found.auc, found.iou, found.onset_error):
        assert values[1:3].isnan().all()
    assert found.auc[3].isnan()  # everything is true
    assert found.iou[3] == 1
    assert found.means["auc"] == 1


def test_of_the_label_that_is_asked() -> None:
    found = maps([0, 0, 5, 0], label=1)
    truth = seconds([(1.0, 1.5)])
    assert localisation(found, truth, "y").pointing.item() == 1
    assert localisation(found, truth, "x").pointing.item() == 0


def test_words_are_found_by_their_characters() -> None:
    truth = Spans(torch.tensor([[10.0]]), torch.tensor([[18.0]]), "characters")
    found = localisation(maps([0, 1]), truth, "x")
    assert found.modality == "text"
    assert found.means == {"pointing": 1, "auc": 1, "iou": 1, "onset_error": 0}
    late = Spans(torch.tensor([[21.0]]), torch.tensor([[29.0]]), "characters")
    assert localisation(maps([0, 1]), late, "x").onset_error.item() == -11  # characters


def test_a_planted_word_and_a_planted_half_second() -> None:
    def fn(samples):
        return [
            [
                float("bad" in (s["text"] or "").split())
                + (0.0 if s["audio"] is None else float(s["audio"].waveform.abs().max() > 0.5)),
                0.0,
            ]
            for s in samples
        ]

    samples, words, sounds = [], [], []
    for row in range(3):
        wave = torch.randn(1, 16_000 * 3) * 0.01
        wave[:, 8_000 * (row + 1) + 2_000 : 8_000 * (row + 1) + 6_000] += 0.9
        text = ["a bad day", "so it is bad", "bad luck"][row]
        samples.append({"id": f"u{row}", "text": text, "audio": mx.Audio(wave[0], 16_000)})
        words.append((text.index("bad"), text.index("bad") + 3))
        sounds.append([(0.5 * (row + 1) + 0.125, 0.5 * (row + 1) + 0.375)])
    game = mx.CallableGame(
        fn, samples, labels=mx.labels("x", "y"), modalities=["text", "audio"], outputs="logits"
    )
    found = Owen({"text": "word", "audio": "segment"}).attribute(game)
    edges = torch.tensor(words).float()[:, None]
    in_text = localisation(found, Spans(edges[..., 0], edges[..., 1], "characters"), "x")
    in_sound = localisation(found, seconds(*sounds), "x")
    assert in_text.means == {"pointing": 1, "auc": 1, "iou": 1, "onset_error": 0}
    assert in_sound.means["auc"] == in_sound.means["pointing"] == 1
    assert in_sound.means["onset_error"] == pytest.approx(125, abs=1)


def test_mistakes_are_named() -> None:
    found, truth = maps([0, 1, 0]), seconds([(0.5, 1.0)])
    with pytest.raises(InputError, match="unknown label"):
        localisation(found, truth, "z")
    with pytest.raises(InputError, match="does not fit"):
        localisation(found, seconds([(0.5, 1.0)], [(0.5, 1.0)]), "x")
    with pytest.raises(InputError, match="does not fit"):
        localisation(found, truth, "x", modality="text")
    index = Spans(truth.start, truth.end, "index")
    with pytest.raises(InputError, match="does not fit"):
        localisation(found, index, "x")
    found.units["audio"][0, 0, 1] = float("nan")
    with pytest.raises(InputError, match="'u0'"):
        localisation(found, truth, "x")


def test_a_model_of_speech() -> None:
    model, samples = speech_model().eval(), speech_samples(3)
    game = model.game(samples, removal={"text": "mask", "audio": "silence"})
    found = Owen({"text": "word", "audio": "segment"}).attribute(game)
    best = found.units["audio"][:, 0].argmax(-1, keepdim=True)
    spans = found.spans["audio"]
    truth = Spans(spans.start.gather(1, best), spans.end.gather(1, best), "seconds")
    means = localisation(found, truth, "anger").means
    assert means["pointing"] == means["iou"] == 1
    assert means["onset_error"] == 0

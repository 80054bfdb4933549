"""Stretches of speech, and tiles of time and frequency, as players of a voice."""

from __future__ import annotations

import math

import pytest
import torch
from tests.support.tiny import SMALL_MEL
from tests.support.toys import MIXED, randomize
from torch import Tensor

import modalxai as mx
from modalxai import audio, speech, tiles
from modalxai.datasets import tonebench
from modalxai.encoders import MelCnnEncoder
from modalxai.errors import InputError, RemovalError
from modalxai.fusion import ShallowFusion
from modalxai.types import Audio, Spans
from modalxai.voice import SegmentDivision, TileDivision

RATE = 16_000


def sine(seconds: float, hertz: float, level: float = 0.5) -> Tensor:
    return level * (2 * math.pi * hertz * torch.arange(round(seconds * RATE)) / RATE).sin()


def quiet(seconds: float, level: float = 0.0005) -> Tensor:
    return level * torch.randn(round(seconds * RATE))


def burst(*parts: tuple[str, float]) -> Tensor:
    """Tones and silence, one after the other."""
    return torch.cat([sine(s, 200) if kind == "on" else quiet(s) for kind, s in parts])


def kinds(waveform: Tensor) -> list[tuple[str, float, float]]:
    return [
        ("on" if on else "off", start / RATE, end / RATE)
        for start, end, on in speech.stretches(waveform, RATE)
    ]


def test_speech_and_pauses_are_found() -> None:
    clip = burst(("off", 0.4), ("on", 0.5), ("off", 0.3), ("on", 0.7), ("off", 0.35))
    found = kinds(clip)
    assert [kind for kind, _, _ in found] == ["off", "on", "off", "on", "off"]
    for (_, start, _), expected in zip(found, (0, 0.4, 0.9, 1.2, 1.9), strict=True):
        assert start == pytest.approx(expected, abs=0.03)
    assert found[0][1] == 0
    assert found[-1][2] == len(clip) / RATE


def test_closures_are_no_pauses_and_clicks_no_speech() -> None:
    closed = burst(("on", 0.3), ("off", 0.14), ("on", 0.3))
    assert kinds(closed) == [("on", 0, len(closed) / RATE)]
    clicked = burst(("on", 0.3), ("off", 0.4), ("on", 0.02), ("off", 0.4), ("on", 0.3))
    assert [kind for kind, _, _ in kinds(clicked)] == ["on", "off", "on"]


def test_level_does_not_matter_and_silence_is_one_pause() -> None:
    clip = burst(("on", 0.4), ("off", 0.4), ("on", 0.4))
    assert kinds(clip) == kinds(clip * 0.02)
    assert kinds(torch.zeros(RATE)) == [("off", 0, 1)]
    assert kinds(0.3 * torch.randn(RATE)) == [("on", 0, 1)]
    assert speech.stretches(torch.zeros(0), RATE) == []


def test_voiced_units_of_a_batch_cover_each_clip() -> None:
    encoder = MelCnnEncoder(**SMALL_MEL)
    clips = [
        burst(("on", 0.4), ("off", 0.4), ("on", 0.4)),
        burst(("off", 0.3), ("on", 0.5)),
    ]
    inputs = encoder.collate([Audio(clips[0], RATE), None, Audio(clips[1], RATE)])
    units = encoder.units(inputs, "voiced")
    assert units.names == (("speech", "pause", "speech"), (), ("pause", "speech"))
    assert units.mask.sum(1).tolist() == [3, 0, 2]
    assert torch.equal(units.start[0, 1:], units.end[0, :-1])
    torch.testing.assert_close(units.end.amax(1), torch.tensor([1.2, 0, 0.8]))
    alone = encoder.units(encoder.collate([Audio(clips[1], RATE)]), "voiced")
    torch.testing.assert_close(alone.start[0], units.start[2, :2])


def test_words_of_synthetic_speech_begin_where_stretches_do() -> None:
    """Words lie 50 ms apart, which is no pause: the whole utterance is one stretch."""
    corpus = tonebench.ToneBench(tonebench.tone(2), 12, seed=5)
    for sample in corpus:
        waveform = torch.as_tensor(sample["audio"].waveform)
        found = [one for one in speech.stretches(waveform, RATE) if one[2]]
        (first, *_), (*_, last) = (one[1:] for one in (sample["words"][0], sample["words"][-1]))
        assert found[0][0] / RATE == pytest.approx(first, abs=0.06)
        assert found[-1][1] / RATE == pytest.approx(last, abs=0.1)


# Tiles.


def test_tiles_partition_time_and_frequency() -> None:
    spans = tiles.units(torch.tensor([12_000, 0, 4000]), RATE, 0.5, 3)
    assert spans.mask.sum(1).tolist() == [6, 0, 3]
    assert spans.low is not None
    assert spans.high is not None
    edges = tiles.edges(RATE, 3)
    assert edges[[0, -1]].tolist() == [0, 8000]
    assert spans.low[0].tolist() == pytest.approx(edges[:3].tolist() * 2, rel=1e-6)
    assert spans.high[0].tolist() == pytest.approx(edges[1:].tolist() * 2, rel=1e-6)
    assert spans.start[0].tolist() == [0, 0, 0, 0.5, 0.5, 0.5]
    assert spans.end[0].tolist() == [0.5, 0.5, 0.5, 0.75, 0.75, 0.75]


def energy(waveform: Tensor, start: float, end: float, low: float, high: float) -> float:
    """Of a part of a clip in a band, under one long window."""
    part = waveform[round(start * RATE) : round(end * RATE)].double()
    spectrum = torch.fft.rfft(part * torch.hann_window(len(part)).double()).abs().square()
    hertz = torch.fft.rfftfreq(len(part), 1 / RATE)
    return float(spectrum[(hertz >= low) & (hertz < high)].sum())


def test_a_tile_takes_its_own_tone_out_and_leaves_the_others() -> None:
    clip = sum(sine(1.0, hertz, 0.2) for hertz in (300, 1100, 2600, 6000))
    assert isinstance(clip, Tensor)
    lengths = torch.tensor([RATE])
    units = tiles.units(lengths, RATE, 0.5)
    bands = [(200, 400), (1000, 1200), (2500, 2700), (5900, 6100)]
    for place in range(8):
        keep = torch.arange(8)[None] != place
        left = tiles.remove(clip[None], lengths, units, keep, "silence", 0, RATE)[0]
        for moment, (start, end) in enumerate([(0.03, 0.47), (0.53, 0.97)]):
            for band, (low, high) in enumerate(bands):
                ratio = energy(left, start, end, low, high) / energy(clip, start, end, low, high)
                if place == 4 * moment + band:
                    assert ratio < 1e-4
                else:
                    assert ratio == pytest.approx(1, abs=1e-3)
        # Beyond the reach of its windows nothing changes, to the bit.
        far = slice(RATE // 2 + 512, None) if place < 4 else slice(0, RATE // 2 - 512)
        assert torch.equal(left[far], clip[far])


@pytest.mark.parametrize("how", ["silence", "noise"])
def test_all_tiles_are_the_whole_clip_and_none_is_nothing(how: str) -> None:
    clips, lengths = torch.zeros(2, 6000), torch.tensor([6000, 3333])
    clips[0], clips[1, :3333] = torch.randn(6000), torch.randn(3333)
    units = tiles.units(lengths, RATE, 0.1)
    seeds = [3, 4]
    gone = torch.zeros_like(units.mask)
    found = tiles.remove(clips, lengths, units, gone, how, seeds, RATE)
    whole = Spans(torch.zeros(2, 1), torch.full((2, 1), 9.0), "seconds")
    keep = torch.zeros(2, 1, dtype=torch.bool)
    assert torch.equal(found, audio.remove(clips, lengths, whole, keep, how, seeds, RATE))
    assert torch.equal(tiles.remove(clips, lengths, units, ~gone, how, seeds, RATE), clips)
    # One band of all moments, then the others: removals of disjoint tiles add up.
    low = torch.arange(units.start.shape[1]) % 4 == 0
    first = tiles.remove(clips, lengths, units, ~low.expand(2, -1), how, seeds, RATE)
    second = tiles.remove(clips, lengths, units, low.expand(2, -1), how, seeds, RATE)
    torch.testing.assert_close(first - clips + second - clips, found - clips, rtol=0, atol=1e-4)


def test_tiles_of_a_model() -> None:
    audio_encoder = MelCnnEncoder(**SMALL_MEL | {"segment_seconds": 0.3})
    fusion = ShallowFusion({"audio": audio_encoder.dim}, MIXED)
    randomize(fusion)
    model = mx.EmotionModel({"audio": audio_encoder}, fusion)
    samples = [{"id": "a", "audio": Audio(0.1 * torch.randn(9000), RATE)}]
    game = model.game(samples, removal="silence")
    found = mx.attribution.Owen({"audio": "tile"}).attribute(game)
    assert found.units["audio"].shape == (1, 5, 8)
    assert found.spans["audio"].high is not None
    assert found.residual().abs().max() < 1e-4
    assert found.unit_gap().abs().max() < 1e-4
    # The same times in other bands are other players: nothing may be taken from the bank.
    units = game.divide({"audio": "tile"}).players["audio"]
    assert units.low is not None
    turned = Spans(units.start, units.end, "seconds", units.low.flip(1), units.high.flip(1))  # type: ignore[union-attr]
    again = mx.attribution.Owen({"audio": turned}).attribute(game)
    fresh = mx.attribution.Owen({"audio": turned}).attribute(model.game(samples, removal="silence"))
    torch.testing.assert_close(again.units["audio"], fresh.units["audio"])
    assert not torch.allclose(again.units["audio"], found.units["audio"], atol=1e-4)
    with pytest.raises(RemovalError, match="tiles of 'audio' cannot be removed"):
        model.game(samples, removal="absent", level="features").divide({"audio": "tile"})


def test_tiles_are_not_for_the_learned_mask() -> None:
    from tests.support import tiny

    encoder = tiny.encoder("wav2vec2")
    assert "voiced" in encoder.kinds
    assert "tile" not in encoder.kinds
    inputs = encoder.collate([Audio(torch.randn(8000), RATE)])
    units = tiles.units(inputs["length"], RATE, 0.25)
    keep = torch.ones_like(units.mask)
    keep[0, 1] = False
    assert not torch.equal(
        encoder.remove(inputs, units, keep, "silence", 0)["waveform"], inputs["waveform"]
    )
    with pytest.raises(RemovalError, match="the learned mask stands for whole frames"):
        encoder.remove(inputs, units, keep, "learned-mask", 0)


def test_a_division_into_tiles_for_black_boxes() -> None:
    raw = Audio(torch.stack([sine(1.2, 300, 0.2) + sine(1.2, 6000, 0.2)] * 2), RATE, "mean")
    division = TileDivision(seconds=0.5, bands=2)
    units = division.units(raw)
    assert units.start.shape == (1, 6)
    assert units.names[0][1] == "0.00-0.50 s, 1768-8000 Hz"
    every = torch.ones(6, dtype=torch.bool)
    assert division.render(raw, every) is raw
    keep = torch.tensor([True, False] * 3)  # the low bands
    left = division.render(raw, keep)
    assert left.sample_rate == RATE
    assert energy(left.waveform, 0, 1.2, 5000, 7000) < 1e-6 * energy(
        raw.waveform[0], 0, 1.2, 5000, 7000
    )
    torch.testing.assert_close(
        left.waveform[600:-600], sine(1.2, 300, 0.2)[600:-600], rtol=0, atol=1e-3
    )
    nothing = division.render(raw, ~every)
    assert nothing.waveform.abs().max() == 0
    both = torch.tensor([False, False, True, True, True, True])
    silent = SegmentDivision(0.5).render(raw, torch.tensor([False, True, True]))
    torch.testing.assert_close(
        division.render(raw, both).waveform[8600:], silent.waveform[8600:], rtol=0, atol=1e-6
    )


def test_impossible_tiles_are_refused() -> None:
    for settings in (
        {"seconds": 0},
        {"seconds": "1"},
        {"bands": 0},
        {"bands": 2.5},
        {"bands": True},
    ):
        with pytest.raises(InputError, match="impossible"):
            TileDivision(**settings)
    with pytest.raises(InputError, match="does not fit the players"):
        TileDivision().render(Audio(torch.zeros(RATE), RATE), torch.ones(3, dtype=torch.bool))
    spans = Spans(torch.zeros(1, 1), torch.ones(1, 1), "seconds")
    gone = torch.zeros(1, 1, dtype=torch.bool)
    with pytest.raises(InputError, match="without frequencies"):
        tiles.remove(torch.zeros(1, 99), torch.tensor([99]), spans, gone, "silence", 0, RATE)

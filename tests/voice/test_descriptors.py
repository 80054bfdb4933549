from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tests.voice.test_world import RATE, noise
from tests.voice.voices import VOWELS, voice

from modalxai.datasets.tonebench.voices import Speaker, Tone
from modalxai.types import Audio
from modalxai.voice import Tracker, measure


@pytest.mark.parametrize("method", ["harvest", "dio"])
def test_descriptors_of_a_voice_that_is_known(method: str) -> None:
    one = voice(1)
    found = measure(one.raw, Tracker(method))  # type: ignore[arg-type]
    frames = len(found.pitch)
    spoken = 12 * np.log2(one.pitch(frames)[found.voiced.numpy()])
    assert found.pitch_mean == pytest.approx(2 ** (spoken.mean() / 12), rel=0.02)
    assert found.pitch_sd == pytest.approx(spoken.std(), rel=0.1)
    assert found.pitch_range == pytest.approx(np.ptp(np.percentile(spoken, [5, 95])), rel=0.15)
    seconds = sum(end - start for start, end in one.truth.words)
    # The window of 64 ms reaches a little beyond each of the two words.
    assert seconds < found.speech_seconds < seconds + 2 * 0.05
    assert found.rate == pytest.approx(VOWELS / seconds, rel=0.2)
    assert found.duration == pytest.approx(1.8)
    assert 0.7 < found.voiced_share <= 1
    assert found.notes == ()


def test_curves_lie_in_time() -> None:
    found = measure(voice(0).raw)
    assert found.spans.unit == "seconds"
    assert found.spans.mask.all()
    frames = found.pitch.shape[0]
    assert found.spans.start.shape == (1, frames)
    for curve in (found.pitch, found.intensity, found.voiced):
        assert curve.shape == (frames,)
    assert torch.equal(found.voiced, found.pitch > 0)
    assert torch.allclose(found.spans.start[:, 1:], found.spans.end[:, :-1])
    assert float(found.spans.end.max()) <= found.duration + 1e-6


def test_a_higher_voice_a_wider_tone_a_louder_clip() -> None:
    low, high = (measure(voice(speaker).raw) for speaker in (0, 1))
    assert low.pitch_mean < high.pitch_mean
    assert high.pitch_mean / low.pitch_mean == pytest.approx(
        Speaker.numbered(1).pitch / Speaker.numbered(0).pitch, rel=0.05
    )
    narrow = measure(voice(0, Tone(slope=2)).raw)
    assert narrow.pitch_sd < low.pitch_sd / 1.5
    clip = voice(0).raw.waveform
    soft = measure(Audio(clip / 10, RATE))
    assert soft.intensity_mean == pytest.approx(low.intensity_mean - 20, abs=0.05)
    assert soft.intensity_sd == pytest.approx(low.intensity_sd, abs=0.05)
    assert soft.pitch_mean == pytest.approx(low.pitch_mean, rel=0.01)


def test_what_cannot_be_measured_is_not_a_number_and_told() -> None:
    silent = measure(Audio(np.zeros(8000, np.float32), RATE))
    assert silent.notes == ("silent: there is nothing to measure or to edit",)
    for name in ("pitch_mean", "pitch_sd", "pitch_range", "voiced_share", "rate"):
        assert math.isnan(getattr(silent, name))
    assert math.isnan(silent.intensity_mean)
    assert silent.speech_seconds == 0
    hiss = measure(noise())
    assert "no voiced frame" in hiss.notes[0]
    assert math.isnan(hiss.pitch_sd)
    assert math.isnan(hiss.rate)
    assert not math.isnan(hiss.intensity_mean)


def test_a_clipped_clip_is_told() -> None:
    clip = voice(0).raw.waveform
    assert measure(Audio(clip, RATE)).notes == ()
    assert "clipped" in measure(Audio(np.clip(8 * clip, -1, 1), RATE)).notes[0]
    # A sine comes near its peak often, and stays there never.
    tone = 0.5 * np.sin(2 * np.pi * 150 * np.arange(RATE) / RATE)
    assert not any("clipped" in note for note in measure(Audio(tone, RATE)).notes)

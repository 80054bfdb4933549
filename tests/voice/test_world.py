from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.voice.voices import Voice, voice

from modalxai.errors import DependencyError, InputError
from modalxai.types import Audio
from modalxai.voice import Tracker, analyse, library, likeness, resynthesise
from modalxai.voice.contours import semitones
from modalxai.voice.library import pyworld
from modalxai.voice.tracking import steady, track
from modalxai.voice.world import waveform_of

RATE = 16_000


def by_hand(clip: NDArray[np.float64], frame: int) -> float:
    """Hertz by the peak of the normalised autocorrelation, 60 ms around a frame; 60 to 500 Hz."""
    centre, half = round(frame * 0.005 * RATE), 480
    window = clip[centre - half : centre + half]
    longest = RATE // 60
    scores = [
        np.dot(window[:-lag], window[lag:])
        / np.sqrt(np.dot(window[:-lag], window[:-lag]) * np.dot(window[lag:], window[lag:]))
        for lag in range(1, longest)
    ]
    shortest = RATE // 500
    scores[: shortest - 1] = [-1.0] * (shortest - 1)
    # The first peak that is nearly as high as the highest: its multiples are as periodic.
    best = next(
        lag
        for lag in range(shortest, longest - 2)
        if scores[lag] >= 0.93 * max(scores)
        and scores[lag] >= scores[lag - 1]
        and scores[lag] >= scores[lag + 1]
    )
    return RATE / (best + 1)


@pytest.mark.parametrize("speaker", [0, 1])
@pytest.mark.parametrize("method", ["harvest", "dio"])
def test_the_pitch_found_is_the_pitch_that_was_spoken(speaker: int, method: str) -> None:
    one = voice(speaker)
    found = analyse(one.raw, Tracker(method))  # type: ignore[arg-type]
    frames = len(found.pitch)
    inner = found.sure & one.spoken(frames)
    off = semitones(found.pitch[inner]) - semitones(one.pitch(frames)[inner])
    assert np.median(np.abs(off)) < 0.2
    assert np.mean(np.abs(off) > 1) < 0.02
    # Found where there is speech, and only there.
    assert inner.sum() > 0.5 * one.spoken(frames).sum()
    assert not found.voiced[~one.spoken(frames, margin=-0.04)].any()


def test_autocorrelation_finds_the_same_pitch() -> None:
    one = voice(1)
    found = analyse(one.raw)
    clip = np.asarray(one.raw.waveform, dtype=float)
    places = np.flatnonzero(found.sure)[::7]
    second = np.array([by_hand(clip, place) for place in places])
    off = np.abs(semitones(second) - semitones(found.pitch[places]))
    assert np.median(off) < 0.3
    assert np.mean(off > 1) < 0.1


def test_a_pitch_is_sure_inside_and_where_two_agree() -> None:
    voiced = np.array([0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 0], dtype=bool)
    agreed = np.ones(14, dtype=bool)
    assert np.flatnonzero(steady(voiced, agreed)).tolist() == [4, 5, 6]
    agreed[5] = False
    assert np.flatnonzero(steady(voiced, agreed)).tolist() == [4, 6]
    assert np.array_equal(steady(voiced, ~voiced), voiced)


def test_two_trackers_agree_where_they_hear_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = {
        "harvest": np.array([100.0, 100.0, 0.0, 100.0, 0.0]),
        "dio": np.array([104.0, 200.0, 100.0, 0.0, 0.0]),
    }
    times = np.arange(5) * 0.005
    trackers = SimpleNamespace(
        harvest=lambda *given, **limits: (heard["harvest"], times),
        dio=lambda *given, **limits: (heard["dio"], times),
        stonemask=lambda signal, pitch, times, rate: pitch,
    )
    monkeypatch.setattr(library, "pyworld", lambda: trackers)
    pitch, agreed = track(np.zeros(400), RATE, Tracker())
    assert np.array_equal(pitch, heard["harvest"])
    assert agreed.tolist() == [True, False, False, False, False]
    pitch, agreed = track(np.zeros(400), RATE, Tracker("dio"))
    assert np.array_equal(pitch, heard["dio"])
    assert np.array_equal(agreed, pitch > 0)


def test_an_offset_of_the_microphone_is_not_heard() -> None:
    clip = voice(0).raw.waveform
    here, there = analyse(Audio(clip, RATE)), analyse(Audio(clip + np.float32(0.25), RATE))
    assert there.level == pytest.approx(here.level, rel=1e-4)
    assert np.allclose(there.intensity[there.active], here.intensity[there.active], atol=0.01)
    assert np.array_equal(there.active, here.active)
    assert abs(float(resynthesise(Audio(clip + np.float32(0.25), RATE)).waveform.mean())) < 1e-6


def test_active_frames_are_the_words() -> None:
    one = voice(0)
    found = analyse(one.raw)
    frames = len(found.active)
    assert found.active[one.spoken(frames, margin=0.03)].mean() > 0.9
    assert not found.active[~one.spoken(frames, margin=-0.1)].any()


@pytest.mark.parametrize("speaker", [0, 1])
def test_the_placebo_is_as_near_as_the_tool_comes(speaker: int) -> None:
    one = voice(speaker)
    again = resynthesise(one.raw)
    before, after = analyse(one.raw), analyse(again)
    assert again.sample_rate == RATE
    assert again.waveform.shape == one.raw.waveform.shape
    assert again.waveform.dtype == torch.float32
    level = np.asarray(one.raw.waveform, dtype=float).std()
    assert float(again.waveform.double().std(unbiased=False)) == pytest.approx(level, rel=1e-5)
    active = before.active
    assert np.corrcoef(before.intensity[active], after.intensity[active])[0, 1] > 0.998
    both = before.sure & after.sure
    assert both.sum() > 0.8 * before.sure.sum()
    assert np.corrcoef(np.log(before.pitch[both]), np.log(after.pitch[both]))[0, 1] > 0.98
    assert likeness(before, after) > 0.9


def test_nothing_is_random_and_nothing_is_touched() -> None:
    raw = Audio(torch.tensor(voice(0).raw.waveform), RATE)
    kept = raw.waveform.clone()
    state, own = np.random.get_state()[1].copy(), torch.get_rng_state()
    first = resynthesise(raw).waveform
    resynthesise(voice(1).raw)
    assert torch.equal(resynthesise(raw).waveform, first)
    assert torch.equal(raw.waveform, kept)
    assert np.array_equal(np.random.get_state()[1], state)
    assert torch.equal(torch.get_rng_state(), own)


def test_a_changed_recording_is_analysed_anew() -> None:
    raw = Audio(torch.tensor(voice(0).raw.waveform), RATE)
    before = analyse(raw)
    assert analyse(raw) is before
    assert analyse(raw, Tracker("dio")) is not before
    raw.waveform.mul_(0.5)
    after = analyse(raw)
    assert after.level == pytest.approx(before.level / 2, rel=1e-6)


def test_what_is_kept_cannot_be_changed() -> None:
    found = analyse(voice(0).raw)
    with pytest.raises(ValueError, match="read-only"):
        found.pitch[0] = 1.0


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 48_000])
def test_any_rate_gives_the_same_voice(rate: int) -> None:
    import torchaudio

    one = voice(0, seconds=1.6)
    clip = torch.as_tensor(one.raw.waveform)
    raw = Audio(torchaudio.functional.resample(clip, RATE, rate), rate)
    again = resynthesise(raw)
    assert (again.sample_rate, again.waveform.shape) == (rate, raw.waveform.shape)
    here, there = analyse(one.raw), analyse(again)
    assert len(there.pitch) == pytest.approx(len(here.pitch), abs=1)
    frames = min(len(here.pitch), len(there.pitch))
    both = here.sure[:frames] & there.sure[:frames]
    off = semitones(there.pitch[:frames][both]) - semitones(here.pitch[:frames][both])
    assert both.sum() > 0.75 * here.sure.sum()
    assert np.median(np.abs(off)) < 0.15


def test_channels_follow_the_rules_of_audio() -> None:
    one = voice(0, seconds=1.6).raw.waveform
    both = np.stack([one, np.zeros_like(one)])
    with pytest.raises(InputError, match="several channels"):
        resynthesise(Audio(both, RATE))
    chosen = resynthesise(Audio(both, RATE, channel=0))
    assert torch.equal(chosen.waveform, resynthesise(Audio(one, RATE)).waveform)
    assert chosen.channel is None


BAD = {
    "NaN": (Audio(np.full(8000, np.nan, np.float32), RATE), "NaN or infinite"),
    "too short": (Audio(np.zeros(799, np.float32), RATE), "too short to hold a voice"),
    "empty": (Audio(np.zeros(0, np.float32), RATE), "empty"),
    "no rate": (Audio(np.zeros(8000, np.float32)), "sample rate"),
    "rate of zero": (Audio(np.zeros(8000, np.float32), 0), "sample rate"),
    "integers": (Audio(np.zeros(8000, np.int16), RATE), "integer samples"),
    "no recording": (np.zeros(8000, np.float32), "without a sample rate"),
    "no file": ("nowhere.wav", "cannot be read"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_recording_is_refused(name: str) -> None:
    raw, wrong = BAD[name]
    with pytest.raises(InputError, match=wrong):
        analyse(raw)  # type: ignore[arg-type]


def noise(seconds: float = 0.6) -> Audio:
    clip = np.random.default_rng(0).standard_normal(round(seconds * RATE))
    return Audio((0.05 * clip).astype(np.float32), RATE)


def test_silence_stays_silence() -> None:
    raw = Audio(np.zeros(8000, np.float32), RATE)
    found = analyse(raw)
    assert not found.active.any()
    assert not found.voiced.any()
    again = resynthesise(raw).waveform
    assert again.shape == (8000,)
    assert not again.any()


def test_noise_has_no_voice_and_keeps_its_power() -> None:
    raw = noise()
    assert not analyse(raw).voiced.any()
    again = resynthesise(raw).waveform
    assert float(again.std()) == pytest.approx(raw.waveform.std(), rel=1e-3)


def test_the_shortest_clip() -> None:
    start = round(voice(1).truth.words[0][0] * RATE) + 800
    raw = Audio(voice(1).raw.waveform[start : start + 800], RATE)
    assert resynthesise(raw).waveform.shape == (800,)


@pytest.mark.parametrize(
    "settings", [{"method": "praat"}, {"floor": 10}, {"floor": 300, "ceiling": 200}]
)
def test_a_tracker_that_cannot_be(settings: dict[str, object]) -> None:
    with pytest.raises(InputError):
        Tracker(**settings)  # type: ignore[arg-type]


def test_without_pyworld_the_mend_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyworld", None)
    with pytest.raises(DependencyError, match="pyworld") as caught:
        pyworld()
    assert "pip install 'modalxai[prosody]'" in caught.value.mend


def test_inside_it_is_float64() -> None:
    one: Voice = voice(0)
    assert waveform_of(one.raw)[0].dtype == np.float64
    assert analyse(one.raw).envelope.dtype == np.float64

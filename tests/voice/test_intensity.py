from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.voice.voices import VOWELS, voice

from modalxai.datasets.tonebench.voices import Tone
from modalxai.voice.contours import speaking_rate, syllables
from modalxai.voice.intensity import MOST, SILENCE, WINDOW, active_frames, decibels, impose
from modalxai.voice.world import analyse

RATE = 16_000


def sine(seconds: float, amplitude: float = 1.0) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * 200 * np.arange(round(seconds * RATE)) / RATE)


def slowly(clip: np.ndarray, rate: int, frames: int) -> np.ndarray:
    """`decibels`, one frame at a time."""
    width = int(WINDOW * rate) // 2 * 2 + 1
    window = np.hanning(width + 2)[1:-1]
    found = []
    for frame in range(frames):
        centre = min(round(frame * 0.005 * rate), len(clip) - 1)
        total = weights = 0.0
        for offset, weight in zip(range(-(width // 2), width // 2 + 1), window, strict=True):
            if 0 <= centre + offset < len(clip):
                total += weight * clip[centre + offset] ** 2
                weights += weight
        found.append(10 * np.log10(max(total / weights, 10 ** (SILENCE / 10))))
    return np.array(found)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(60, 900))
def test_intensity_is_the_mean_power_under_a_window(seed: int, samples: int) -> None:
    clip = np.random.default_rng(seed).standard_normal(samples)
    frames = samples // 40 + 1
    assert np.allclose(decibels(clip, 8000, frames), slowly(clip, 8000, frames), atol=1e-9)


def test_decibels_are_of_full_scale() -> None:
    full = decibels(sine(0.5), RATE, 90)
    assert np.allclose(full, -3.01, atol=0.1)
    assert np.allclose(decibels(sine(0.5, 0.1), RATE, 90), full - 20, atol=1e-9)
    assert (decibels(np.zeros(8000), RATE, 90) == SILENCE).all()


def test_what_is_loud_is_active() -> None:
    clip = np.concatenate([0.001 * sine(0.5), sine(0.5), 0.001 * sine(0.5)])
    active = active_frames(decibels(clip, RATE, 300))
    assert active[107:193].all()
    assert not active[:93].any()
    assert not active[207:].any()
    assert not active_frames(np.full(100, SILENCE)).any()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_a_contour_can_be_imposed(seed: int) -> None:
    generator = np.random.default_rng(seed)
    # Kept within the 40 decibels by which a frame can be moved; the noise itself is near 0.
    knots = np.maximum(np.cumsum(generator.uniform(-6, 6, 9)) - 20, 3 - MOST)
    contour = np.interp(np.arange(161), np.arange(9) * 20, knots)
    shaped = impose(generator.standard_normal(12_800), RATE, contour)
    assert np.abs(decibels(shaped, RATE, 161) - contour).max() < 1.0


@pytest.mark.parametrize("speaker", [0, 1])
def test_nuclei_are_the_vowels(speaker: int) -> None:
    assert syllables(analyse(voice(speaker).raw)) == pytest.approx(VOWELS, abs=1)


def test_who_speaks_faster_has_the_higher_rate() -> None:
    slow, fast = (
        speaking_rate(analyse(voice(0, Tone(slope=4, rate=rate)).raw)) for rate in (0.8, 1.3)
    )
    assert fast / slow == pytest.approx(1.3 / 0.8, rel=0.2)

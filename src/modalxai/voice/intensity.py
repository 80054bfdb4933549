"""How loud each moment is, where there is speech at all, and where its syllables are.

Source of the syllables: N. de Jong, T. Wempe, Behavior Research Methods 41 (2009), 385-390.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

PERIOD = 0.005
"""Seconds from one frame to the next, in everything of this package."""
WINDOW = 0.064
"""Seconds of the Hann window over which the intensity is taken."""
SILENCE = -120.0
"""Decibels of full scale that stand for no sound at all."""
AUDIBLE = -80.0
"""Decibels of full scale below which nothing is speech: one step of 13 bits."""
QUIETEST, CLEAREST = 25.0, 20.0
"""Decibels below the loud frames (their 95th percentile): what is quieter than the first is a
pause in any clip, what is louder than the second is speech in any clip."""
ABOVE_NOISE = 6.0
"""Decibels above the quiet frames (their 5th percentile) where speech begins in between."""
DIP = 2.0
"""Decibels by which the intensity falls on both sides of a syllable's nucleus."""
STEPS, MOST = 10, 40.0
"""Steps of `impose`, and the most decibels by which it lifts or lowers a frame."""


def decibels(clip: Array, rate: int, frames: int) -> Array:
    """Intensity of a waveform [S] around frame t * 5 ms, in decibels of full scale, [T].

    The mean power under a Hann window; what the window covers beyond the clip does not count.
    """
    from scipy.signal import fftconvolve

    width = int(WINDOW * rate) // 2 * 2 + 1
    window = np.hanning(width + 2)[1:-1]
    centres = np.minimum(np.round(np.arange(frames) * PERIOD * rate).astype(int), len(clip) - 1)
    power, inside = (
        fftconvolve(values, window)[centres + width // 2]
        for values in (clip**2, np.ones_like(clip))
    )
    return np.asarray(10 * np.log10(np.maximum(power / inside, 10 ** (SILENCE / 10))))


def active_frames(intensity: Array) -> NDArray[np.bool_]:
    """Bool [T]: which frames of an intensity [T] hold speech and are no pause."""
    quiet, loud = np.percentile(intensity, [5, 95])
    threshold = min(max(quiet + ABOVE_NOISE, loud - QUIETEST), loud - CLEAREST)
    return np.asarray(intensity > max(AUDIBLE, threshold))


def impose(clip: Array, rate: int, contour: Array) -> Array:
    """The waveform [S] with a gain that gives it the intensity ``contour`` [T].

    The gain is found by fixed-point steps, because the window smears it. A dip narrower than the
    window is not reached in full.
    """
    frames = np.arange(len(contour))
    places = np.arange(len(clip)) / (rate * PERIOD)
    gain = np.zeros(len(contour))
    shaped = clip
    for _ in range(STEPS):
        gain = np.clip(gain + contour - decibels(shaped, rate, len(contour)), -MOST, MOST)
        shaped = clip * 10 ** (np.interp(places, frames, gain) / 20)
    return shaped


def nuclei(intensity: Array, voiced: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Frames [N] of the syllables' nuclei: voiced peaks of the intensity [T] between two dips."""
    from scipy.signal import find_peaks

    peaks, _ = find_peaks(intensity, prominence=DIP)
    return np.asarray(peaks[voiced[peaks]], dtype=np.int64)

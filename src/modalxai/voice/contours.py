"""Numbers about a contour: mean and spread of the pitch, spread of the intensity, speaking rate.

What cannot be measured is NaN.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from modalxai.voice.intensity import PERIOD, nuclei
from modalxai.voice.world import Analysis

Array = NDArray[np.float64]

EDGE = 3
"""Frames at either end of a voiced stretch where the pitch is a guess; 15 ms."""


def steady(voiced: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Bool [T]: voiced frames that are no edge of a voiced stretch; all, where there are none."""
    inner = voiced.copy()
    for step in range(1, EDGE + 1):
        inner[step:] &= voiced[:-step]
        inner[:-step] &= voiced[step:]
    return inner if inner.any() else voiced


def semitones(pitch: Array) -> Array:
    """Hertz to semitones above 1 Hz."""
    return np.asarray(12 * np.log2(pitch))


def pitch_mean(pitch: Array) -> float:
    """Geometric mean, hertz, over the steady voiced frames of a contour [T]."""
    heights = _heights(pitch)
    return float(2 ** (heights.mean() / 12)) if len(heights) else math.nan


def pitch_spread(pitch: Array) -> float:
    """Standard deviation, semitones, over the steady voiced frames of a contour [T]."""
    heights = _heights(pitch)
    return float(heights.std()) if len(heights) else math.nan


def pitch_range(pitch: Array) -> float:
    """Semitones from the 5th to the 95th percentile of the steady voiced frames of [T]."""
    heights = _heights(pitch)
    return float(np.ptp(np.percentile(heights, [5, 95]))) if len(heights) else math.nan


def _heights(pitch: Array) -> Array:
    return semitones(pitch[steady(pitch > 0)])


def intensity_spread(analysis: Analysis) -> float:
    """Standard deviation of the intensity over the active frames, decibels."""
    return float(analysis.intensity[analysis.active].std()) if analysis.active.any() else math.nan


def syllables(analysis: Analysis) -> int:
    """How many syllable nuclei are found."""
    return len(nuclei(analysis.intensity, analysis.voiced))


def speech_seconds(analysis: Analysis) -> float:
    """Seconds of speech, pauses left out."""
    return float(analysis.active.sum() * PERIOD)


def speaking_rate(analysis: Analysis) -> float:
    """Syllable nuclei per second of speech, pauses left out (the articulation rate)."""
    count = syllables(analysis)
    return count / speech_seconds(analysis) if count else math.nan

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


def semitones(pitch: Array) -> Array:
    """Hertz to semitones above 1 Hz."""
    return np.asarray(12 * np.log2(pitch))


def pitch_mean(pitch: Array) -> float:
    """Geometric mean, hertz, of pitches [N]."""
    return float(np.exp(np.log(pitch).mean())) if len(pitch) else math.nan


def pitch_spread(pitch: Array) -> float:
    """Standard deviation, semitones, of pitches [N]."""
    return float(semitones(pitch).std()) if len(pitch) else math.nan


def pitch_range(pitch: Array) -> float:
    """Semitones from the 5th to the 95th percentile of pitches [N]."""
    return float(np.ptp(np.percentile(semitones(pitch), [5, 95]))) if len(pitch) else math.nan


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

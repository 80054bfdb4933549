"""Skin temperature to its level and its slope."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from modalxai.biosignals.measures import FEWEST, Measures, checked_rate, checked_samples, missing

TEMPERATURE = (
    "temperature_mean",
    "temperature_variance",
    "temperature_slope",
    "temperature_intercept",
)


def temperature(values: ArrayLike | None, rate: float) -> Measures:
    """Mean, variance (over n), slope per second and intercept of the skin temperature.

    Slope and intercept are those of the least-squares line over the known samples; the intercept
    is its value at the first sample of the window. Missing where fewer than half of the samples,
    or than three, are known.

    Parameters
    ----------
    values
        Samples [S], NaN where missing; ``None`` where nothing was recorded.
    rate
        Samples per second.
    """
    if values is None:
        return missing(TEMPERATURE, "not recorded")
    samples, rate = checked_samples(values), checked_rate(rate)
    known = np.isfinite(samples)
    count = int(known.sum())
    if count < max(FEWEST, len(samples) / 2):
        return missing(TEMPERATURE, f"{count} of {len(samples)} samples known")
    seconds = np.flatnonzero(known) / rate
    slope, intercept = np.polyfit(seconds, samples[known], 1)
    found = (samples[known].mean(), samples[known].var(), slope, intercept)
    return Measures(dict(zip(TEMPERATURE, map(float, found), strict=True)), {})

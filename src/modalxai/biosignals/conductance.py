"""Skin conductance to its power in bands of frequency."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from numpy.typing import ArrayLike

from modalxai.biosignals.measures import FEWEST, Measures, checked_rate, checked_samples, missing

EDA_BANDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Edges in hertz of the bands of `eda_spectrum`. At 4 Hz sampling (Empatica E4) the last band,
2 to 5 Hz, lies above the Nyquist limit and is always missing."""


def eda_spectrum(
    eda: ArrayLike | None, rate: float, bands: Sequence[float] = EDA_BANDS
) -> Measures:
    """Power of the skin conductance in bands of 0.05 to 5 Hz, in squared units of the signal.

    A Hann window on what is left after the straight line through it. A sine of amplitude a has
    power a^2 / 2. A band is missing where the window is shorter than one period of its lower edge,
    and where its upper edge lies above half the rate. All are missing where samples are: a spectrum
    does not bear gaps. A conductance of 0 or less is no contact with the skin, and a gap.

    Parameters
    ----------
    eda
        Samples [S], NaN where missing; ``None`` where nothing was recorded.
    rate
        Samples per second.
    bands
        Rising edges in hertz.
    """
    from scipy import signal

    edges = list(pairwise(bands))
    names = [f"eda_{low:g}_{high:g}" for low, high in edges]
    if eda is None:
        return missing(names, "not recorded")
    samples, rate = checked_samples(eda), checked_rate(rate)
    gap = int((~(samples > 0)).sum())
    if gap or len(samples) < FEWEST:
        reason = f"{gap} of {len(samples)} samples missing or without contact" if gap else "empty"
        return missing(names, reason)
    frequency, density = signal.periodogram(samples, rate, "hann", detrend="linear")
    result = Measures({}, {})
    for name, (low, high) in zip(names, edges, strict=True):
        if high > rate / 2:
            result |= missing([name], f"above the Nyquist limit of {rate / 2:g} Hz")
        elif len(samples) / rate < 1 / low - 1e-9:
            result |= missing([name], f"{len(samples) / rate:g} s, shorter than {1 / low:g} s")
        else:
            inside = (frequency >= low) & (frequency < high)
            power = float(density[inside].sum() * rate / len(samples))
            result |= Measures({name: power}, {})
    return result

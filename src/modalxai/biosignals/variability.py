"""Heart-rate variability in the time domain."""

from __future__ import annotations

import numpy as np

from modalxai.biosignals.measures import FEWEST, Measures, missing
from modalxai.biosignals.recordings import Beats

HRV = ("mean_rr", "sdnn", "rmssd", "nn50")
ROUNDING = 1e-6
"""Milliseconds, far below any sampling interval."""


def hrv(beats: Beats | None) -> Measures:
    """Heart-rate variability.

    ``mean_rr``, the mean interval; ``sdnn``, the standard deviation of the intervals (n - 1);
    ``rmssd``, the root mean square of successive differences, all in milliseconds; ``nn50``, how
    many successive differences exceed 50 ms. Differences across a gap are not successive.

    References
    ----------
    Task Force of the ESC and NASPE (1996), Heart rate variability, table 1.
    """
    if beats is None:
        return missing(HRV, "not recorded")
    count = len(beats.intervals)
    if count < FEWEST:
        return missing(HRV, f"{count} intervals, fewer than {FEWEST}")
    milliseconds = 1000 * beats.intervals
    values = {"mean_rr": float(milliseconds.mean()), "sdnn": float(milliseconds.std(ddof=1))}
    steps = np.diff(milliseconds)[beats.successive()]
    if len(steps) < FEWEST - 1:
        reason = f"{len(steps)} successive differences, fewer than {FEWEST - 1}"
        return Measures(values, {}) | missing(HRV[2:], reason)
    values["rmssd"] = float(np.sqrt(np.square(steps).mean()))
    # A step of 50 ms does not exceed 50 ms, whatever its last bits say.
    values["nn50"] = float((np.abs(steps) > 50 + ROUNDING).sum())
    return Measures(values, {})

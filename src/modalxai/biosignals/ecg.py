"""An electrocardiogram to its R peaks, and to the intervals between them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modalxai.biosignals.measures import Array, checked_rate, checked_samples
from modalxai.biosignals.recordings import Beats, plausible
from modalxai.errors import InputError


def heart_beats(ecg: ArrayLike, rate: float) -> Beats:
    """Intervals between the R peaks of an electrocardiogram.

    No interval reaches across missing samples, and implausible ones are dropped. Signal quality
    is not judged: noise without a heart in it gives beats too.

    Parameters
    ----------
    ecg
        Samples [S] in any unit, NaN where missing; either polarity.
    rate
        Samples per second, above 30.
    """
    samples, rate = checked_samples(ecg), checked_rate(rate)
    if rate <= 30:
        raise InputError(
            "an electrocardiogram sampled too slowly",
            expected="more than 30 samples per second, as the band reaches 15 Hz",
            got=f"{rate:g}",
            mend="give the recording at its own rate",
        )
    times, intervals = [np.zeros(0)], [np.zeros(0)]
    known = np.flatnonzero(np.isfinite(samples))
    for run in np.split(known, np.flatnonzero(np.diff(known) > 1) + 1):
        if len(run) < 2 * rate:  # too short to learn a threshold from
            continue
        peaks = (run[0] + r_peaks(samples[run], rate)) / rate
        times.append(peaks[1:])
        intervals.append(np.diff(peaks))
    return plausible(np.concatenate(times), np.concatenate(intervals))


def r_peaks(ecg: ArrayLike, rate: float) -> NDArray[np.int64]:
    """Samples at which the R waves of a gapless electrocardiogram peak, rising.

    A band-pass of 5 to 15 Hz, slope, square, mean over 150 ms; then thresholds that follow the
    heights of beats and of noise, a dead time of 200 ms, and a second look, at half the threshold,
    where a beat is overdue by two thirds. Peaks within 100 ms of either end are left out.

    References
    ----------
    Pan and Tompkins (1985), A real-time QRS detection algorithm. Here both filters run forwards
    and backwards, so that they delay nothing.
    """
    from scipy import ndimage, signal

    samples = np.asarray(ecg, dtype=np.float64)
    band = signal.butter(2, (5.0, 15.0), "bandpass", fs=rate, output="sos")
    filtered = signal.sosfiltfilt(band, samples - samples.mean())
    energy = ndimage.uniform_filter1d(np.gradient(filtered) ** 2, max(1, round(0.15 * rate)))
    if not energy.max() > 1e-12 * (1 + np.square(samples).mean()):  # a flat line
        return np.zeros(0, dtype=np.int64)
    candidates, _ = signal.find_peaks(energy, distance=max(1, round(0.2 * rate)))
    reach = round(0.1 * rate)
    found = []
    for at in _beats(candidates, energy, round(2 * rate)):
        low = max(0, at - reach)
        found.append(low + int(np.abs(filtered[low : at + reach + 1]).argmax()))
    # Nearer to an end, what is found may be the flank of a beat that was cut off.
    whole = [at for at in found if reach <= at < len(samples) - reach]
    return np.unique(np.array(whole, dtype=np.int64))


def _beats(candidates: NDArray[np.int64], energy: Array, learning: int) -> list[int]:
    """Which peaks of the energy are beats, by thresholds that follow both kinds."""
    beat, noise = energy[:learning].max() / 2, energy[:learning].mean() / 2
    found: list[int] = []
    skipped: list[int] = []
    for at in (int(candidate) for candidate in candidates):
        threshold = noise + 0.25 * (beat - noise)
        usual = float(np.diff(found[-9:]).mean()) if len(found) > 1 else math.inf
        if found and skipped and at - found[-1] > 1.66 * usual:
            best = max(skipped, key=lambda place: energy[place])
            if energy[best] > threshold / 2:
                found.append(best)
                skipped = [place for place in skipped if place > best]
                beat += 0.25 * (energy[best] - beat)
        if energy[at] > threshold:
            found.append(at)
            skipped = []
            beat += 0.125 * (energy[at] - beat)
        else:
            skipped.append(at)
            noise += 0.125 * (energy[at] - noise)
    return found

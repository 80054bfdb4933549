"""Signal features of the body: heart beats, skin conductance, skin temperature.

What cannot be measured (a gap, too short a window, a frequency above the Nyquist limit) is NaN,
with the reason beside it, and never 0: zero is a value, and a strange one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modalxai.errors import InputError

Array = NDArray[np.float64]

EDA_BANDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Edges in hertz of the bands of `eda_spectrum`. At 4 Hz sampling (Empatica E4) the last band,
2 to 5 Hz, lies above the Nyquist limit and is always missing."""
PLAUSIBLE = (0.3, 2.0)
"""Seconds between two heart beats, 200 to 30 per minute; others are artefacts and dropped."""
ADJACENT = 0.02
"""Seconds by which beat times and intervals may disagree and still be successive."""
FEWEST = 3
"""Intervals, or samples, below which nothing is measured."""

_HRV = ("mean_rr", "sdnn", "rmssd", "nn50")
_TEMPERATURE = (
    "temperature_mean",
    "temperature_variance",
    "temperature_slope",
    "temperature_intercept",
)


@dataclass(frozen=True, eq=False)
class Biosignal:
    """The raw value of the ``biosignal`` encoder.

    Parameters
    ----------
    values
        Numbers: features [C], or samples [C, S] of C channels. NaN where missing.
    rate
        Samples per second; ``None`` for features.
    baseline
        The subject's resting value of each feature or channel, [C], NaN where unknown; what the
        removal ``"baseline"`` puts in place of the values.
    """

    values: Any
    rate: float | None = None
    baseline: Any = None


@dataclass(frozen=True)
class Measures:
    """Named numbers, and why some are missing.

    Parameters
    ----------
    values
        By name, NaN where missing.
    reasons
        By the name of each missing one, one clause.
    """

    values: Mapping[str, float]
    reasons: Mapping[str, str]

    def vector(self) -> Array:
        """The numbers in order, float64 [C], NaN where missing."""
        return np.array(list(self.values.values()), dtype=np.float64)

    def __or__(self, other: Measures) -> Measures:
        """Both, these first."""
        return Measures({**self.values, **other.values}, {**self.reasons, **other.reasons})


@dataclass(frozen=True, eq=False)
class Beats:
    """Heart beats as intervals, with gaps where beats were not seen.

    Parameters
    ----------
    times
        Seconds [N] of the beat that ends each interval, rising.
    intervals
        Seconds [N] since the beat before.
    start
        Unix time of second 0, where known.
    """

    times: Array
    intervals: Array
    start: float = 0.0

    def successive(self) -> NDArray[np.bool_]:
        """Bool [N - 1]: whether interval i + 1 begins where interval i ends."""
        return np.abs(np.diff(self.times) - self.intervals[1:]) < ADJACENT

    def gaps(self) -> tuple[tuple[float, float], ...]:
        """Stretches between the first and the last beat without an interval, in seconds."""
        ends, starts = self.times[:-1], (self.times - self.intervals)[1:]
        broken = ~self.successive()
        return tuple(
            (float(a), float(b)) for a, b in zip(ends[broken], starts[broken], strict=True)
        )

    def between(self, begin: float, end: float) -> Beats:
        """The intervals that lie wholly inside a stretch, times still in recording seconds."""
        inside = (self.times - self.intervals >= begin) & (self.times <= end)
        return Beats(self.times[inside], self.intervals[inside], self.start)


@dataclass(frozen=True, eq=False)
class Series:
    """Evenly sampled channels.

    Parameters
    ----------
    values
        Float [C, S], NaN where missing.
    rate
        Samples per second.
    start
        Unix time of the first sample, where known.
    """

    values: Array
    rate: float
    start: float = 0.0

    def between(self, begin: float, end: float) -> Array:
        """Samples [C, N] of a stretch in seconds, NaN where nothing was recorded."""
        first, last = round(begin * self.rate), round(end * self.rate)
        cut = np.full((len(self.values), max(0, last - first)), np.nan)
        low, high = max(first, 0), min(last, self.values.shape[1])
        if high > low:
            cut[:, low - first : high - first] = self.values[:, low:high]
        return cut


def read_e4(path: str | Path) -> Series | Beats:
    """A native csv file of the Empatica E4.

    Line 0 is the Unix time of the start, line 1 the rate, then a sample a line. IBI files have
    ``epoch, IBI`` in line 0 and then ``seconds, interval``; they give `Beats`, implausible
    intervals dropped.

    Raises
    ------
    InputError
        No such file, or one of another format.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
        rows = [[field.strip() for field in line.split(",")] for line in lines if line.strip()]
        if len(rows) and len(rows[0]) == 2 and rows[0][1] == "IBI":
            pairs = _table(rows[1:], 2)
            return _plausible(pairs[:, 0], pairs[:, 1], float(rows[0][0]))
        start, rate = float(rows[0][0]), float(rows[1][0])
        values = _table(rows[2:], len(rows[0])).T
    except (OSError, UnicodeDecodeError, ValueError, IndexError) as error:
        raise InputError(
            f"{path} is no file of an Empatica E4",
            expected="start time, rate, then one sample a line; or an IBI file",
            got=str(error),
            mend="give EDA.csv, TEMP.csv, BVP.csv, HR.csv, ACC.csv or IBI.csv as exported",
        ) from error
    return Series(values.copy(), _rate(rate), start)


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
    samples, rate = _samples(ecg), _rate(rate)
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
    return _plausible(np.concatenate(times), np.concatenate(intervals))


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
        return _missing(_HRV, "not recorded")
    count = len(beats.intervals)
    if count < FEWEST:
        return _missing(_HRV, f"{count} intervals, fewer than {FEWEST}")
    milliseconds = 1000 * beats.intervals
    values = {"mean_rr": float(milliseconds.mean()), "sdnn": float(milliseconds.std(ddof=1))}
    steps = np.diff(milliseconds)[beats.successive()]
    if len(steps) < FEWEST - 1:
        reason = f"{len(steps)} successive differences, fewer than {FEWEST - 1}"
        return Measures(values, {}) | _missing(_HRV[2:], reason)
    values["rmssd"] = float(np.sqrt(np.square(steps).mean()))
    values["nn50"] = float((np.abs(steps) > 50).sum())
    return Measures(values, {})


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
        return _missing(names, "not recorded")
    samples, rate = _samples(eda), _rate(rate)
    gap = int((~(samples > 0)).sum())
    if gap or len(samples) < FEWEST:
        reason = f"{gap} of {len(samples)} samples missing or without contact" if gap else "empty"
        return _missing(names, reason)
    frequency, density = signal.periodogram(samples, rate, "hann", detrend="linear")
    result = Measures({}, {})
    for name, (low, high) in zip(names, edges, strict=True):
        if high > rate / 2:
            result |= _missing([name], f"above the Nyquist limit of {rate / 2:g} Hz")
        elif len(samples) / rate < 1 / low - 1e-9:
            result |= _missing([name], f"{len(samples) / rate:g} s, shorter than {1 / low:g} s")
        else:
            inside = (frequency >= low) & (frequency < high)
            power = float(density[inside].sum() * rate / len(samples))
            result |= Measures({name: power}, {})
    return result


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
        return _missing(_TEMPERATURE, "not recorded")
    samples, rate = _samples(values), _rate(rate)
    known = np.isfinite(samples)
    count = int(known.sum())
    if count < max(FEWEST, len(samples) / 2):
        return _missing(_TEMPERATURE, f"{count} of {len(samples)} samples known")
    seconds = np.flatnonzero(known) / rate
    slope, intercept = np.polyfit(seconds, samples[known], 1)
    found = (samples[known].mean(), samples[known].var(), slope, intercept)
    return Measures(dict(zip(_TEMPERATURE, map(float, found), strict=True)), {})


def summary(
    beats: Beats | None = None,
    eda: ArrayLike | None = None,
    eda_rate: float = 4.0,
    skin: ArrayLike | None = None,
    skin_rate: float = 4.0,
) -> Measures:
    """All features of one window, in the order of `FEATURES`; NaN for what was not recorded."""
    return hrv(beats) | eda_spectrum(eda, eda_rate) | temperature(skin, skin_rate)


FEATURES: tuple[str, ...] = (
    *_HRV,
    *(f"eda_{low:g}_{high:g}" for low, high in pairwise(EDA_BANDS)),
    *_TEMPERATURE,
)
"""Names of what `summary` gives, in order."""


def standards(vectors: Sequence[ArrayLike]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each column over the known values of the training rows.

    For the ``centre`` and ``spread`` of the encoder. A column that is never known, or constant,
    gets 0 and 1, or its mean and 1.
    """
    rows = np.stack([np.asarray(vector, dtype=np.float64) for vector in vectors])
    known = np.isfinite(rows)
    count = np.maximum(known.sum(0), 1)
    centre = np.where(known, rows, 0).sum(0) / count
    spread = np.sqrt(np.where(known, (rows - centre) ** 2, 0).sum(0) / count)
    return centre.tolist(), np.where(spread > 0, spread, 1.0).tolist()


def _table(rows: list[list[str]], width: int) -> Array:
    if any(len(row) != width for row in rows):
        raise ValueError(f"lines that do not have {width} fields")
    return np.array(rows, dtype=np.float64).reshape(-1, width)


def _plausible(times: Array, intervals: Array, start: float = 0.0) -> Beats:
    good = (intervals >= PLAUSIBLE[0]) & (intervals <= PLAUSIBLE[1])
    return Beats(times[good], intervals[good], start)


def _missing(names: Sequence[str], reason: str) -> Measures:
    return Measures(dict.fromkeys(names, math.nan), dict.fromkeys(names, reason))


def _samples(values: ArrayLike) -> Array:
    samples = np.asarray(values, dtype=np.float64)
    if samples.ndim != 1:
        raise InputError(
            "a signal of the wrong shape",
            expected="[S], one channel",
            got=str(list(samples.shape)),
            mend="give one channel: series.values[0]",
        )
    return samples


def _rate(rate: float) -> float:
    if not (rate > 0 and math.isfinite(rate)):
        raise InputError(
            "an impossible sampling rate",
            expected="samples per second, above 0",
            got=repr(rate),
            mend="give the rate at which the signal was recorded",
        )
    return float(rate)

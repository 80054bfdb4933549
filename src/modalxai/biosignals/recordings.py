"""What was recorded: features, evenly sampled channels, heart beats; files of an Empatica E4."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modalxai.biosignals.measures import Array, checked_rate
from modalxai.errors import InputError

PLAUSIBLE = (0.3, 2.0)
"""Seconds between two heart beats, 200 to 30 per minute; others are artefacts and dropped."""
ADJACENT = 0.02
"""Seconds by which beat times and intervals may disagree and still be successive."""


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
            return plausible(pairs[:, 0], pairs[:, 1], float(rows[0][0]))
        start, rate = float(rows[0][0]), float(rows[1][0])
        values = _table(rows[2:], len(rows[0])).T
    except (OSError, UnicodeDecodeError, ValueError, IndexError) as error:
        raise InputError(
            f"{path} is no file of an Empatica E4",
            expected="start time, rate, then one sample a line; or an IBI file",
            got=str(error),
            mend="give EDA.csv, TEMP.csv, BVP.csv, HR.csv, ACC.csv or IBI.csv as exported",
        ) from error
    return Series(values.copy(), checked_rate(rate), start)


def plausible(times: Array, intervals: Array, start: float = 0.0) -> Beats:
    """The intervals that a heart could have; the others are artefacts."""
    good = (intervals >= PLAUSIBLE[0]) & (intervals <= PLAUSIBLE[1])
    return Beats(times[good], intervals[good], start)


def _table(rows: list[list[str]], width: int) -> Array:
    if any(len(row) != width for row in rows):
        raise ValueError(f"lines that do not have {width} fields")
    return np.array(rows, dtype=np.float64).reshape(-1, width)

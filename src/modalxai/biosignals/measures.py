"""Named numbers, those that are missing among them, and what every measure asks of a signal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modalxai.errors import InputError

Array = NDArray[np.float64]

FEWEST = 3
"""Intervals, or samples, below which nothing is measured."""


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


def missing(names: Sequence[str], reason: str) -> Measures:
    """Every name missing, for one reason."""
    return Measures(dict.fromkeys(names, math.nan), dict.fromkeys(names, reason))


def checked_samples(values: ArrayLike) -> Array:
    """One channel as float64 [S], or an InputError."""
    samples = np.asarray(values, dtype=np.float64)
    if samples.ndim != 1:
        raise InputError(
            "a signal of the wrong shape",
            expected="[S], one channel",
            got=str(list(samples.shape)),
            mend="give one channel: series.values[0]",
        )
    return samples


def checked_rate(rate: float) -> float:
    """A rate above 0, or an InputError."""
    if not (rate > 0 and math.isfinite(rate)):
        raise InputError(
            "an impossible sampling rate",
            expected="samples per second, above 0",
            got=repr(rate),
            mend="give the rate at which the signal was recorded",
        )
    return float(rate)

"""Resampling whole clusters: bootstrap, jackknife, and the bootstrap of a studentised statistic."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from modalxai.statistics.sums import Array, Statistic, divide

_CHUNK = 4_000_000  # numbers held in memory at once


def cluster_bootstrap(
    sums: Array, statistic: Statistic, *, repeats: int = 2000, seed: int = 0
) -> Array:
    """The statistic of R resamples of whole clusters, [R, Q].

    Parameters
    ----------
    sums
        Float [G, F], see `cluster_sums`.
    statistic
        From sums [..., F] to [..., Q].
    repeats, seed
        R, and the seed of `numpy.random.default_rng`.
    """
    generator = np.random.default_rng(seed)
    count = len(sums)
    return np.concatenate(
        [
            statistic(how_often(picks, count) @ sums)
            for picks in draw_clusters(generator, count, repeats, 1)
        ]
    )


def cluster_jackknife(sums: Array, statistic: Statistic) -> Array:
    """Standard error [Q] from leaving out one cluster at a time (Efron & Stein 1981)."""
    return _jackknife(statistic(sums.sum(0) - sums), len(sums))


def cluster_studentised(
    sums: Array, statistic: Statistic, *, repeats: int = 2000, seed: int = 0
) -> Array:
    """``|statistic - estimate| / se`` of R resamples of whole clusters, [R, Q].

    The standard error is the jackknife of the resample itself, leaving out one drawn cluster at a
    time. Infinite where a resample has no spread (it drew one cluster over and over) and is off
    the estimate; NaN where it is undefined.

    Parameters
    ----------
    sums, statistic, repeats, seed
        As in `cluster_bootstrap`; equal seeds draw equal resamples.
    """
    generator = np.random.default_rng(seed)
    count, estimate = len(sums), statistic(sums.sum(0))
    # Differences below the rounding of the sums are none.
    rounding = 1e-12 * np.maximum(1, np.abs(estimate))
    found = []
    for picks in draw_clusters(generator, count, repeats, sums.shape[1]):
        drawn = sums[picks]  # [rows, G, F]
        whole = drawn.sum(1)
        spread = _jackknife(statistic(whole[:, None] - drawn), count)
        off = np.abs(statistic(whole) - estimate)
        ratio = divide(off, np.where(spread > rounding, spread, 0.0))
        flat = spread <= rounding  # False where NaN
        ratio[flat] = np.where(off > rounding, np.inf, 0.0)[flat]
        ratio[np.isnan(off) | np.isnan(spread)] = np.nan
        found.append(ratio)
    return np.concatenate(found)


def draw_clusters(
    generator: np.random.Generator, count: int, repeats: int, width: int
) -> Iterator[NDArray[np.int64]]:
    """R draws of G out of G clusters, in chunks [rows, G] that keep memory bounded."""
    step = max(1, _CHUNK // (count * width))
    for start in range(0, repeats, step):
        yield generator.integers(count, size=(min(step, repeats - start), count))


def how_often(picks: NDArray[np.int64], count: int) -> Array:
    """How often each of ``count`` clusters was drawn, [rows, count], from picks [rows, ...]."""
    rows = len(picks)
    # One bincount over all rows.
    flat = (picks.reshape(rows, -1) + np.arange(rows)[:, None] * count).ravel()
    return np.bincount(flat, minlength=rows * count).reshape(rows, count).astype(np.float64)


def _jackknife(left: Array, count: int) -> Array:
    """Standard error [..., Q] from the G statistics without one cluster, [..., G, Q]."""
    apart = left - left.mean(-2, keepdims=True)
    spread: Array = np.sqrt((count - 1) / count * (apart**2).sum(-2))
    return spread

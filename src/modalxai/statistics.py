"""How sure is a number? Intervals for statistics of samples that come in clusters.

Utterances of one speaker resemble each other, so intervals that treat them as independent are too
narrow: at 68 utterances of 8 speakers their coverage fell from 95 to 62 % in our simulation. What
is resampled here is always the cluster.

Every statistic is a function of sums over samples (a ratio of means, a recall, a concordance
coefficient), so one matrix product resamples all of them. Axis letters: N samples, G clusters,
F summed terms, Q results of a statistic, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modalxai.errors import InputError

Array = NDArray[np.float64]
Statistic = Callable[[Array], Array]
"""From sums [..., F] to results [..., Q]; NaN where it is undefined."""

FEW_CLUSTERS = 20
"""Below this a percentile bootstrap is too narrow, and the jackknife takes its place."""
MOST_UNDEFINED = 0.05
"""Largest part of the resamples in which a statistic may be undefined."""
_CHUNK = 4_000_000  # draws held in memory at once


@dataclass(frozen=True, eq=False)
class Interval:
    """A statistic and how far it may be off.

    Parameters
    ----------
    estimate
        Float [Q], the statistic of the whole sample.
    low, high
        Float [Q], NaN where there is no interval.
    clusters
        G, how many clusters there were.
    method
        ``"bootstrap"``, ``"jackknife"`` or ``"none"``.
    reason
        Why there are no bounds for a result that is defined; empty where there are.
    """

    estimate: Array
    low: Array
    high: Array
    clusters: int
    method: Literal["bootstrap", "jackknife", "none"]
    reason: str = ""


IntervalOf = Callable[[ArrayLike, Statistic, Sequence[Any]], Interval]
"""`cluster_interval` with its settings fixed: terms, statistic and clusters are left to give."""


def cluster_interval(
    terms: ArrayLike,
    statistic: Statistic,
    clusters: Sequence[Any] | None = None,
    *,
    repeats: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """A two-sided interval that respects clusters.

    With 20 clusters or more the percentile bootstrap over clusters (Davison & Hinkley 1997,
    section 3.8). With fewer, where the bootstrap is too narrow, ``estimate +- t * se`` with the
    jackknife over clusters and G - 1 degrees of freedom (Cameron & Miller 2015, section VI).
    With one cluster there is nothing to learn the spread from: NaN, with the reason.

    Parameters
    ----------
    terms
        Float [N, F], what is summed.
    statistic
        From sums [..., F] to [..., Q].
    clusters
        N names; ``None`` makes every sample its own cluster.
    repeats
        R, resamples.
    level
        Coverage, between 0 and 1.
    seed
        Of the resampling. The global random state is neither read nor changed.

    Raises
    ------
    InputError
        No sample, ``terms`` that are not [N, F] or not finite, ``clusters`` of another length,
        ``repeats`` below 1 or a ``level`` outside 0..1.
    """
    _check_settings(repeats, level)
    sums = cluster_sums(terms, clusters)
    count = len(sums)
    estimate = statistic(sums.sum(0))
    if count == 1:
        nowhere = np.full_like(estimate, np.nan)
        return Interval(estimate, nowhere, nowhere, 1, "none", "one cluster only")
    if count < FEW_CLUSTERS:
        from scipy.special import stdtrit

        half = float(stdtrit(count - 1, (1 + level) / 2)) * cluster_jackknife(sums, statistic)
        low, high = estimate - half, estimate + half
        fails = bool((np.isnan(half) & ~np.isnan(estimate)).any())
        reason = "undefined without one of the clusters" if fails else ""
        return Interval(estimate, low, high, count, "jackknife", reason)
    draws = cluster_bootstrap(sums, statistic, repeats=repeats, seed=seed)
    undefined = np.isnan(draws).mean(0)
    wanted = np.array([(1 - level) / 2, (1 + level) / 2])
    low, high = np.full((2, len(estimate)), np.nan)
    usable = undefined <= MOST_UNDEFINED
    if usable.any():
        low[usable], high[usable] = np.nanquantile(draws[:, usable], wanted, axis=0)
    failing = undefined[~usable & ~np.isnan(estimate)]
    reason = f"undefined in {failing.max():.2f} of the resamples" if failing.size else ""
    return Interval(estimate, low, high, count, "bootstrap", reason)


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
    step = max(1, _CHUNK // count)
    drawn = []
    for start in range(0, repeats, step):
        rows = min(step, repeats - start)
        picks = generator.integers(count, size=(rows, count))
        # How often each cluster was drawn: one bincount over all rows of the chunk.
        flat = (picks + np.arange(rows)[:, None] * count).ravel()
        times = np.bincount(flat, minlength=rows * count).reshape(rows, count)
        drawn.append(statistic(times.astype(np.float64) @ sums))
    return np.concatenate(drawn)


def cluster_jackknife(sums: Array, statistic: Statistic) -> Array:
    """Standard error [Q] from leaving out one cluster at a time (Efron & Stein 1981)."""
    count = len(sums)
    left = statistic(sums.sum(0) - sums)
    spread: Array = np.sqrt((count - 1) / count * ((left - left.mean(0)) ** 2).sum(0))
    return spread


def cluster_sums(terms: ArrayLike, clusters: Sequence[Any] | None = None) -> Array:
    """The terms summed within each cluster, [G, F], in the order of the clusters' names.

    The order of the samples therefore does not matter to what is drawn from them.

    Raises
    ------
    InputError
        See `cluster_interval`.
    """
    values = np.asarray(terms, dtype=np.float64)
    if values.ndim != 2 or not len(values):
        raise InputError(
            "statistics need one row of terms per sample",
            expected="float [N, F] with N of at least 1",
            got=str(list(values.shape)),
            mend="give one row per sample",
        )
    if not np.isfinite(values).all():
        raise InputError(
            "terms that are not finite cannot be summed",
            expected="finite numbers",
            got=f"{int((~np.isfinite(values)).sum())} NaN or infinite",
            mend="leave these samples out, and say so",
        )
    if clusters is None:
        return values
    if len(clusters) != len(values):
        raise InputError(
            "clusters that do not fit the samples",
            expected=f"{len(values)} names",
            got=str(len(clusters)),
            mend="give each sample the name of its cluster",
        )
    places = {name: place for place, name in enumerate(sorted(set(clusters), key=_order))}
    sums = np.zeros((len(places), values.shape[1]))
    np.add.at(sums, [places[name] for name in clusters], values)
    return sums


def ratio_of_means(size: int) -> Statistic:
    """Shares of a whole, from the sums of ``size`` magnitudes and of their ``size`` counts.

    ``share_m = mean_m / sum_n mean_n``: a ratio of means, never a mean of ratios, which is
    dominated by samples with a denominator near zero. A magnitude that was never counted is no
    part of the whole, and its share is NaN.
    """

    def shares(sums: Array) -> Array:
        parts = divide(sums[..., :size], sums[..., size:])
        return divide(parts, np.nansum(parts, axis=-1, keepdims=True))

    return shares


def means(size: int) -> Statistic:
    """Means, from the sums of ``size`` values and of their ``size`` counts; NaN without any."""
    return lambda sums: divide(sums[..., :size], sums[..., size:])


def divide(upper: Array, lower: Array) -> Array:
    """``upper / lower``, NaN where the divisor is 0."""
    result: Array = np.full(upper.shape, np.nan)
    np.divide(upper, lower, out=result, where=np.broadcast_to(lower != 0, upper.shape))
    return result


def _order(name: Any) -> tuple[str, str]:
    return type(name).__name__, str(name)


def _check_settings(repeats: int, level: float) -> None:
    if repeats < 1 or not 0 < level < 1:
        raise InputError(
            "an interval cannot be made with these settings",
            expected="repeats of at least 1 and a level between 0 and 1",
            got=f"repeats={repeats}, level={level}",
            mend="use repeats=2000 and level=0.95",
        )

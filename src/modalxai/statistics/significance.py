"""Tests that respect clusters, and what many of them together are worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from modalxai.errors import InputError
from modalxai.statistics.intervals import MOST_UNDEFINED, Method, check_settings, method_for
from modalxai.statistics.resampling import cluster_jackknife, cluster_studentised
from modalxai.statistics.sums import Array, Statistic, cluster_sums, divide

_EXACT = 12
"""Up to this many clusters all 2**G flips of signs are tried."""
_CHUNK = 2_000_000  # signs held in memory at once


class Significance(NamedTuple):
    """A two-sided test.

    ``value`` [Q] is what was tested, ``p`` [Q] its p-value (NaN where there is none) and
    ``clusters`` G.
    """

    value: Array
    p: Array
    clusters: int


def sign_flip_test(
    differences: ArrayLike,
    clusters: Sequence[Any] | None = None,
    *,
    repeats: int = 4999,
    seed: int = 0,
) -> Significance:
    """Is the mean of paired differences 0? Flip the sign of whole clusters.

    If the two sides of every pair could be swapped, the cluster sums are symmetric about 0, and
    each flip of their signs was as likely as the one observed (Fisher's randomisation test, by
    clusters as in Canay, Romano & Shaikh 2017). All 2**G flips up to 12 clusters, where the test is
    exact; R random ones beyond, the observed one counted among them. G clusters give no p below
    ``2 / 2**G``: five cannot reach 0.05.

    Parameters
    ----------
    differences
        Float [N] or [N, Q]: ``|phi_audio| - |phi_text|`` of each sample, for example.
    clusters
        N names; ``None`` makes every sample its own cluster.
    repeats, seed
        R, and the seed of `numpy.random.default_rng`.

    Returns
    -------
    Significance
        ``value`` is the mean difference. With one cluster p is NaN.

    Raises
    ------
    InputError
        As for `modalxai.statistics.cluster_sums`.
    """
    check_settings(repeats, 0.95)
    values = np.asarray(differences, dtype=np.float64)
    values = values[:, None] if values.ndim == 1 else values
    sums = cluster_sums(values, clusters)
    count = len(sums)
    mean = values.mean(0)
    if count == 1:
        return Significance(mean, np.full_like(mean, np.nan), 1)
    # Equal up to rounding is equal, or the observed flip itself would not count.
    observed = np.abs(sums.sum(0)) - 1e-9 * np.abs(sums).sum(0)
    if count <= _EXACT:
        signs = 1.0 - 2.0 * (np.arange(1 << count)[:, None] >> np.arange(count) & 1)
        return Significance(mean, (np.abs(signs @ sums) >= observed).mean(0), count)
    generator, extreme = np.random.default_rng(seed), np.ones_like(mean)
    step = max(1, _CHUNK // count)
    for start in range(0, repeats, step):
        flips = generator.integers(2, size=(min(step, repeats - start), count))
        extreme += (np.abs((1.0 - 2.0 * flips) @ sums) >= observed).sum(0)
    return Significance(mean, extreme / (1 + repeats), count)


def cluster_test(
    terms: ArrayLike,
    statistic: Statistic,
    clusters: Sequence[Any] | None = None,
    *,
    null: float = 0.0,
    repeats: int = 2000,
    seed: int = 0,
    method: Method = "auto",
) -> Significance:
    """Is a statistic ``null``? The test that belongs to `cluster_interval`.

    Below 50 clusters the part of resamples whose ``|t|`` reaches the observed one, ``(1 + count)
    / (1 + R)`` (Davison & Hinkley 1997, section 4.4); with many clusters, and where bootstrap-t has
    no bounds, Student's t with G - 1 degrees of freedom and the jackknife's standard error.

    Parameters
    ----------
    terms, statistic, clusters, repeats, seed, method
        As in `cluster_interval`.
    null
        What the statistic is compared with.

    Raises
    ------
    InputError
        As for `cluster_interval`.
    """
    check_settings(repeats, 0.95, method)
    sums = cluster_sums(terms, clusters)
    count, estimate = len(sums), statistic(sums.sum(0))
    if count == 1:
        return Significance(estimate, np.full_like(estimate, np.nan), 1)
    error = cluster_jackknife(sums, statistic)
    off = np.abs(estimate - null)
    observed = divide(off, error)
    observed[(error == 0) & (off > 0)] = np.inf
    observed[(error == 0) & (off == 0)] = 0.0
    from scipy.special import stdtr

    p = 2 * stdtr(count - 1, -observed)
    if method_for(count, method) == "bootstrap-t":
        draws = cluster_studentised(sums, statistic, repeats=repeats, seed=seed)
        undefined = np.isnan(draws)
        resampled = (1 + ((draws >= observed) | undefined).sum(0)) / (1 + repeats)
        # As for intervals, without enough spread the jackknife takes its place.
        flat = np.isinf(draws).mean(0) > MOST_UNDEFINED
        p = np.where(flat, p if method == "auto" else np.nan, resampled)
        p[undefined.mean(0) > MOST_UNDEFINED] = np.nan
    return Significance(estimate, np.where(np.isnan(observed), np.nan, p), count)


def holm(p: ArrayLike) -> Array:
    """Holm's step-down adjustment (1979): below 0.05 keeps the chance of any false alarm at 5 %.

    ``p_(i)`` in ascending order becomes ``max_{j <= i} min(1, (m - j + 1) p_(j))``. NaN is no
    test: it stays NaN and does not count.

    Parameters
    ----------
    p
        Float [m], p-values in 0..1.

    Raises
    ------
    InputError
        A value outside 0..1.
    """
    values = np.asarray(p, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(values))
    if values.ndim != 1 or ((values[known] < 0) | (values[known] > 1)).any():
        raise InputError(
            "p-values out of range",
            expected="numbers in 0..1, or NaN, in one dimension",
            got=str(values.tolist())[:80],
            mend="give the p-values of one family of tests",
        )
    adjusted = np.full_like(values, np.nan)
    order = known[np.argsort(values[known], kind="stable")]
    steps = values[order] * (len(order) - np.arange(len(order)))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps)) if len(order) else steps
    return adjusted

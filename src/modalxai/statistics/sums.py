"""Sums within clusters, and the statistics that are functions of such sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modalxai.errors import InputError

Array = NDArray[np.float64]
"""Numbers in double precision."""
Statistic = Callable[[Array], Array]
"""From sums [..., F] to results [..., Q]; NaN where it is undefined."""


def cluster_sums(terms: ArrayLike, clusters: Sequence[Any] | None = None) -> Array:
    """The terms summed within each cluster, [G, F], in the order of the clusters' names.

    The order of the samples therefore does not matter to what is drawn from them.

    Parameters
    ----------
    terms
        Float [N, F], what is summed.
    clusters
        N names; ``None`` makes every sample its own cluster.

    Raises
    ------
    InputError
        No sample, ``terms`` that are not [N, F] or not finite, or ``clusters`` of another length.
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
    places = {name: place for place, name in enumerate(sorted(set(clusters), key=cluster_order))}
    sums = np.zeros((len(places), values.shape[1]))
    np.add.at(sums, [places[name] for name in clusters], values)
    return sums


def cluster_order(name: Any) -> tuple[str, str]:
    """What names of clusters are sorted by, whatever their types."""
    return type(name).__name__, str(name)


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


def difference(second: Statistic, first: Statistic, width: int) -> Statistic:
    """``second - first``, from the sums of the first's ``width`` terms and then of the second's.

    Both are resampled together, so that what two results share (speakers, utterances) makes their
    difference surer, as in any paired comparison.
    """
    return lambda sums: second(sums[..., width:]) - first(sums[..., :width])


def divide(upper: Array, lower: Array) -> Array:
    """``upper / lower``, NaN where the divisor is 0."""
    result: Array = np.full(upper.shape, np.nan)
    np.divide(upper, lower, out=result, where=np.broadcast_to(lower != 0, upper.shape))
    return result

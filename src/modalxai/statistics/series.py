"""Do biosignals fall into shapes, and do the shapes go with the emotions?

Time series are clustered by k-means under dynamic time warping, which compares shapes that run at
different speeds; the centres are barycentres under the same distance. Axis letters: N series,
C clusters.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modalxai.errors import InputError
from modalxai.statistics import warping
from modalxai.statistics.sums import Array

_MOST_STEPS = 100
_SETTLED = 1e-9
"""K-means ends when the sum of squares falls by less than this part of it."""


@dataclass(frozen=True, eq=False)
class SeriesClusters:
    """One way to divide series.

    Parameters
    ----------
    labels
        Int [N], the cluster of each series.
    centres
        C barycentres, float [T] each.
    davies_bouldin
        Davies & Bouldin (1979), under the same distance: how alike the most alike clusters are, 0
        or more; less is better.
    silhouette
        Rousseeuw (1987), under the same distance, -1 to 1; more is better.
    """

    labels: NDArray[np.intp]
    centres: tuple[Array, ...]
    davies_bouldin: float
    silhouette: float

    @property
    def count(self) -> int:
        """C."""
        return len(self.centres)


@dataclass(frozen=True)
class Association:
    """Do two ways to divide samples go together? Pearson's chi-square, and Cramér's V, 0 to 1."""

    chi2: float
    freedom: int
    p: float
    v: float


def cluster_series(
    series: Sequence[ArrayLike],
    counts: int | Sequence[int] = (2, 3, 4, 5, 6, 7, 8),
    *,
    standardise: bool = True,
    restarts: int = 3,
    seed: int = 0,
) -> list[SeriesClusters]:
    """DTW k-means with several numbers of clusters, to choose among by their indices.

    Parameters
    ----------
    series
        N series, float [T] each, of any lengths. The cost grows with N^2 and with T^2: take
        thousands at most, and resample long ones, first.
    counts
        Number of clusters, or several to try, each from 2 to N - 1.
    standardise
        Bring each series to zero mean and unit variance, so that its shape is compared and not its
        level. A series that never varies becomes zeros.
    restarts
        How often k-means starts anew; the tightest result is kept.
    seed
        Of the starts. The global random state is neither read nor changed.

    Returns
    -------
    list of SeriesClusters
        One per count, in their order.

    Raises
    ------
    InputError
        Series that are no finite numbers, or counts that do not fit them.
    """
    values = [_checked(one, number, standardise) for number, one in enumerate(series)]
    counts = [counts] if isinstance(counts, int) else list(counts)
    wrong = [count for count in counts if not 2 <= count <= len(values) - 1]
    if not counts or wrong or restarts < 1:
        raise InputError(
            "numbers of clusters that do not fit",
            expected=f"2 to N - 1 = {len(values) - 1}, and a restart or more",
            got=f"counts={counts}, restarts={restarts}",
            mend="try fewer clusters, or give more series",
        )
    apart = warping.distances(values, values)
    generator, found = np.random.default_rng(seed), []
    for count in counts:
        tries = [_k_means(values, apart, count, generator) for _ in range(restarts)]
        labels, centres, _ = min(tries, key=lambda one: one[2])
        found.append(
            SeriesClusters(
                labels=labels,
                centres=tuple(centres),
                davies_bouldin=davies_bouldin(
                    warping.distances(values, centres), warping.distances(centres, centres), labels
                ),
                silhouette=silhouette(apart, labels),
            )
        )
    return found


def _k_means(
    values: Sequence[Array], apart: Array, count: int, generator: np.random.Generator
) -> tuple[NDArray[np.intp], list[Array], float]:
    """Labels [N], centres, and the sum of squared distances to them, which falls at each step."""
    centres = [values[row].copy() for row in _start(apart, count, generator)]
    least = np.inf
    for _ in range(_MOST_STEPS):
        squares = warping.distances(values, centres) ** 2
        labels = squares.argmin(1)
        for empty in sorted(set(range(count)) - set(labels.tolist())):
            # An empty cluster takes the series that fits its own worst, and is not alone there.
            own = squares[np.arange(len(labels)), labels]
            own[np.bincount(labels, minlength=count)[labels] < 2] = -1.0
            lost = int(own.argmax())
            labels[lost], centres[empty] = empty, values[lost].copy()
            squares[lost, empty] = 0.0
        total = float(squares[np.arange(len(labels)), labels].sum())
        if total >= least * (1 - _SETTLED):
            break
        least = total
        members = [np.flatnonzero(labels == one).tolist() for one in range(count)]
        centres = [
            warping.barycentre([values[row] for row in rows], centre)
            for rows, centre in zip(members, centres, strict=True)
        ]
    return labels, centres, total


def _start(apart: Array, count: int, generator: np.random.Generator) -> list[int]:
    """Rows to start from, likely far apart: k-means++ (Arthur & Vassilvitskii 2007)."""
    rows = [int(generator.integers(len(apart)))]
    while len(rows) < count:
        square = apart[:, rows].min(1) ** 2
        square[rows] = 0
        if not square.any():  # all others are equal to one of these
            square = np.ones(len(apart))
            square[rows] = 0
        rows.append(int(generator.choice(len(apart), p=square / square.sum())))
    return rows


def silhouette(apart: Array, labels: NDArray[np.intp]) -> float:
    """The mean of ``(b - a) / max(a, b)``: a the mean distance to one's own cluster, b to the next.

    0 for a sample that is alone in its cluster.

    Parameters
    ----------
    apart
        Float [N, N].
    labels
        Int [N], of two clusters or more.
    """
    member = labels[:, None] == np.unique(labels)  # [N, C]
    totals, sizes = apart @ member, member.sum(0)
    own = sizes[member.argmax(1)]
    within = np.where(member, totals, 0).sum(1) / np.maximum(own - 1, 1)
    next_best = np.where(member, np.inf, totals / sizes).min(1)
    most = np.maximum(within, next_best)
    width = np.divide(next_best - within, most, out=np.zeros(len(most)), where=most > 0)
    return float(np.where(own > 1, width, 0.0).mean())


def davies_bouldin(to_centres: Array, between: Array, labels: NDArray[np.intp]) -> float:
    """The index from distances alone, so that it holds for any of them.

    Parameters
    ----------
    to_centres
        Float [N, C], from each sample to each centre.
    between
        Float [C, C], between centres.
    labels
        Int [N], the cluster of each sample; there are two clusters or more, and each has one.
    """
    count = len(between)
    own = to_centres[np.arange(len(labels)), labels]
    spread = np.array([own[labels == one].mean() for one in range(count)])
    # Centres that coincide are as alike as can be; a cluster is not compared with itself.
    alike = np.full((count, count), np.inf)
    np.divide(spread[:, None] + spread, between, out=alike, where=between > 0)
    np.fill_diagonal(alike, -np.inf)
    return float(alike.max(1).mean())


def association(first: Sequence[Hashable], second: Sequence[Hashable]) -> Association:
    """Do clusters go with emotions? ``chi2`` over the table of both, and its strength V.

    Raises
    ------
    InputError
        Different lengths, or fewer than two values on a side.
    """
    from scipy.stats import chi2_contingency

    rows, columns = ({name: place for place, name in enumerate(dict.fromkeys(side))}
                     for side in (first, second))  # fmt: skip
    if len(first) != len(second) or min(len(rows), len(columns)) < 2:
        raise InputError(
            "nothing to associate",
            expected="two divisions of the same samples, each into two or more",
            got=f"{len(first)} samples in {len(rows)}, {len(second)} in {len(columns)}",
            mend="give one cluster and one emotion per sample",
        )
    table = np.zeros((len(rows), len(columns)))
    np.add.at(table, ([rows[one] for one in first], [columns[one] for one in second]), 1)
    found = chi2_contingency(table, correction=False)
    v = np.sqrt(found.statistic / len(first) / (min(table.shape) - 1))
    return Association(float(found.statistic), int(found.dof), float(found.pvalue), float(v))


def _checked(one: ArrayLike, number: int, standardise: bool) -> Array:
    values = np.asarray(one, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise InputError(
            f"series {number} cannot be compared",
            expected="finite numbers [T]",
            got=f"{list(values.shape)}, {int((~np.isfinite(values)).sum())} not finite",
            mend="cut or fill the gaps first, or leave the series out",
        )
    if not standardise:
        return values
    spread = values.std()
    shape: Array = (values - values.mean()) / (spread if spread > 0 else 1.0)
    return shape

"""Several training seeds of one recipe: what would another seed, on other speakers, give?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from modalxai.errors import InputError
from modalxai.statistics.intervals import (
    MOST_UNDEFINED,
    Interval,
    check_settings,
    students_quantile,
)
from modalxai.statistics.resampling import cluster_jackknife, how_often
from modalxai.statistics.sums import Array, Statistic, cluster_order, cluster_sums


def nested_interval(
    terms_by_seed: Sequence[ArrayLike],
    statistic: Statistic,
    clusters: Sequence[Any] | Sequence[Sequence[Any]] | None = None,
    *,
    repeats: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    method: Literal["two-way", "bootstrap"] = "two-way",
) -> Interval:
    """The mean of a statistic over training seeds, and its interval over seeds and clusters.

    ``"two-way"``: ``estimate +- t * se`` with the variance over seeds, plus that over clusters,
    less what both count (Cameron, Gelbach & Miller 2011), each by the jackknife; t has the degrees
    of freedom of Satterthwaite (1946). ``"bootstrap"``: percentiles of the nested bootstrap, see
    `nested_bootstrap`. Five seeds say little about seeds, and percentiles of five do not know it:
    where the seeds alone decide they cover 89 %, the two-way interval 93 %; where clusters do, 95
    and 96 % (``benchmarks/interval_coverage.py``).

    Parameters
    ----------
    terms_by_seed
        S arrays, float [N, F], one per training seed; N may differ.
    statistic
        From sums [..., F] to [..., Q], of one seed.
    clusters
        N names that hold for every seed, or S such lists; ``None`` makes every sample, by its
        place, its own cluster, the same ones for every seed.
    repeats, level, seed
        As in `modalxai.statistics.cluster_interval`; the two-way interval draws nothing.

    Returns
    -------
    Interval
        ``estimate`` [Q] is the mean over seeds; ``clusters`` counts all different ones.

    Raises
    ------
    InputError
        Fewer than two seeds (use `cluster_interval`), or as for `cluster_interval`.
    """
    check_settings(repeats, level)
    if method not in ("two-way", "bootstrap"):
        raise InputError(
            "no such interval over seeds",
            expected="'two-way' or 'bootstrap'",
            got=repr(method),
            mend="leave the method out",
        )
    sums, held = _by_seed(terms_by_seed, clusters)
    count = held.shape[1]
    whole = np.stack([statistic(table.sum(0)) for table in sums])  # [S, Q]
    estimate = whole.mean(0)
    if count == 1:
        nowhere = np.full_like(estimate, np.nan)
        return Interval(estimate, nowhere, nowhere, 1, "none", "one cluster only")
    if method == "bootstrap":
        draws = nested_bootstrap(sums, held, statistic, repeats=repeats, seed=seed)
        undefined = np.isnan(draws).mean(0)
        low, high = np.full((2, len(estimate)), np.nan)
        usable = undefined <= MOST_UNDEFINED
        tails = [(1 - level) / 2, (1 + level) / 2]
        if usable.any():
            low[usable], high[usable] = np.nanquantile(draws[:, usable], tails, axis=0)
        failing = undefined[~usable & ~np.isnan(estimate)]
        reason = f"undefined in {failing.max():.2f} of the resamples" if failing.size else ""
        return Interval(estimate, low, high, count, "nested", reason)
    half = _two_way(sums, held, whole, statistic, level)
    fails = bool((np.isnan(half) & ~np.isnan(estimate)).any())
    reason = "undefined without one of the clusters" if fails else ""
    return Interval(estimate, estimate - half, estimate + half, count, "nested", reason)


def nested_bootstrap(
    sums: Sequence[Array],
    held: Array,
    statistic: Statistic,
    *,
    repeats: int = 2000,
    seed: int = 0,
) -> Array:
    """The mean over seeds of R resamples of S seeds and of clusters, [R, Q].

    Clusters that several seeds share are drawn once for all of them, or what the speakers have in
    common would be averaged away (the pigeonhole bootstrap, Owen 2007); where no two seeds share
    one, they are drawn within each drawn seed (Davison & Hinkley 1997, section 3.8).

    Parameters
    ----------
    sums
        S arrays [G, F] over the same G clusters, 0 where a seed does not have the cluster.
    held
        Bool [S, G], whether it has.
    """
    generator = np.random.default_rng(seed)
    seeds, count = held.shape
    chosen = generator.integers(seeds, size=(repeats, seeds))
    if (held.sum(0) > 1).any():
        often = how_often(generator.integers(count, size=(repeats, count)), count)
        values = np.stack([statistic(often @ table) for table in sums], axis=1)  # [R, S, Q]
        drawn: Array = np.take_along_axis(values, chosen[..., None], axis=1).mean(1)
        return drawn
    total = 0.0
    for slot in range(seeds):
        values = np.empty((repeats, len(statistic(sums[0].sum(0)))))
        for one, table in enumerate(sums):
            rows, own = np.flatnonzero(chosen[:, slot] == one), table[held[one]]
            picks = generator.integers(len(own), size=(len(rows), len(own)))
            values[rows] = statistic(how_often(picks, len(own)) @ own)
        total = total + values / seeds
    return np.asarray(total)


def _two_way(
    sums: Sequence[Array], held: Array, whole: Array, statistic: Statistic, level: float
) -> Array:
    """Half the width of the interval, [Q]."""
    seeds, count = held.shape
    over_seeds = whole.var(0, ddof=1) / seeds
    left = np.mean([statistic(table.sum(0) - table) for table in sums], axis=0)  # [G, Q]
    over_clusters = (count - 1) / count * ((left - left.mean(0)) ** 2).sum(0)
    # What is left to chance within each seed is in both of them.
    errors = [
        cluster_jackknife(table[own], statistic) for table, own in zip(sums, held, strict=True)
    ]
    twice = (np.stack(errors) ** 2).sum(0) / seeds**2
    larger = np.maximum(over_seeds, over_clusters)
    variance = np.maximum(over_seeds + over_clusters - twice, larger)
    parts = over_seeds**2 / (seeds - 1) + over_clusters**2 / (count - 1)
    total = (over_seeds + over_clusters) ** 2
    freedom = np.divide(total, parts, out=np.ones_like(total), where=parts > 0)
    half: Array = students_quantile(np.maximum(freedom, 1), level) * np.sqrt(variance)
    return half


def _by_seed(
    terms_by_seed: Sequence[ArrayLike],
    clusters: Sequence[Any] | Sequence[Sequence[Any]] | None,
) -> tuple[list[Array], Array]:
    """Sums of every seed over all clusters, and which of them it has."""
    tables = [np.asarray(terms, dtype=np.float64) for terms in terms_by_seed]
    if len(tables) < 2:
        raise InputError(
            "the spread over training seeds needs several of them",
            expected="terms of two seeds or more, better five",
            got=str(len(tables)),
            mend="use cluster_interval for one model, and train others",
        )
    if clusters is None:
        names: list[Sequence[Any]] = [range(len(table)) for table in tables]
    elif len(clusters) and all(isinstance(own, list | tuple | np.ndarray) for own in clusters):
        names = list(clusters)
    else:
        names = [clusters] * len(tables)
    if len(names) != len(tables):
        raise InputError(
            "clusters that do not fit the seeds",
            expected=f"{len(tables)} lists of names, or one for all seeds",
            got=str(len(names)),
            mend="give each seed the names of its samples' clusters",
        )
    everyone = sorted({name for own in names for name in own}, key=cluster_order)
    sums, held = [], np.zeros((len(tables), len(everyone)), dtype=bool)
    for row, (table, own) in enumerate(zip(tables, names, strict=True)):
        within = cluster_sums(table, own)
        held[row] = np.isin(np.arange(len(everyone)), [everyone.index(n) for n in set(own)])
        placed = np.zeros((len(everyone), within.shape[1]))
        placed[held[row]] = within  # both in the order of the names
        sums.append(placed)
    return sums, held

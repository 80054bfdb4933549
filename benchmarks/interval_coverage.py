"""How often do 95 % intervals hold the truth? Simulated speakers, with a known true share.

Every repetition draws clusters of eight samples (or of very unequal sizes, mean eight), each with
two contributions, and asks for the interval of the mean of the first and of the first's share of
the magnitudes. ICC is the part of the variance that the samples of a cluster have in common.

    python benchmarks/interval_coverage.py [--repetitions 2000]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from scipy.special import erf

from modalxai.statistics import (
    cluster_interval,
    cluster_sums,
    means,
    nested_interval,
    ratio_of_means,
)

CENTRES = np.array([0.5, 1.0])
SIZES = np.sqrt(2 / np.pi) * np.exp(-(CENTRES**2) / 2) + CENTRES * erf(CENTRES / np.sqrt(2))
TRUTH = np.array([CENTRES[0], SIZES[0] / SIZES.sum()])  # means of the folded normal distribution
METHODS = ("auto", "jackknife", "bootstrap")
# clusters, samples in each, sizes, ICC
DESIGNS = [
    *((8, 8, sizes, icc) for sizes in ("equal", "unequal") for icc in (0.0, 0.1, 0.3)),
    *((30, 8, sizes, icc) for sizes in ("equal", "unequal") for icc in (0.0, 0.1, 0.3)),
    (60, 8, "equal", 0.3),
    (60, 8, "unequal", 0.3),
    (68, 1, "equal", 0.0),
    (200, 1, "equal", 0.0),
]


def sample(generator, clusters: int, each: int, sizes: str, icc: float):
    """Contributions [N, 2] and the cluster of each sample."""
    counts = np.full(clusters, each)
    if sizes == "unequal":  # some speakers speak twenty times as much as others
        counts = 1 + generator.poisson(generator.gamma(1.0, each - 1, size=clusters))
    names = np.repeat(np.arange(clusters), counts)
    shared = np.sqrt(icc) * generator.normal(size=(clusters, 2))[names]
    return CENTRES + shared + np.sqrt(1 - icc) * generator.normal(size=(len(names), 2)), names


def mean_and_share(sums: np.ndarray) -> np.ndarray:
    """From the sums of the first, both magnitudes and the count."""
    share = ratio_of_means(2)(sums[..., [1, 2, 3, 3]])[..., :1]
    return np.concatenate([means(1)(sums[..., [0, 3]]), share], axis=-1)


def coverage(clusters: int, each: int, sizes: str, icc: float, methods, repetitions: int):
    """By method, the part of the intervals that hold the truth: of the mean, of the share."""
    generator, hits = np.random.default_rng(11), np.zeros((len(methods), 2))
    for seed in range(repetitions):
        values, names = sample(generator, clusters, each, sizes, icc)
        terms = np.column_stack([values[:, 0], np.abs(values), np.ones(len(values))])
        sums = cluster_sums(terms, names)
        for place, method in enumerate(methods):
            found = cluster_interval(sums, mean_and_share, repeats=399, seed=seed, method=method)
            hits[place] += (found.low <= TRUTH) & (found.high >= TRUTH)
    return hits / repetitions


def coverage_over_seeds(of_seeds: float, of_clusters: float, method: str, repetitions: int):
    """The same of a mean over 5 training seeds, tested on the same 30 clusters of 8."""
    generator, hits = np.random.default_rng(11), 0
    names = np.repeat(np.arange(30), 8)
    for seed in range(repetitions):
        speaker = np.sqrt(of_clusters * 30) * generator.normal(size=30)[names]
        tables = []
        for _ in range(5):
            own = np.sqrt(of_seeds * 5) * generator.normal()
            values = own + speaker + generator.normal(size=len(names))
            tables.append(np.column_stack([values, np.ones(len(names))]))
        found = nested_interval(tables, means(1), names, repeats=399, seed=seed, method=method)
        hits += int(found.low[0] <= 0 <= found.high[0])
    return hits / repetitions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=2000)
    repetitions = parser.parse_args().repetitions
    start = time.perf_counter()
    print(f"Coverage in % of nominal 95 % intervals, {repetitions} repetitions: mean / share")
    print("clusters  each    sizes  ICC" + "".join(f"{method:>16}" for method in METHODS))
    for design in DESIGNS:
        # From 50 clusters on "auto" is "bootstrap".
        found = coverage(*design, METHODS if design[0] < 50 else METHODS[:2], repetitions)
        cells = [" / ".join(f"{100 * part:.1f}" for part in one) for one in found]
        clusters, each, sizes, icc = design
        print(
            f"{clusters:>8} {each:>5} {sizes:>8}  {icc:.1f}"
            + "".join(f"{cell:>16}" for cell in cells),
            flush=True,
        )
    print("\n5 training seeds, 30 clusters; standard deviation of the mean due to seeds, clusters")
    for seeds, clusters in ((0.0, 0.1), (0.1, 0.1), (0.1, 0.0)):
        cells = [
            f"{m} {100 * coverage_over_seeds(seeds**2, clusters**2, m, repetitions):.1f}"
            for m in ("two-way", "bootstrap")
        ]
        print(f"{seeds:.1f}, {clusters:.1f}: {', '.join(cells)}", flush=True)
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()

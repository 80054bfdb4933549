from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modalxai.errors import InputError
from modalxai.statistics import (
    cluster_bootstrap,
    cluster_interval,
    cluster_jackknife,
    cluster_studentised,
    cluster_sums,
    means,
    ratio_of_means,
    resampling,
)


def _mean_terms(values: np.ndarray) -> np.ndarray:
    return np.stack([values, np.ones_like(values)], axis=1)


def _clustered(generator, clusters: int, each: int, icc: float) -> tuple[np.ndarray, list[str]]:
    shared = generator.normal(size=clusters) * np.sqrt(icc)
    own = generator.normal(size=(clusters, each)) * np.sqrt(1 - icc)
    names = [f"s{row}" for row in range(clusters) for _ in range(each)]
    return (shared[:, None] + own).ravel(), names


def _coverage(clusters: int, each: int, icc: float, use_clusters: bool, runs: int = 2000) -> float:
    generator = np.random.default_rng(5)
    hits = 0
    for run in range(runs):
        values, names = _clustered(generator, clusters, each, icc)
        found = cluster_interval(
            _mean_terms(values), means(1), names if use_clusters else None, repeats=399, seed=run
        )
        hits += int(found.low[0] <= 0 <= found.high[0])
    return hits / runs


@pytest.mark.parametrize(
    ("clusters", "each", "icc"), [(30, 4, 0.1), (30, 4, 0.3), (60, 4, 0.3), (100, 1, 0.0)]
)
def test_intervals_cover_what_they_say(clusters, each, icc):
    assert 0.93 <= _coverage(clusters, each, icc, use_clusters=each > 1) <= 0.97


def test_eight_clusters_are_covered():
    assert 0.93 <= _coverage(8, 8, 0.3, use_clusters=True) <= 0.98


def test_ignoring_the_clusters_would_not_cover():
    assert _coverage(40, 8, 0.3, use_clusters=False, runs=300) < 0.85


def test_bootstrap_equals_resampling_the_samples_one_by_one():
    generator = np.random.default_rng(1)
    values, names = _clustered(generator, 22, 3, 0.5)
    magnitudes = np.abs(np.stack([values, generator.normal(size=len(values))], axis=1))
    terms = np.concatenate([magnitudes, np.ones_like(magnitudes)], axis=1)
    fast = cluster_bootstrap(cluster_sums(terms, names), ratio_of_means(2), repeats=50, seed=3)

    drawn = np.random.default_rng(3).integers(22, size=(50, 22))
    ordered = sorted(set(names))
    slow = []
    for draw in drawn:
        rows = [row for pick in draw for row, name in enumerate(names) if name == ordered[pick]]
        first, second = magnitudes[rows, 0].mean(), magnitudes[rows, 1].mean()
        slow.append([first / (first + second), second / (first + second)])
    np.testing.assert_allclose(fast, slow, rtol=1e-12)


def test_drawing_in_chunks_changes_nothing(monkeypatch):
    sums = np.random.default_rng(0).normal(size=(25, 2)) + 5
    whole = cluster_bootstrap(sums, means(1), repeats=40, seed=9)
    students = cluster_studentised(sums, means(1), repeats=40, seed=9)
    monkeypatch.setattr(resampling, "_CHUNK", 25 * 7)
    chunked = cluster_bootstrap(sums, means(1), repeats=40, seed=9)
    np.testing.assert_allclose(chunked, whole, rtol=1e-12)
    again = cluster_studentised(sums, means(1), repeats=40, seed=9)
    np.testing.assert_allclose(again, students, rtol=1e-9)


def test_jackknife_of_a_mean_is_the_textbook_standard_error():
    values = np.random.default_rng(2).normal(size=12)
    error = cluster_jackknife(_mean_terms(values), means(1))
    np.testing.assert_allclose(error, values.std(ddof=1) / np.sqrt(12), rtol=1e-12)


def test_the_jackknife_gives_the_students_interval():
    values = np.random.default_rng(2).normal(size=12)
    found = cluster_interval(_mean_terms(values), means(1), method="jackknife")
    half = 2.200985160082949 * values.std(ddof=1) / np.sqrt(12)  # t, 11 degrees of freedom
    assert found.method == "jackknife"
    np.testing.assert_allclose(found.low, values.mean() - half)
    np.testing.assert_allclose(found.high, values.mean() + half)


@pytest.mark.parametrize(
    ("count", "method"),
    [(2, "jackknife"), (3, "jackknife"), (4, "bootstrap-t"), (19, "bootstrap-t"),
     (49, "bootstrap-t"), (50, "bootstrap")],
)  # fmt: skip
def test_the_number_of_clusters_chooses_the_method(count, method):
    found = cluster_interval(_mean_terms(np.arange(count) % 7.0), means(1), repeats=200)
    assert found.method == method
    assert np.isfinite([found.low, found.high]).all()


def test_studentised_resamples_equal_a_slow_oracle():
    generator = np.random.default_rng(8)
    values, names = _clustered(generator, 9, 3, 0.5)
    magnitudes = np.abs(np.stack([values, generator.normal(size=len(values))], axis=1))
    sums = cluster_sums(np.concatenate([magnitudes, np.ones_like(magnitudes)], axis=1), names)
    fast = cluster_studentised(sums, ratio_of_means(2), repeats=30, seed=3)

    def share(rows):
        first, second, *counts = sums[rows].sum(0)
        return (first / counts[0]) / (first / counts[0] + second / counts[1])

    for draw, found in zip(np.random.default_rng(3).integers(9, size=(30, 9)), fast, strict=True):
        left = [share(np.delete(draw, place)) for place in range(9)]
        error = np.sqrt(8 / 9 * np.sum((left - np.mean(left)) ** 2))
        assert found[0] == pytest.approx(abs(share(draw) - share(np.arange(9))) / error)


def test_bootstrap_t_is_the_quantile_of_its_resamples():
    values = np.random.default_rng(2).exponential(size=12)
    found = cluster_interval(_mean_terms(values), means(1), repeats=499, seed=1)
    draws = np.sort(cluster_studentised(_mean_terms(values), means(1), repeats=499, seed=1)[:, 0])
    half = draws[int(np.ceil(0.95 * 498))] * values.std(ddof=1) / np.sqrt(12)
    assert found.high[0] - found.estimate[0] == pytest.approx(half)
    assert found.estimate[0] - found.low[0] == pytest.approx(half)


def test_bootstrap_t_of_two_clusters_has_no_bounds_and_says_why():
    found = cluster_interval([[1.0, 1.0], [3.0, 1.0]], means(1), method="bootstrap-t")
    assert np.isnan([found.low, found.high]).all()
    assert found.reason == "unbounded: too many resamples have no spread"


@pytest.mark.parametrize("count", [2, 8, 60])
def test_what_never_varies_has_no_width(count):
    found = cluster_interval(_mean_terms(np.full(count, 0.3)), means(1), repeats=50)
    np.testing.assert_allclose([found.low[0], found.high[0]], 0.3)


def test_the_bootstrap_of_a_mean_is_the_students_interval():
    values = np.random.default_rng(3).normal(size=60)
    wide = cluster_interval(_mean_terms(values), means(1), repeats=100_000, method="bootstrap")
    students = cluster_interval(_mean_terms(values), means(1), method="jackknife")
    assert wide.low[0] == pytest.approx(students.low[0], abs=0.01)
    assert wide.high[0] == pytest.approx(students.high[0], abs=0.01)


@pytest.mark.parametrize("count", [7, 60])
def test_singleton_clusters_are_independent_samples(count):
    terms = _mean_terms(np.random.default_rng(4).normal(size=count))
    alone = cluster_interval(terms, means(1), None)
    named = cluster_interval(terms, means(1), [f"{row:03d}" for row in range(count)])
    np.testing.assert_array_equal([alone.low, alone.high], [named.low, named.high])
    assert alone.clusters == named.clusters == count


@given(st.permutations(range(44)))
@settings(max_examples=10, deadline=None)
def test_order_of_samples_does_not_matter(order):
    values, names = _clustered(np.random.default_rng(6), 22, 2, 0.2)
    straight = cluster_interval(_mean_terms(values), means(1), names, repeats=50)
    mixed = cluster_interval(
        _mean_terms(values[order]), means(1), [names[row] for row in order], repeats=50
    )
    np.testing.assert_allclose([mixed.low, mixed.high], [straight.low, straight.high], rtol=1e-9)


def test_the_seed_decides_and_the_global_state_is_left_alone():
    terms = _mean_terms(np.random.default_rng(7).normal(size=30))
    np.random.seed(11)
    before = np.random.get_state()[1].copy()
    first = cluster_interval(terms, means(1), seed=1)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    np.testing.assert_array_equal(cluster_interval(terms, means(1), seed=1).low, first.low)
    assert cluster_interval(terms, means(1), seed=2).low != first.low


def test_one_cluster_has_no_interval_and_says_why():
    found = cluster_interval([[1.0, 1.0], [3.0, 1.0]], means(1), ["s", "s"])
    assert found.estimate == 2
    assert np.isnan([found.low, found.high]).all()
    assert found.reason == "one cluster only"


def test_a_statistic_that_is_often_undefined_has_no_interval():
    rare = np.zeros((30, 2))
    rare[0] = 1  # in about a third of the resamples this sample is missing
    found = cluster_interval(rare, means(1))
    assert found.estimate == 1
    assert np.isnan(found.low)
    assert "undefined" in found.reason


def test_shares_are_a_ratio_of_means_over_those_counted():
    shares = ratio_of_means(3)(np.array([6.0, 1.0, 0.0, 2.0, 1.0, 0.0]))
    np.testing.assert_allclose(shares, [0.75, 0.25, np.nan])


@pytest.mark.parametrize(
    ("terms", "clusters", "options"),
    [
        (np.zeros((0, 2)), None, {}),
        (np.zeros(3), None, {}),
        ([[np.nan, 1.0]], None, {}),
        ([[1.0, 1.0]], ["a", "b"], {}),
        ([[1.0, 1.0]], None, {"level": 95}),
        ([[1.0, 1.0]], None, {"repeats": 0}),
        ([[1.0, 1.0]], None, {"method": "bca"}),
    ],
)
def test_bad_input_is_refused(terms, clusters, options):
    with pytest.raises(InputError):
        cluster_interval(terms, means(1), clusters, **options)

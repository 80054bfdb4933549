from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modalxai.errors import InputError
from modalxai.statistics import (
    cluster_interval,
    cluster_sums,
    cluster_test,
    difference,
    holm,
    means,
    nested_bootstrap,
    nested_interval,
    sign_flip_test,
)


def _mean_terms(values) -> np.ndarray:
    return np.stack([values, np.ones_like(values)], axis=1)


# Holm's own rule, hypothesis by hypothesis, smallest p first.
def _rejected_by_holm(p: list[float], level: float) -> set[int]:
    rejected = set()
    for step, place in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        if p[place] > level / (len(p) - step):
            break
        rejected.add(place)
    return rejected


@given(
    st.lists(st.integers(1, 999).map(lambda n: n / 1000), min_size=1, max_size=8),
    st.sampled_from([0.013, 0.0517, 0.2013]),
)
def test_holm_rejects_what_the_step_down_rule_rejects(p, level):
    adjusted = holm(p)
    assert {i for i, value in enumerate(adjusted) if value <= level} == _rejected_by_holm(p, level)


def test_holm_equals_a_worked_example():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])


def test_what_was_not_tested_does_not_count():
    np.testing.assert_allclose(holm([np.nan, 0.03, 0.01]), [np.nan, 0.03, 0.02])
    assert np.isnan(holm([np.nan])).all()
    assert holm([]).shape == (0,)


@pytest.mark.parametrize("p", [[1.2], [-0.1], [[0.1]]])
def test_p_values_out_of_range_are_refused(p):
    with pytest.raises(InputError, match="p-values"):
        holm(p)


def test_sign_flips_equal_all_flips_one_by_one():
    values = np.random.default_rng(0).normal(size=14) + 0.4
    names = list("aabbccddeeffgg")
    sums = [values[i] + values[i + 1] for i in range(0, 14, 2)]
    flips = [abs(np.dot(signs, sums)) for signs in product([1, -1], repeat=7)]
    expected = np.mean([flip >= abs(sum(sums)) - 1e-12 for flip in flips])
    found = sign_flip_test(values, names)
    assert found.p[0] == pytest.approx(expected)
    assert found.value[0] == pytest.approx(values.mean())
    assert found.clusters == 7


def test_random_flips_agree_with_all_of_them(monkeypatch):
    values = np.random.default_rng(1).normal(size=12) + 0.4
    exact = sign_flip_test(values).p[0]
    monkeypatch.setattr("modalxai.statistics.significance._EXACT", 3)
    drawn = sign_flip_test(values, repeats=40_000).p[0]
    assert drawn == pytest.approx(exact, abs=0.006)
    assert drawn != exact


def test_five_clusters_cannot_reach_five_percent():
    assert sign_flip_test(np.full(50, 1.0), list("abcde") * 10).p[0] == pytest.approx(2 / 32)
    assert np.isnan(sign_flip_test([1.0, 2.0], ["a", "a"]).p).all()


@pytest.mark.parametrize("test", ["flips", "bootstrap-t", "many"])
def test_a_true_null_is_rejected_in_a_twentieth(test):
    generator, alarms, runs = np.random.default_rng(3), 0, 1000
    clusters = 60 if test == "many" else 14
    names = np.repeat(np.arange(clusters), 3)
    for run in range(runs):
        values = generator.normal(size=clusters)[names] + generator.normal(size=len(names))
        if test == "flips":
            p = sign_flip_test(values, names, repeats=199, seed=run).p[0]
        else:
            p = cluster_test(_mean_terms(values), means(1), names, repeats=199, seed=run).p[0]
        alarms += int(p <= 0.05)
    assert 0.03 <= alarms / runs <= 0.07


@pytest.mark.parametrize("count", [3, 12, 70])
def test_the_test_belongs_to_the_interval(count):
    values = np.random.default_rng(count).normal(size=count) + 0.6
    found = cluster_interval(_mean_terms(values), means(1), repeats=999)
    for edge in (found.low[0], found.high[0]):
        p = cluster_test(_mean_terms(values), means(1), null=edge, repeats=999).p[0]
        assert p == pytest.approx(0.05, abs=0.012)
    assert cluster_test(_mean_terms(values), means(1), null=values.mean()).p[0] == 1


def test_a_test_without_spread_is_certain_and_of_one_cluster_is_none():
    terms = _mean_terms(np.ones(3))
    assert cluster_test(terms, means(1), null=1.0).p[0] == 1
    assert cluster_test(terms, means(1), null=0.0).p[0] < 0.001
    assert np.isnan(cluster_test(terms, means(1), ["s", "s", "s"]).p).all()


def test_a_paired_difference_is_surer_than_an_unpaired_one():
    generator = np.random.default_rng(2)
    before = generator.normal(size=40)
    after = before + 0.3 + 0.1 * generator.normal(size=40)
    change = difference(means(1), means(1), 2)
    paired = np.concatenate([_mean_terms(before), _mean_terms(after)], axis=1)
    nothing = np.zeros((40, 2))
    apart = np.concatenate(
        [
            np.concatenate([_mean_terms(before), nothing], axis=1),
            np.concatenate([nothing, _mean_terms(after)], axis=1),
        ]
    )
    close, wide = cluster_interval(paired, change), cluster_interval(apart, change)
    assert close.estimate == pytest.approx(wide.estimate)
    assert close.estimate[0] == pytest.approx((after - before).mean())
    assert wide.high[0] - wide.low[0] > 4 * (close.high[0] - close.low[0])
    alone = cluster_interval(_mean_terms(after - before), means(1))
    np.testing.assert_allclose([close.low, close.high], [alone.low, alone.high])


def _seeds(generator, seeds=5, clusters=30, each=4, own=0.0, speaker=0.0, shared=True):
    tables, names = [], []
    common = generator.normal(size=clusters)
    for seed in range(seeds):
        common = common if shared else generator.normal(size=clusters)
        values = np.sqrt(own) * generator.normal() + np.sqrt(speaker) * np.repeat(common, each)
        tables.append(_mean_terms(values + generator.normal(size=clusters * each)))
        prefix = "" if shared else f"{seed}-"
        names.append([f"{prefix}s{row:02d}" for row in range(clusters) for _ in range(each)])
    return tables, names


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(("own", "speaker"), [(0.0, 1.0), (0.05, 1.0), (0.3, 0.0)])
def test_intervals_over_seeds_cover(own, speaker, shared):
    generator, hits, runs = np.random.default_rng(7), 0, 1000
    for _ in range(runs):
        tables, names = _seeds(generator, own=own, speaker=speaker, shared=shared)
        found = nested_interval(tables, means(1), names)
        hits += int(found.low[0] <= 0 <= found.high[0])
    assert 0.92 <= hits / runs <= 0.98


def test_ignoring_the_seeds_would_not_cover():
    generator, hits, runs = np.random.default_rng(7), 0, 300
    for _ in range(runs):
        tables, names = _seeds(generator, own=0.3)
        pooled = np.concatenate(tables), [name for own in names for name in own]
        found = cluster_interval(pooled[0], means(1), pooled[1], repeats=100)
        hits += int(found.low[0] <= 0 <= found.high[0])
    assert hits / runs < 0.6


def test_disjoint_seeds_are_a_sample_of_seeds():
    tables, names = _seeds(np.random.default_rng(1), own=0.3, speaker=0.5, shared=False)
    averages = [table[:, 0].mean() for table in tables]
    found = nested_interval(tables, means(1), names)
    assert found.estimate[0] == pytest.approx(np.mean(averages))
    assert found.clusters == 150
    # Between-seed spread already holds what the clusters do: the textbook standard error.
    error = np.std(averages, ddof=1) / np.sqrt(5)
    assert (found.high[0] - found.low[0]) / 2 == pytest.approx(
        2.776 * error, rel=0.35
    )  # t of 4 degrees of freedom, a little less with Satterthwaite's


def test_the_nested_bootstrap_equals_drawing_by_hand():
    tables, names = _seeds(np.random.default_rng(4), seeds=3, clusters=6, own=0.2, speaker=0.5)
    sums = [cluster_sums(table, own) for table, own in zip(tables, names, strict=True)]
    held = np.ones((3, 6), dtype=bool)
    fast = nested_bootstrap(sums, held, means(1), repeats=40, seed=9)
    generator = np.random.default_rng(9)
    seeds = generator.integers(3, size=(40, 3))
    clusters = generator.integers(6, size=(40, 6))
    for found, chosen, drawn in zip(fast, seeds, clusters, strict=True):
        slow = []
        for one in chosen:
            values = [
                tables[one][row, 0]
                for pick in drawn
                for row, name in enumerate(names[one])
                if name == f"s{pick:02d}"
            ]
            slow.append(np.mean(values))
        assert found[0] == pytest.approx(np.mean(slow))


def test_the_nested_bootstrap_draws_clusters_within_seeds_that_share_none():
    tables, names = _seeds(np.random.default_rng(4), own=0.0, speaker=1.0, shared=False)
    found = nested_interval(tables, means(1), names, method="bootstrap")
    two = nested_interval(tables, means(1), names)
    assert found.estimate == pytest.approx(two.estimate)
    assert found.low[0] < found.estimate[0] < found.high[0]
    assert 0.5 < (found.high[0] - found.low[0]) / (two.high[0] - two.low[0]) < 1.6


@pytest.mark.parametrize("method", ["two-way", "bootstrap"])
def test_order_of_samples_and_shared_names_do_not_matter(method):
    tables, names = _seeds(np.random.default_rng(4), own=0.1, speaker=0.5)
    order = np.random.default_rng(1).permutation(len(names[0]))
    straight = nested_interval(tables, means(1), names[0], method=method, repeats=50)
    mixed = nested_interval(
        [table[order] for table in tables],
        means(1),
        [[own[row] for row in order] for own in names],
        method=method,
        repeats=50,
    )
    np.testing.assert_allclose([mixed.low, mixed.high], [straight.low, straight.high])


@settings(deadline=None, max_examples=5)
@given(st.integers(2, 6))
def test_equal_seeds_leave_the_spread_of_the_clusters(seeds):
    tables, names = _seeds(np.random.default_rng(4), seeds=1, speaker=1.0)
    found = nested_interval(tables * seeds, means(1), names[0])
    alone = cluster_interval(tables[0], means(1), names[0], method="jackknife")
    np.testing.assert_allclose([found.low, found.high], [alone.low, alone.high], rtol=1e-6)


def test_seeds_that_cannot_be_compared_are_refused():
    tables, names = _seeds(np.random.default_rng(4), seeds=3)
    with pytest.raises(InputError, match="several"):
        nested_interval(tables[:1], means(1), names[0])
    with pytest.raises(InputError, match="fit the seeds"):
        nested_interval(tables, means(1), names[:2])
    with pytest.raises(InputError, match="no such interval"):
        nested_interval(tables, means(1), names, method="bca")
    alone = nested_interval(tables, means(1), ["s"] * len(names[0]))
    assert np.isnan(alone.low).all()
    assert alone.reason == "one cluster only"

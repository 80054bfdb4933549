from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multicomp import pairwise_tukeyhsd
from statsmodels.stats.oneway import anova_oneway

from modalxai.errors import InputError
from modalxai.statistics.groups import (
    bartlett,
    effect_sizes,
    games_howell,
    hedges_g,
    levene,
    normality,
    welch_anova,
)

SPRAYS = {
    "A": [10, 7, 20, 14, 14, 12, 10, 23, 17, 20, 14, 13],
    "B": [11, 17, 21, 11, 16, 14, 17, 17, 19, 21, 7, 13],
    "C": [0, 1, 7, 2, 3, 1, 2, 1, 3, 0, 1, 4],
    "D": [3, 5, 12, 6, 4, 3, 5, 5, 5, 5, 2, 4],
    "E": [3, 5, 3, 5, 3, 6, 1, 1, 3, 2, 6, 4],
    "F": [11, 9, 15, 22, 15, 16, 13, 10, 26, 26, 24, 13],
}
"""Beall (1942), Biometrika 32: R's InsectSprays."""
SLEEP = {
    "1": [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0],
    "2": [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4],
}
"""Student (1908), Biometrika 6: R's sleep."""


def _long(table):
    values = np.concatenate([np.asarray(one, dtype=float) for one in table.values()])
    return values, [name for name, one in table.items() for _ in one]


def test_published_numbers_of_insect_sprays():
    # R: bartlett.test(count ~ spray, InsectSprays), K-squared = 25.96, df = 5, p = 9.085e-05.
    found = bartlett(*_long(SPRAYS))
    assert found.statistic == pytest.approx(25.96, abs=5e-3)
    assert found.p == pytest.approx(9.085e-05, rel=1e-4)
    assert found.freedom == (5,)
    # R: oneway.test(count ~ spray, InsectSprays), F = 36.065, df = 5 and 30.043, p = 7.999e-12.
    found = welch_anova(*_long(SPRAYS))
    assert found.statistic == pytest.approx(36.065, abs=5e-4)
    assert found.freedom == pytest.approx((5, 30.043), abs=5e-4)
    assert found.p == pytest.approx(7.999e-12, rel=1e-4)
    # https://rstudio-pubs-static.s3.amazonaws.com/191720_4c630e0dd02c4a8d97c71702527c4210.html
    assert effect_sizes(*_long(SPRAYS)).eta2 == pytest.approx(0.72, abs=5e-3)


def test_published_numbers_of_sleep_two_groups_are_welchs_t_test():
    # R: t.test(extra ~ group, sleep), t = -1.8608, df = 17.776, p = 0.07939,
    # 95 percent interval -3.3654832 to 0.2054832.
    (pair,) = games_howell(*_long(SLEEP))
    assert pair.t == pytest.approx(-1.8608, abs=5e-5)
    assert pair.freedom == pytest.approx(17.776, abs=5e-4)
    assert pair.p == pytest.approx(0.07939, abs=5e-6)
    assert (pair.low, pair.high) == pytest.approx((-3.3654832, 0.2054832), abs=1e-6)
    found = welch_anova(*_long(SLEEP))
    assert found.statistic == pytest.approx(1.8608**2, abs=5e-4)
    assert found.p == pytest.approx(0.07939, abs=5e-6)


def test_games_howell_equals_statsmodels_on_insect_sprays():
    values, names = _long(SPRAYS)
    theirs = pairwise_tukeyhsd(values, names, use_var="unequal")
    ours = games_howell(values, names)
    assert [(one.first, one.second) for one in ours] == [
        (first, second) for place, first in enumerate("ABCDEF") for second in "ABCDEF"[place + 1 :]
    ]
    assert [-one.difference for one in ours] == pytest.approx(theirs.meandiffs.tolist())
    assert [one.p for one in ours] == pytest.approx(theirs.pvalues.tolist(), abs=1e-6)
    bounds = np.array([(-one.high, -one.low) for one in ours])
    assert bounds == pytest.approx(theirs.confint, abs=1e-4)


tables = st.integers(2, 3).flatmap(
    lambda count: st.tuples(st.just(count), st.integers(0, 9999), st.booleans())
)


@settings(max_examples=5, deadline=None)
@given(tables)
def test_random_groups_equal_statsmodels_and_scipy(drawn):
    count, seed, apart = drawn
    generator = np.random.default_rng(seed)
    table = {
        f"g{one}": generator.normal(one * apart, 0.5 + one, generator.integers(3, 30))
        for one in range(count)
    }
    values, names = _long(table)
    found = welch_anova(values, names)
    theirs = anova_oneway(list(table.values()), use_var="unequal")
    assert found.statistic == pytest.approx(theirs.statistic)
    assert found.p == pytest.approx(theirs.pvalue)
    assert found.freedom == pytest.approx(theirs.df)
    pairs = pairwise_tukeyhsd(values, names, use_var="unequal")
    assert [one.p for one in games_howell(values, names)] == pytest.approx(
        pairs.pvalues.tolist(), abs=1e-6
    )
    for center in ("mean", "median"):
        assert levene(values, names, center).p == pytest.approx(
            stats.levene(*table.values(), center=center).pvalue
        )


def test_levene_equals_an_anova_of_distances():
    values, names = _long(SPRAYS)
    off = [np.abs(np.array(one) - np.median(one)) for one in SPRAYS.values()]
    want = stats.f_oneway(*off)
    found = levene(values, names)
    assert (found.statistic, found.p) == pytest.approx((want.statistic, want.pvalue))
    assert found.freedom == (5, 66)


def test_normality_is_told_by_group():
    generator = np.random.default_rng(0)
    table = {"normal": generator.normal(size=200), "skewed": generator.exponential(size=200)}
    for method in ("shapiro", "dagostino"):
        found = normality(*_long(table), method)
        assert found["normal"].p > 0.05
        assert found["skewed"].p < 1e-6
    with pytest.raises(InputError, match="cannot be compared"):
        normality(*_long(SPRAYS), "dagostino")
    with pytest.raises(InputError, match="too large"):
        normality(np.arange(6000.0), ["a"] * 5990 + ["b"] * 10)


def test_effect_sizes_equal_their_definitions():
    values, names = _long(SPRAYS)
    groups = [np.array(one, dtype=float) for one in SPRAYS.values()]
    within = sum(((one - one.mean()) ** 2).sum() for one in groups)
    total = ((values - values.mean()) ** 2).sum()
    found = effect_sizes(values, names)
    assert found.eta2 == pytest.approx(1 - within / total)
    spread = within / 66
    assert found.omega2 == pytest.approx((total - within - 5 * spread) / (total + spread))
    first, second = groups[0], groups[5]
    d = (first.mean() - second.mean()) / math.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 2)
    # Hedges (1981), equation 4 is within 0.007 of the exact factor; at m = 22 far closer.
    assert hedges_g(first, second) == pytest.approx(d * (1 - 3 / (4 * 22 - 1)), rel=1e-3)
    exact = math.gamma(11) / (math.sqrt(11) * math.gamma(10.5))
    assert hedges_g(first, second) == pytest.approx(d * exact)


def test_omega_is_about_zero_where_nothing_differs_and_eta_is_not():
    generator = np.random.default_rng(1)
    names = [f"g{row % 5}" for row in range(50)]
    found = [effect_sizes(generator.normal(size=50), names) for _ in range(300)]
    assert np.mean([one.omega2 for one in found]) == pytest.approx(0, abs=0.01)
    assert np.mean([one.eta2 for one in found]) == pytest.approx(4 / 49, abs=0.01)


def test_the_order_of_samples_changes_nothing():
    values, names = _long({name: SPRAYS[name] for name in "ACF"})
    order = np.random.default_rng(2).permutation(len(values))
    mixed = values[order], [names[row] for row in order]
    assert welch_anova(*mixed).p == pytest.approx(welch_anova(values, names).p)
    assert [one.first for one in games_howell(*mixed)] == [
        one.first for one in games_howell(values, names)
    ]


def test_mistakes_are_named():
    values, names = _long(SLEEP)
    for test, arguments, wrong in [
        (welch_anova, (values[:-1], names), "cannot be compared by group"),
        (welch_anova, ([math.nan, *values[1:]], names), "cannot be compared by group"),
        (welch_anova, (values, ["a"] * 20), "two groups|groups that cannot"),
        (welch_anova, (values, ["a"] * 19 + ["b"]), "groups that cannot"),
        (welch_anova, ([1.0, 1.0, 2.0, 3.0], "aabb"), "all equal"),
        (bartlett, ([1.0, 1.0, 2.0, 3.0], "aabb"), "all equal"),
        (games_howell, ([1.0, 1.0, 2.0, 3.0], "aabb"), "all equal"),
        (games_howell, (values, names, 95), "a level"),
        (effect_sizes, ([1.0, 1.0, 1.0, 1.0], "aabb"), "all equal"),
        (hedges_g, ([1.0], [1.0, 2.0]), "groups that cannot"),
        (hedges_g, ([1.0, 1.0], [2.0, 2.0]), "all equal"),
    ]:
        with pytest.raises(InputError, match=wrong):
            test(*arguments)

"""Does a measure differ between emotions? Tests, post hoc pairs and effect sizes.

Whether valence, arousal or skin temperature says anything about the emotion decides whether it is
worth a stream of its own. In the order of the question: are the groups normal, are their variances
equal (`bartlett`, `levene`), do their means differ although they are not (`welch_anova`), which
pairs differ (`games_howell`), and by how much (`effect_sizes`, `hedges_g`).

All of these take samples as independent. Utterances of one speaker are not: with few speakers the
p-values are too small, and `modalxai.statistics.cluster_test` is the safer question.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from modalxai.errors import InputError
from modalxai.statistics.sums import Array, cluster_order

Groups = Sequence[Hashable]


@dataclass(frozen=True)
class GroupTest:
    """A test over all groups.

    Parameters
    ----------
    name
        Of the test.
    statistic, p
        Its value and p-value.
    freedom
        Degrees of freedom: of the groups and, where there is a second number, of the samples.
    """

    name: str
    statistic: float
    p: float
    freedom: tuple[float, ...]


@dataclass(frozen=True)
class PairTest:
    """Two groups compared.

    Parameters
    ----------
    first, second
        Their names.
    difference, low, high
        Mean of the first minus that of the second, and its simultaneous interval.
    error
        The standard error of the difference.
    t, freedom, p
        Welch's t, its degrees of freedom, and the p-value adjusted for all pairs.
    g
        Hedges' g.
    """

    first: Hashable
    second: Hashable
    difference: float
    low: float
    high: float
    error: float
    t: float
    freedom: float
    p: float
    g: float


@dataclass(frozen=True)
class EffectSizes:
    """How much of the variance lies between groups: ``eta2`` of the sample, ``omega2`` corrected.

    ``omega2 = (SSB - df_B MSW) / (SST + MSW)`` (Hays 1963) is nearly unbiased, and below 0 where
    the groups differ less than chance would make them.
    """

    eta2: float
    omega2: float


def by_group(values: ArrayLike, groups: Groups, least: int = 2) -> dict[Hashable, Array]:
    """The values of each group, sorted by the groups' names.

    Parameters
    ----------
    values
        Float [N].
    groups
        N names.
    least
        How many values a group needs.

    Raises
    ------
    InputError
        Other lengths, values that are not finite, fewer than two groups, or groups too small.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or len(numbers) != len(groups) or not np.isfinite(numbers).all():
        raise InputError(
            "values that cannot be compared by group",
            expected="finite numbers [N] and N groups",
            got=f"{list(numbers.shape)}, {int((~np.isfinite(numbers)).sum())} of them not finite, "
            f"and {len(groups)} groups",
            mend="leave out what was not measured, in both",
        )
    names = sorted(set(groups), key=cluster_order)
    found = {
        name: numbers[[row for row, group in enumerate(groups) if group == name]] for name in names
    }
    small = {name: len(one) for name, one in found.items() if len(one) < least}
    if len(names) < 2 or small:
        raise InputError(
            "groups that cannot be compared",
            expected=f"two groups or more, each of {least} values or more",
            got=str(small or names),
            mend="leave the groups out that are too small, and say so",
        )
    return found


def bartlett(values: ArrayLike, groups: Groups) -> GroupTest:
    """Bartlett's test (1937) of equal variances; it also answers to groups that are not normal."""
    from scipy import stats

    found = _varying(values, groups)
    statistic, p = stats.bartlett(*found.values())
    return GroupTest("Bartlett", float(statistic), float(p), (len(found) - 1,))


def levene(
    values: ArrayLike, groups: Groups, center: Literal["median", "mean"] = "median"
) -> GroupTest:
    """Levene's test of equal variances.

    Around the mean as Levene (1960) has it, or the median as Brown & Forsythe (1974), which holds
    its level where groups are skewed.
    """
    from scipy import stats

    found = _varying(values, groups)
    statistic, p = stats.levene(*found.values(), center=center)
    count = sum(map(len, found.values()))
    return GroupTest(
        f"Levene ({center})", float(statistic), float(p), (len(found) - 1, count - len(found))
    )


def normality(
    values: ArrayLike, groups: Groups, method: Literal["shapiro", "dagostino"] = "shapiro"
) -> dict[Hashable, GroupTest]:
    """Is each group normal? By group; hundreds of samples make any deviation significant.

    Parameters
    ----------
    values, groups
        As in `by_group`.
    method
        ``"shapiro"``: Shapiro & Wilk (1965), 3 to 5000 values, beyond which its p-value is not
        known. ``"dagostino"``: D'Agostino & Pearson (1973), from skewness and kurtosis, 20 values
        or more.

    Raises
    ------
    InputError
        A group of another size, or as for `by_group`.
    """
    from scipy import stats

    least, most = {"shapiro": (3, 5000), "dagostino": (20, None)}[method]
    found = _varying(values, groups, least)
    large = {name: len(one) for name, one in found.items() if most and len(one) > most}
    if large:
        raise InputError(
            "groups too large for the test of Shapiro and Wilk",
            expected=f"{most} values at most",
            got=str(large),
            mend='use method="dagostino"',
        )
    test = stats.shapiro if method == "shapiro" else stats.normaltest
    tested = {name: test(one) for name, one in found.items()}
    return {
        name: GroupTest(method, float(one.statistic), float(one.pvalue), ())
        for name, one in tested.items()
    }


def welch_anova(values: ArrayLike, groups: Groups) -> GroupTest:
    """Do the means differ, whatever the variances? Welch (1951).

    With weights ``w = n / s2`` and the weighted mean m, ``F = sum w (mean - m)^2 / (k - 1)``
    divided by ``1 + 2 (k - 2) / (k^2 - 1) L``, where ``L = sum (1 - w / sum w)^2 / (n - 1)``; its
    degrees of freedom are ``k - 1`` and ``(k^2 - 1) / (3 L)``.

    Raises
    ------
    InputError
        As for `by_group`, or a group whose values are all equal.
    """
    from scipy.special import fdtrc

    found = list(_varying(values, groups).values())
    count = len(found)
    sizes, means, spreads = _moments(found)
    weights = sizes / spreads
    middle = (weights * means).sum() / weights.sum()
    slack = ((1 - weights / weights.sum()) ** 2 / (sizes - 1)).sum()
    upper = (weights * (means - middle) ** 2).sum() / (count - 1)
    statistic = float(upper / (1 + 2 * (count - 2) / (count**2 - 1) * slack))
    freedom = float((count**2 - 1) / (3 * slack))
    p = float(fdtrc(count - 1, freedom, statistic))
    return GroupTest("Welch's ANOVA", statistic, p, (count - 1, freedom))


def games_howell(values: ArrayLike, groups: Groups, level: float = 0.95) -> list[PairTest]:
    """Which pairs of means differ, whatever the variances and sizes? Games & Howell (1976).

    Welch's t of each pair, referred to the studentised range of all k groups at Welch's degrees of
    freedom: ``p = P(Q > sqrt(2) |t|)``.

    Parameters
    ----------
    values, groups
        As in `by_group`.
    level
        Of the simultaneous intervals.

    Raises
    ------
    InputError
        As for `welch_anova`, or a level outside 0..1.
    """
    from scipy.stats import studentized_range

    if not 0 < level < 1:
        raise InputError(
            "a level out of range",
            expected="between 0 and 1",
            got=repr(level),
            mend="0.95 is usual",
        )
    found = _varying(values, groups)
    made = []
    for first, second in combinations(found, 2):
        one, other = found[first], found[second]
        shares = np.array([one.var(ddof=1) / len(one), other.var(ddof=1) / len(other)])
        error = float(np.sqrt(shares.sum()))
        freedom = float(shares.sum() ** 2 / (shares**2 / [len(one) - 1, len(other) - 1]).sum())
        difference = float(one.mean() - other.mean())
        t = difference / error
        reach = float(studentized_range.ppf(level, len(found), freedom)) * error / np.sqrt(2)
        made.append(
            PairTest(
                first=first,
                second=second,
                difference=difference,
                low=float(difference - reach),
                high=float(difference + reach),
                error=error,
                t=t,
                freedom=freedom,
                p=float(studentized_range.sf(np.sqrt(2) * abs(t), len(found), freedom)),
                g=hedges_g(one, other),
            )
        )
    return made


def effect_sizes(values: ArrayLike, groups: Groups) -> EffectSizes:
    """Eta and omega squared; see `EffectSizes`.

    Raises
    ------
    InputError
        As for `by_group`, or values that are all equal.
    """
    found = by_group(values, groups)
    whole = np.concatenate(list(found.values()))
    total = ((whole - whole.mean()) ** 2).sum()
    within = sum(((one - one.mean()) ** 2).sum() for one in found.values())
    if not total:
        raise _flat("all groups")
    spread = within / (len(whole) - len(found))
    between = total - within
    omega = (between - (len(found) - 1) * spread) / (total + spread)
    return EffectSizes(float(between / total), float(omega))


def hedges_g(first: ArrayLike, second: ArrayLike) -> float:
    """The difference of two means in pooled standard deviations, without its small-sample bias.

    Hedges (1981): Cohen's d times ``gamma(m / 2) / (sqrt(m / 2) gamma((m - 1) / 2))``, with ``m =
    n1 + n2 - 2``.

    Raises
    ------
    InputError
        Fewer than two values on a side, or values that are all equal on both.
    """
    from scipy.special import gammaln

    one, other = (np.asarray(side, dtype=np.float64) for side in (first, second))
    found = by_group(np.concatenate([one, other]), [0] * len(one) + [1] * len(other))
    sizes, means, spreads = _moments(list(found.values()))
    freedom = float(sizes.sum() - 2)
    pooled = float(((sizes - 1) * spreads).sum() / freedom)
    if not pooled:
        raise _flat("both groups")
    bias = np.exp(gammaln(freedom / 2) - gammaln((freedom - 1) / 2)) / np.sqrt(freedom / 2)
    return float((means[0] - means[1]) / np.sqrt(pooled) * bias)


def _moments(found: Sequence[Array]) -> tuple[Array, Array, Array]:
    sizes = np.array([len(one) for one in found], dtype=np.float64)
    means = np.array([one.mean() for one in found])
    return sizes, means, np.array([one.var(ddof=1) for one in found])


def _varying(values: ArrayLike, groups: Groups, least: int = 2) -> dict[Hashable, Array]:
    found = by_group(values, groups, least)
    if flat := [name for name, one in found.items() if np.ptp(one) == 0]:
        raise _flat(f"group {flat[0]!r}")
    return found


def _flat(which: str) -> InputError:
    return InputError(
        f"the values of {which} are all equal",
        expected="values that vary",
        got="a variance of 0",
        mend="leave the group out, or measure more finely",
    )

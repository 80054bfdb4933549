"""Is a predictor better than one that never looks? The rule behind every "at chance".

On unbalanced corpora the usual headline scores do not notice that nothing was learnt: on KEMDy20
the constant "neutral" has a weighted F1 of 0.81. So the rule reads scores that no constant can
raise: the unweighted average recall of classes, which is 1 / C for each of them, and the
concordance correlation of numbers, which is 0.
"""

from __future__ import annotations

import math

import numpy as np

from modalxai.statistics import Array, divide

ROUNDING = 1e-9
"""A constant predictor is exactly at chance, up to rounding."""


def at_chance(low: float) -> bool | None:
    """Whether an interval of ``value - chance`` that starts at ``low`` reaches down to chance.

    ``None`` where there is no interval (NaN). The interval is of the difference within each
    resample of clusters, so it is paired: what makes a resample easy for the model makes it easy
    for the constant too.
    """
    return None if math.isnan(low) else low <= ROUNDING


def recall_gain(sums: Array) -> Array:
    """``UAR - 1 / C``, from how often each class is true and was hit, [..., 2 C] to [...].

    C counts the classes that these sums hold: in a resample without a class, a constant reaches
    more.
    """
    true, hits = np.split(sums, 2, axis=-1)
    total = np.nansum(divide(hits, true), axis=-1)
    return divide(total - 1, (true > 0).sum(-1).astype(np.float64))


def concordance(sums: Array) -> Array:
    """Concordance correlation (Lin 1989) of the sums n, x, y, xx, yy, xy, [..., 6] to [...].

    ``2 cov / (var_x + var_y + (mean_x - mean_y) ** 2)``, variances divided by n; NaN where the
    denominator is 0: nothing varies, and the means agree.
    """
    of_x, of_y, shared, apart = _moments(sums)
    return divide(2 * shared, of_x + of_y + apart)


def correlation(sums: Array) -> Array:
    """Pearson's correlation of the sums n, x, y, xx, yy, xy, [..., 6] to [...]."""
    of_x, of_y, shared, _ = _moments(sums)
    both = np.maximum(of_x, 0) * np.maximum(of_y, 0)
    return divide(shared, np.sqrt(np.where(both > ROUNDING**2, both, 0)))


def moment_terms(x: Array, y: Array) -> Array:
    """What `concordance` and `correlation` sum, [...] and [...] to [..., 6].

    Shift both by one number first where they are large: no concordance changes, and the sums of
    squares stay small.
    """
    return np.stack([np.ones_like(y), x, y, x * x, y * y, x * y], axis=-1)


def _moments(sums: Array) -> tuple[Array, Array, Array, Array]:
    count = sums[..., 0]
    mean_x, mean_y = divide(sums[..., 1], count), divide(sums[..., 2], count)
    return (
        divide(sums[..., 3], count) - mean_x**2,
        divide(sums[..., 4], count) - mean_y**2,
        divide(sums[..., 5], count) - mean_x * mean_y,
        (mean_x - mean_y) ** 2,
    )

"""Scores of classes, as functions of three counts per class.

Every sample adds one row of 3 C terms: the class it has, the class it is said to have, and the
class in which both agree. All scores are functions of their sums, so that one matrix product
resamples them all. Axis letters: N samples, C classes, Q scores.

A class that is neither true nor said anywhere has no F1 (NaN) and is left out of averages; a class
that is said and never true has an F1 of 0 and counts in the macro average; recalls are averaged
over the classes that are true somewhere. This is what scikit-learn does in ``f1_score(...,
labels=None)``, with ``zero_division=nan`` where classes are named, and in
``balanced_accuracy_score``.
"""

from __future__ import annotations

import numpy as np

from modalxai.metrics.reading import Bools
from modalxai.statistics import Array, divide


def class_terms(truth: Bools, said: Bools) -> Array:
    """Bool [N, C] each, one-hot for classes, multi-hot for label sets, to terms [N, 3 C]."""
    return np.concatenate([truth, said, truth & said], axis=-1).astype(np.float64)


def f1s(sums: Array) -> Array:
    """F1 of each class, [..., 3 C] to [..., C]: ``2 hits / (true + said)``."""
    true, said, hits = np.split(sums, 3, axis=-1)
    return divide(2 * hits, true + said)


def macro_f1(sums: Array) -> Array:
    """The mean of the F1s that are defined, [..., 3 C] to [...]."""
    scores = f1s(sums)
    defined = ~np.isnan(scores)
    return divide(np.nansum(scores, axis=-1), defined.sum(-1).astype(np.float64))


def weighted_f1(sums: Array) -> Array:
    """The mean of the F1s, weighted by how often each class is true, [..., 3 C] to [...]."""
    true = np.split(sums, 3, axis=-1)[0]
    return divide(np.nansum(true * f1s(sums), axis=-1), true.sum(-1))


def recalls(sums: Array) -> Array:
    """Recall of each class, [..., 3 C] to [..., C]; NaN for a class that is never true."""
    true, _, hits = np.split(sums, 3, axis=-1)
    return divide(hits, true)


def uar(sums: Array) -> Array:
    """Unweighted average recall, [..., 3 C] to [...]."""
    found = recalls(sums)
    return divide(np.nansum(found, axis=-1), (~np.isnan(found)).sum(-1).astype(np.float64))


def accuracy(sums: Array) -> Array:
    """Part of the samples whose class is right, [..., 3 C] to [...].

    It is the mean of the recalls weighted by how often each class is true: the field's weighted
    accuracy (WA), beside the unweighted one (UA), which is the UAR.
    """
    true, _, hits = np.split(sums, 3, axis=-1)
    return divide(hits.sum(-1), true.sum(-1))

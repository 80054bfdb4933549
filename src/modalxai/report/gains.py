"""What is a modality good for? The model's skill with it and without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modalxai.attribution import Explanation
from modalxai.metrics import counts
from modalxai.metrics.chance import concordance
from modalxai.report.columns import Truth, predicted, true_class
from modalxai.statistics import Array, IntervalOf, Statistic, difference, divide
from modalxai.types import columns


@dataclass(frozen=True)
class Gain:
    """Skill on one label, or on all categorical ones, with a modality and with it removed.

    Parameters
    ----------
    metric
        ``"F1"`` of the label (categorical or binary), its mean over the classes (``"macro F1"``)
        or ``"CCC"`` (dimensional).
    n
        Samples that have the modality and whose truth is known.
    with_it, without_it
        The metric with every modality, and with this one removed as the explanation removed it
        (not of a model trained without it). NaN where it is undefined.
    low, high
        Interval of the difference, paired within each resample of clusters.
    """

    metric: str
    n: int
    with_it: float
    without_it: float
    low: float
    high: float


def gain_of(
    explanation: Explanation,
    truth: Truth,
    labels: Sequence[int],
    modality: int,
    samples: NDArray[np.intp],
    clusters: Sequence[str],
    interval: IntervalOf,
) -> Gain:
    """Compare the full coalition with the one without a modality.

    Parameters
    ----------
    labels
        The columns judged: one, or several categorical ones.
    modality
        Its place.
    samples
        Those to judge on.
    """
    everything = len(explanation.scores) - 1
    tables = explanation.scores[[everything, everything & ~(1 << modality)]].numpy()
    kind = explanation.labels[labels[0]].kind
    statistic: Statistic
    if kind == "dimensional":
        known = truth.known[:, labels[0]]
        real = np.where(known, truth.values[:, labels[0]], 0.0)
        middle = real[known].mean() if known.any() else 0.0  # see modalxai.report.chance
        terms = [_moments(real - middle, table[:, labels[0]] - middle) for table in tables]
        metric, statistic = "CCC", _concordance
    else:
        if kind == "categorical":
            right = true_class(truth, explanation.labels)
            known = right >= 0
            hit = [predicted(table, explanation.labels)[:, None] == labels for table in tables]
            real = right[:, None] == labels
        else:
            known = truth.known[:, labels[0]] & (truth.values[:, labels[0]] != 0.5)
            hit = [table[:, labels] > 0 for table in tables]
            real = truth.values[:, labels] > 0.5
        terms = [counts.class_terms(real, said) for said in hit]
        metric, statistic = "F1" if len(labels) == 1 else "macro F1", _f1(len(labels))
    present = explanation.present[:, modality].numpy()
    inside = samples[(known & present)[samples]]
    width = terms[0].shape[1]
    if not len(inside):
        nowhere = float("nan")
        return Gain(metric, 0, nowhere, nowhere, nowhere, nowhere)
    both = np.concatenate(terms, axis=1)[inside].astype(np.float64)
    found = interval(
        both[:, [*range(width, 2 * width), *range(width)]],
        difference(statistic, statistic, width),
        [clusters[int(row)] for row in inside],
    )
    whole = both.sum(0)
    return Gain(
        metric=metric,
        n=len(inside),
        with_it=float(statistic(whole[:width])[0]),
        without_it=float(statistic(whole[width:])[0]),
        low=float(found.low[0]),
        high=float(found.high[0]),
    )


def overall(explanation: Explanation) -> list[int]:
    """The columns of the categorical labels."""
    return columns(explanation.labels, "categorical")


def _f1(size: int) -> Statistic:
    """Mean F1 of the classes that occur, from the sums of `counts.class_terms` [..., 3 C]."""

    def scores(sums: Array) -> Array:
        # Over the classes that are true somewhere, and no others: with a modality and without it
        # the same ones, so that the difference is theirs.
        occurs = sums[..., :size] > 0
        each = np.nan_to_num(counts.f1s(sums))
        total = np.where(occurs, each, 0).sum(-1, keepdims=True)
        return divide(total, occurs.sum(-1, keepdims=True).astype(np.float64))

    return scores


def _moments(x: Array, y: Array) -> Array:
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=-1)


def _concordance(sums: Array) -> Array:
    return concordance(sums)[..., None]

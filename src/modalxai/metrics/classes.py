"""Scores of one class per sample, on arrays: F1, average recall, accuracy, confusions.

Arguments come in scikit-learn's order, the truth first. For what is done with classes that are
absent from the truth, see `modalxai.metrics.counts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from modalxai.errors import InputError
from modalxai.metrics import counts
from modalxai.metrics.reading import Coded, coded, numeric
from modalxai.statistics import Array, divide

Given = ArrayLike | Tensor


@dataclass(frozen=True, eq=False)
class Confusion:
    """How often each class was taken for each.

    Parameters
    ----------
    classes
        Their names, C.
    counts
        Int [C, C]: rows are true, columns are said.
    """

    classes: tuple[Any, ...]
    counts: NDArray[np.int64]

    def rates(self) -> Array:
        """Float [C, C], every row divided by its sum; NaN for a class that is never true."""
        totals = self.counts.sum(1, keepdims=True).astype(np.float64)
        return divide(self.counts.astype(np.float64), totals)


def confusion(
    truth: Given, said: Given, mask: Given | None = None, classes: Sequence[Any] | None = None
) -> Confusion:
    """The confusion matrix; arguments as in `weighted_f1`."""
    found = coded(truth, said, mask, classes)
    table = np.zeros((len(found.classes), len(found.classes)), dtype=np.int64)
    np.add.at(table, (found.truth, found.said), 1)
    return Confusion(found.classes, table)


def weighted_f1(
    truth: Given, said: Given, mask: Given | None = None, classes: Sequence[Any] | None = None
) -> float:
    """F1 averaged over classes, weighted by how often each is true.

    A constant that says the most frequent class scores high on unbalanced corpora: read `macro_f1`
    and `uar` first, or `modalxai.metrics.score_card`.

    Parameters
    ----------
    truth, said
        N names or whole numbers of classes each.
    mask
        Bool [N], True where the truth is known; ``None``: everywhere.
    classes
        The classes, in order; ``None``: all that occur in either.

    Raises
    ------
    InputError
        Shapes that do not fit, nothing known, scores instead of classes, or a class outside
        ``classes``.
    """
    return float(counts.weighted_f1(_sums(coded(truth, said, mask, classes))))


def macro_f1(
    truth: Given, said: Given, mask: Given | None = None, classes: Sequence[Any] | None = None
) -> float:
    """F1 averaged over the classes that are true or said somewhere; see `weighted_f1`."""
    return float(counts.macro_f1(_sums(coded(truth, said, mask, classes))))


def class_f1(
    truth: Given, said: Given, mask: Given | None = None, classes: Sequence[Any] | None = None
) -> dict[Any, float]:
    """F1 by class, NaN for a class that is neither true nor said; see `weighted_f1`."""
    found = coded(truth, said, mask, classes)
    return dict(zip(found.classes, counts.f1s(_sums(found)).tolist(), strict=True))


def uar(truth: Given, said: Given, mask: Given | None = None) -> float:
    """Unweighted average recall: scikit-learn's balanced accuracy, the field's UA.

    Averaged over the classes that are true somewhere; a constant reaches 1 / C.
    """
    return float(counts.uar(_sums(coded(truth, said, mask))))


def weighted_accuracy(truth: Given, said: Given, mask: Given | None = None) -> float:
    """Part of the samples that are right, the field's WA: recalls weighted by class frequency."""
    return float(counts.accuracy(_sums(coded(truth, said, mask))))


def exact_match(truth: Given, said: Given, mask: Given | None = None) -> float:
    """Part of the samples whose whole set of labels is right.

    Parameters
    ----------
    truth, said
        0 or 1, [N, K]: whether each label holds.
    mask
        Bool [N, K]. A sample with a label that nobody annotated is left out.

    Raises
    ------
    InputError
        Shapes that do not fit, anything but 0 and 1, or no sample that is fully annotated.
    """
    left, right, known = numeric(truth, said, mask)
    whole = known.all(1) if known.ndim == 2 else np.zeros(0, dtype=bool)
    both = np.stack([left, right])
    if not whole.any() or not np.isin(both, (0, 1)).all():
        raise InputError(
            "no sets of labels to compare",
            expected="0 or 1, [N, K], with a sample whose labels are all annotated",
            got=f"{list(left.shape)}, {int(whole.sum())} samples fully annotated",
            mend="threshold the probabilities first: probabilities > 0.5",
        )
    return float((left == right).all(1)[whole].mean())


def _sums(found: Coded) -> Array:
    each = np.arange(len(found.classes))
    terms = counts.class_terms(found.truth[:, None] == each, found.said[:, None] == each)
    sums: Array = terms.sum(0)
    return sums

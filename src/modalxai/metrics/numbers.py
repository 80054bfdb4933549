"""Scores of valence, arousal and other numbers, on arrays."""

from __future__ import annotations

from numpy.typing import ArrayLike
from torch import Tensor

from modalxai.errors import InputError
from modalxai.metrics.chance import concordance, moment_terms
from modalxai.metrics.reading import numeric

Given = ArrayLike | Tensor


def ccc(truth: Given, said: Given, mask: Given | None = None) -> float:
    """Concordance correlation coefficient (Lin 1989), -1 to 1; 0 for every constant.

    ``2 cov / (var_x + var_y + (mean_x - mean_y) ** 2)``, variances divided by n. NaN where neither
    side varies and both are equal.

    Parameters
    ----------
    truth, said
        Float [N] each.
    mask
        Bool [N], True where the truth is known; ``None``: everywhere.

    Raises
    ------
    InputError
        Shapes that do not fit, or fewer than two known numbers.
    """
    x, y, known = numeric(truth, said, mask)
    x, y = x[known], y[known]
    if known.ndim != 1 or len(x) < 2:
        raise InputError(
            "a concordance needs two numbers or more of one label",
            expected="[N] with at least two known",
            got=f"{list(known.shape)}, {len(x)} known",
            mend="score each label by itself, on a whole corpus and not on a batch",
        )
    middle = x.mean()
    return float(concordance(moment_terms(x - middle, y - middle).sum(0)))


def rmse(truth: Given, said: Given, mask: Given | None = None) -> float:
    """Root mean squared error over what is known, in the unit of the label; [N] or [N, D]."""
    return float(distance(truth, said, mask) ** 0.5)


def distance(truth: Given, said: Given, mask: Given | None = None) -> float:
    """Mean squared error over all that is known of several labels, [N, D]: valence and arousal.

    Raises
    ------
    InputError
        Shapes that do not fit, nothing known, or numbers that are not finite.
    """
    x, y, known = numeric(truth, said, mask)
    return float(((x - y) ** 2)[known].mean())

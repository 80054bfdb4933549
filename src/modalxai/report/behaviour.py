"""Behavioural weights of prosody and words, of people and of models alike, without attribution.

In factorial stimuli (T-RES, Ben-David et al. 2016) an emotion is spoken in the prosody, in the
words, in both or in neither, and listeners rate how much of it they hear. Regressing the rating on
both gives the weight of each; the model's score of the emotion is rated in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from modalxai.attribution import Explanation
from modalxai.errors import InputError
from modalxai.statistics import Array, IntervalOf, cluster_interval, difference, divide
from modalxai.types import select

Channel = Literal["prosody", "semantics"]


@dataclass(frozen=True, eq=False)
class Ratings:
    """How strongly an emotion was heard in N presentations.

    Parameters
    ----------
    values
        Float [N]: a listener's rating, or the model's score, see `model_ratings`.
    prosody, semantics
        Float [N]: whether (0 or 1), or how well, the prosody and the words match the emotion.
    clusters
        N names: stimuli, speakers or listeners; ``None`` makes every row its own.

    Raises
    ------
    InputError
        Lengths that differ, values that are not finite, fewer than five rows, or a match that
        never varies.
    """

    values: ArrayLike
    prosody: ArrayLike
    semantics: ArrayLike
    clusters: Sequence[Any] | None = None

    def __post_init__(self) -> None:
        arrays = [
            np.asarray(x, dtype=np.float64) for x in (self.values, self.prosody, self.semantics)
        ]
        lengths = {array.shape for array in arrays}
        if len(lengths) > 1 or arrays[0].ndim != 1 or len(arrays[0]) < 5:
            raise InputError(
                "ratings that do not fit their stimuli",
                expected="values, prosody and semantics of one length, five rows or more",
                got=str([list(array.shape) for array in arrays]),
                mend="give one row per presentation",
            )
        if not np.isfinite(arrays).all() or np.ptp(arrays[1]) == 0 or np.ptp(arrays[2]) == 0:
            raise InputError(
                "ratings from which no weight follows",
                expected="finite numbers, and matches that vary",
                got="NaN or infinite"
                if not np.isfinite(arrays).all()
                else "the same prosody, or the same words, throughout",
                mend="present each emotion in the prosody, in the words, in both and in neither",
            )


class Coefficient(NamedTuple):
    """A regression coefficient per standard deviation, and its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class BehaviouralWeights:
    """What ratings follow.

    Parameters
    ----------
    n, clusters
        Rows, and different clusters.
    weight, low, high
        ``beta_P / (beta_P + beta_S)``: 1 is prosody only, 0 words only, and its interval. NaN where
        ``reason`` says why.
    prosody, semantics
        The coefficients beta_P and beta_S, in rating units per standard deviation.
    congruency
        Coefficient of their product: what prosody and words gain by agreeing.
    ignored
        The failure of selective attention: the coefficient of the channel that was not attended to;
        None where both were.
    reason
        Why there is no weight or interval; empty where there is one.
    """

    n: int
    clusters: int
    weight: float
    low: float
    high: float
    prosody: Coefficient
    semantics: Coefficient
    congruency: Coefficient
    ignored: Coefficient | None
    reason: str


def behavioural_weights(
    ratings: Ratings, attended: Channel | None = None, interval: IntervalOf = cluster_interval
) -> BehaviouralWeights:
    """Least squares of ratings on standardised prosody match, semantics match and their product.

    Parameters
    ----------
    attended
        What listeners were told to attend to; for a model, what it was given: with audio alone
        (``model_ratings(..., heard=("audio",))``) it should follow the prosody.
    interval
        For other settings, ``functools.partial(cluster_interval, level=0.9)``.
    """
    if attended not in (None, "prosody", "semantics"):
        raise InputError(
            "an unknown channel",
            expected="'prosody', 'semantics' or None",
            got=repr(attended),
            mend="name what listeners attended to",
        )
    terms = _terms(ratings)
    found = interval(terms, _statistics, _clusters(ratings))
    weight, low, high = (float(part[0]) for part in (found.estimate, found.low, found.high))
    each = [
        Coefficient(float(found.estimate[i]), float(found.low[i]), float(found.high[i]))
        for i in (1, 2, 3)
    ]
    reason = "the design does not tell prosody from words" if np.isnan(weight) else found.reason
    apart = each[0].value * each[1].value < 0
    if apart and all(one.low > 0 or one.high < 0 for one in each[:2]):
        reason = "prosody and words pull in opposite directions"
    elif each[0].value + each[1].value <= 0:
        reason = "ratings do not grow with either match"
    if reason and reason != found.reason:
        weight = low = high = float("nan")
    return BehaviouralWeights(
        n=len(terms),
        clusters=found.clusters,
        weight=weight,
        low=low,
        high=high,
        prosody=each[0],
        semantics=each[1],
        congruency=each[2],
        ignored={None: None, "prosody": each[1], "semantics": each[0]}[attended],
        reason=reason,
    )


def weight_difference(
    model: Ratings, human: Ratings, interval: IntervalOf = cluster_interval
) -> Coefficient:
    """``w_model - w_human`` and its interval; above 0 the model goes more by prosody than people.

    Clusters of one name on both sides (the same stimuli) are resampled together.
    """
    first, second = _terms(human), _terms(model)
    width = first.shape[1]
    terms = np.concatenate(
        [np.pad(first, [(0, 0), (0, width)]), np.pad(second, [(0, 0), (width, 0)])]
    )
    names = [_clusters(human), _clusters(model)]
    if human.clusters is None or model.clusters is None:  # rows of either side are their own
        names = [[f"{side} {name}" for name in own] for side, own in enumerate(names)]
    found = interval(terms, difference(_statistics, _statistics, width), [*names[0], *names[1]])
    return Coefficient(float(found.estimate[0]), float(found.low[0]), float(found.high[0]))


def model_ratings(
    explanation: Explanation,
    label: str,
    heard: Sequence[str] | None = None,
    scale: str | None = None,
) -> Array:
    """The model's score of an emotion, [N], with only some modalities heard (all for None).

    Raises
    ------
    InputError
        An unknown label, modality or scale.
    """
    column = select(explanation.labels, [label])[0]
    names = explanation.modalities if heard is None else tuple(heard)
    if unknown := set(names) - set(explanation.modalities):
        raise InputError(
            "an unknown modality",
            expected=f"some of {list(explanation.modalities)}",
            got=str(sorted(unknown)),
            mend="use the model's names",
        )
    row = sum(1 << explanation.modalities.index(name) for name in set(names))
    values: Array = explanation.values(scale)[:, row, :, column].mean(0).cpu().double().numpy()
    return values


def _terms(ratings: Ratings) -> Array:
    """The products X'X and X'y of every row, [N, 4 * 4 + 4]."""
    first, second = (_standard(x) for x in (ratings.prosody, ratings.semantics))
    y = np.asarray(ratings.values, dtype=np.float64)
    design = np.stack([np.ones_like(y), first, second, first * second], axis=1)
    squares = np.einsum("ni,nj->nij", design, design).reshape(len(y), -1)
    return np.concatenate([squares, design * y[:, None]], axis=1)


def _statistics(sums: Array) -> Array:
    """Weight, beta_P, beta_S and the coefficient of the product, [..., 4]."""
    squares, products = sums[..., :16].reshape(*sums.shape[:-1], 4, 4), sums[..., 16:]
    # A resample may lack a cell of the design: then nothing is determined.
    # The determinant of the correlation-like matrix, 0..1, does not depend on how many rows.
    sizes = np.diagonal(squares, axis1=-2, axis2=-1).prod(-1)
    sound = divide(np.linalg.det(squares), sizes) > 1e-9  # False where NaN
    safe = np.where(sound[..., None, None], squares, np.eye(4))
    solved = np.linalg.solve(safe, products[..., None])[..., 0]
    found: Array = np.where(sound[..., None], solved, np.nan)
    weight = divide(found[..., 1], found[..., 1] + found[..., 2])
    return np.concatenate([weight[..., None], found[..., 1:]], axis=-1)


def _standard(values: ArrayLike) -> Array:
    array = np.asarray(values, dtype=np.float64)
    standard: Array = (array - array.mean()) / array.std()
    return standard


def _clusters(ratings: Ratings) -> Sequence[Any]:
    count = len(np.asarray(ratings.values))
    return [f"{row:09d}" for row in range(count)] if ratings.clusters is None else ratings.clusters

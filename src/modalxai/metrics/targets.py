"""What is scored: the categorical labels together, each other label, sets of labels, distances."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from modalxai.metrics import counts
from modalxai.metrics.chance import concordance, moment_terms, recall_gain
from modalxai.metrics.reading import Answers, Bools, Floats, every, said_class, true_class
from modalxai.statistics import Array, Statistic, divide
from modalxai.types import columns


@dataclass(frozen=True)
class Target:
    """One thing that is predicted, and all that is said of how well.

    Parameters
    ----------
    name
        The label, ``"categorical labels"``, ``"label set"`` or ``"distance"``.
    metrics
        Names of Q scores.
    lower
        Those of them of which less is better.
    known
        Bool [N]: the samples that can be judged.
    terms
        From scores [N, K] to what is summed, [N, F].
    statistic
        From sums [..., F] to the scores [..., Q].
    constant
        The scores [K] of the constant to compare with: the one that does best without looking.
    gated
        The score that decides about chance.
    gain
        From sums to that score minus chance, [...]; ``None``: chance is what the constant reaches.
    chance
        What a constant reaches; NaN with ``gain`` None.
    open
        Why nothing can be decided; empty where it can.
    """

    name: str
    metrics: tuple[str, ...]
    lower: frozenset[str]
    known: Bools
    terms: Callable[[Floats], Array]
    statistic: Statistic
    constant: Floats
    gated: str
    gain: Callable[[Array], Array] | None
    chance: float
    open: str = ""


def targets_of(found: Answers) -> Iterator[Target]:
    """All that the labels allow to score, where anything is known of it."""
    if columns(found.labels, "categorical"):
        yield from _categorical(found)
    tags = columns(found.labels, "binary")
    for column in tags:
        yield from _binary(found, column)
    if len(tags) > 1:
        yield from _label_set(found, tags)
    numbers = columns(found.labels, "dimensional")
    for column in numbers:
        yield from _dimensional(found, column)
    if len(numbers) > 1:
        yield from _distance(found, numbers)


def _categorical(found: Answers) -> Iterator[Target]:
    classes = columns(found.labels, "categorical")
    names = [found.labels[column].name for column in classes]
    truth = true_class(found)
    known = truth >= 0
    if not known.any():
        return
    each = np.arange(len(classes))
    right = truth[:, None] == each

    def terms(scores: Floats) -> Array:
        return counts.class_terms(right, said_class(scores, found.labels)[:, None] == each)

    constant = np.zeros(len(found.labels))
    constant[classes[int(right.sum(0).argmax())]] = 1.0
    occurring = int(right.any(0).sum())
    yield Target(
        name="categorical labels",
        metrics=(
            "weighted F1",
            "macro F1",
            "UAR",
            "weighted accuracy",
            *(f"F1 {n}" for n in names),
        ),
        lower=frozenset(),
        known=known,
        terms=terms,
        statistic=lambda sums: np.concatenate(
            [
                np.stack([score(sums) for score in _CLASS_SCORES], axis=-1),
                counts.f1s(sums),
            ],
            axis=-1,
        ),
        constant=constant,
        gated="UAR",
        gain=_class_gain,
        chance=1 / occurring,
        open="the truth holds one class only" if occurring == 1 else "",
    )


_CLASS_SCORES = (counts.weighted_f1, counts.macro_f1, counts.uar, counts.accuracy)


def _class_gain(sums: Array) -> Array:
    true, _, hits = np.split(sums, 3, axis=-1)
    return recall_gain(np.concatenate([true, hits], axis=-1))


def _tags(found: Answers, scores: Floats, tags: list[int]) -> tuple[Bools, Bools, Bools]:
    """Which of the labels are known, true and said, bool [N, C]; halves are unknown."""
    values = found.truth[:, tags]
    known = found.known[:, tags] & (values != 0.5)
    return known, (values > 0.5) & known, (scores[:, tags] > 0) & known  # a logit: 0 is p = 0.5


def _binary(found: Answers, column: int) -> Iterator[Target]:
    known, true, _ = (one[:, 0] for one in _tags(found, found.scores, [column]))
    if not known.any():
        return

    def terms(scores: Floats) -> Array:
        said = scores[:, column] > 0
        return counts.class_terms(np.stack([~true, true], 1), np.stack([~said, said], 1))

    constant = np.zeros(len(found.labels))
    constant[column] = 1.0 if true[known].mean() > 0.5 else -1.0
    classes = len(set(true[known].tolist()))
    yield Target(
        name=found.labels[column].name,
        metrics=("F1", "balanced accuracy", "accuracy"),
        lower=frozenset(),
        known=known,
        terms=terms,
        statistic=lambda sums: np.stack(
            [counts.f1s(sums)[..., 1], counts.uar(sums), counts.accuracy(sums)], axis=-1
        ),
        constant=constant,
        gated="balanced accuracy",
        gain=_class_gain,
        chance=1 / classes,
        open="the truth holds one class only" if classes == 1 else "",
    )


def _label_set(found: Answers, tags: list[int]) -> Iterator[Target]:
    marked, true, _ = _tags(found, found.scores, tags)
    known = every(marked)
    if not known.any():
        return

    def terms(scores: Floats) -> Array:
        _, _, said = _tags(found, scores, tags)
        same = np.stack([(said == true).all(1), np.ones(len(true), dtype=bool)], axis=1)
        return np.concatenate([counts.class_terms(true, said), same], axis=1)

    sets, times = np.unique(true[known], axis=0, return_counts=True)
    constant = np.zeros(len(found.labels))
    constant[tags] = np.where(sets[times.argmax()], 1.0, -1.0)
    yield Target(
        name="label set",
        metrics=("exact match", "macro F1", "weighted F1"),
        lower=frozenset(),
        known=known,
        terms=terms,
        statistic=lambda sums: np.stack(
            [
                divide(sums[..., -2], sums[..., -1]),
                counts.macro_f1(sums[..., :-2]),
                counts.weighted_f1(sums[..., :-2]),
            ],
            axis=-1,
        ),
        constant=constant,
        gated="exact match",
        gain=None,
        chance=float("nan"),
        open="all samples have one set of labels" if len(sets) == 1 else "",
    )


def _dimensional(found: Answers, column: int) -> Iterator[Target]:
    known, values = found.known[:, column], found.truth[:, column]
    if not known.any():
        return
    middle = values[known].mean()

    def terms(scores: Floats) -> Array:
        return moment_terms(values - middle, scores[:, column] - middle)

    constant = np.zeros(len(found.labels))
    constant[column] = middle
    flat = bool(np.ptp(values[known]) == 0)
    yield Target(
        name=found.labels[column].name,
        metrics=("CCC", "RMSE"),
        lower=frozenset({"RMSE"}),
        known=known,
        terms=terms,
        statistic=lambda sums: np.stack([concordance(sums), _root(sums)], axis=-1),
        constant=constant,
        gated="CCC",
        gain=concordance,
        chance=0.0,
        open="the truth never varies" if flat else "",
    )


def _root(sums: Array) -> Array:
    squares = sums[..., 3] + sums[..., 4] - 2 * sums[..., 5]
    return np.sqrt(np.maximum(divide(squares, sums[..., 0]), 0))


def _distance(found: Answers, numbers: list[int]) -> Iterator[Target]:
    known, values = found.known[:, numbers], found.truth[:, numbers]
    if not known.any():
        return

    def terms(scores: Floats) -> Array:
        off = np.where(known, scores[:, numbers] - values, 0.0)
        return np.stack([(off**2).sum(1), known.sum(1)], axis=1)

    constant = np.zeros(len(found.labels))
    totals = known.sum(0)
    constant[numbers] = np.divide(
        values.sum(0), totals, out=np.zeros(len(numbers)), where=totals > 0
    )
    flat = all(np.ptp(values[k, c]) == 0 for c, k in enumerate(known.T) if k.any())
    yield Target(
        name="distance",
        metrics=("MSE",),
        lower=frozenset({"MSE"}),
        known=~every(~known),
        terms=terms,
        statistic=lambda sums: divide(sums[..., :1], sums[..., 1:]),
        constant=constant,
        gated="MSE",
        gain=None,
        chance=float("nan"),
        open="the truth never varies" if flat else "",
    )

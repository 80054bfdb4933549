"""Has the model learnt anything to explain? The gate before every percentage.

A model at chance still has Shapley values, and shares computed from them look like any others:
explaining noise. On unbalanced corpora the usual headline metrics do not notice (on KEMDy20 the
constant "neutral" reaches a weighted F1 of 0.81), so the gate reads metrics that a constant cannot
raise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from modalxai.attribution import Explanation
from modalxai.metrics import macro_f1, weighted_accuracy
from modalxai.metrics.chance import at_chance, concordance, correlation, moment_terms, recall_gain
from modalxai.report.columns import Truth, predicted, true_class
from modalxai.report.skill import ChanceGate, Score, Skill
from modalxai.statistics import Array, IntervalOf, Statistic
from modalxai.types import columns


def judge(
    explanation: Explanation,
    truth: Truth | None,
    clusters: Sequence[str],
    interval: IntervalOf,
) -> ChanceGate:
    """Compare the model, and each modality alone, with a constant.

    The interval is of the difference within each resample of clusters, so it is paired: what
    makes a resample easy for the model makes it easy for the constant too. A model is at chance
    when the lower end of that interval is not above 0.
    """
    if truth is None:
        return ChanceGate(reason="truth unknown")
    labels, scores = explanation.labels, explanation.scores.numpy()
    # One predictor per row: every modality together, then each alone, where the sample has it.
    tables = np.stack([scores[-1], *(scores[1 << m] for m in range(len(explanation.modalities)))])
    present = explanation.present.numpy()
    usable = np.concatenate([np.ones((1, len(present)), dtype=bool), present.T])

    questions = []
    if categorical := columns(labels, "categorical"):
        said = np.stack([predicted(table, labels) for table in tables])
        names = tuple(labels[column].name for column in categorical)
        questions.append(
            _recalls("categorical labels", names, "UAR", true_class(truth, labels), said, usable)
        )
    for column, label in enumerate(labels):
        known, values = truth.known[:, column], truth.values[:, column]
        if label.kind == "binary":
            right = np.where(known & (values != 0.5), values > 0.5, -1).astype(np.intp)
            said = (tables[..., column] > 0).astype(np.intp)  # a logit: 0 means p = 0.5
            questions.append(
                _recalls(label.name, (label.name,), "balanced accuracy", right, said, usable)
            )
        elif label.kind == "dimensional":
            questions.append(_concordance(label.name, known, values, tables[..., column], usable))
    skills = tuple(
        _answer(question, clusters, explanation.modalities, interval)
        for question in questions
        if question.known.any()
    )
    return ChanceGate(skills, "" if skills else "truth unknown")


class _Question(NamedTuple):
    """``terms`` [P, N, F] of P predictors; ``gain`` makes value minus chance of their sums."""

    target: str
    labels: tuple[str, ...]
    metric: str
    known: NDArray[np.bool_]
    terms: Array
    gain: Statistic
    chance: float
    others: tuple[Mapping[str, float], ...]
    constant: Mapping[str, float]
    unjudged: str


def _answer(
    question: _Question,
    clusters: Sequence[str],
    modalities: Sequence[str],
    interval: IntervalOf,
) -> Skill:
    rows = np.flatnonzero(question.known)
    predictors, _, width = question.terms.shape
    terms = question.terms[:, rows].transpose(1, 0, 2).reshape(len(rows), -1)

    def gains(sums: Array) -> Array:
        return question.gain(sums.reshape(*sums.shape[:-1], predictors, width))

    found = interval(terms, gains, [clusters[int(row)] for row in rows])
    scores = []
    for place in range(predictors):
        low = float(found.low[place])
        scores.append(
            Score(
                n=int((question.terms[place][rows] != 0).any(-1).sum()),
                value=float(found.estimate[place]) + question.chance,
                low=low,
                high=float(found.high[place]),
                others=question.others[place],
                at_chance=None if question.unjudged else at_chance(low),
            )
        )
    return Skill(
        target=question.target,
        labels=question.labels,
        metric=question.metric,
        chance=question.chance,
        clusters=found.clusters,
        model=scores[0],
        alone=dict(zip(modalities, scores[1:], strict=True)),
        constant=question.constant,
        reason=question.unjudged or (found.reason if scores[0].at_chance is None else ""),
    )


def _recalls(
    target: str,
    names: tuple[str, ...],
    metric: str,
    right: NDArray[np.intp],
    said: NDArray[np.intp],
    usable: NDArray[np.bool_],
) -> _Question:
    """``right`` [N] with -1 for unknown, ``said`` and ``usable`` [P, N]."""
    known = right >= 0
    classes = sorted(set(right[known].tolist()))
    truth = right[:, None] == np.asarray(classes, dtype=np.intp)  # [N, C]
    counted = truth & usable[..., None]  # [P, N, C]
    hits = counted & (said == right)[..., None]
    size = len(classes)
    frequent = np.bincount(right[known]).argmax() if size else 0
    return _Question(
        target=target,
        labels=names,
        metric=metric,
        known=known,
        terms=np.concatenate([counted, hits], axis=-1).astype(np.float64),
        gain=recall_gain,
        chance=1 / size if size else float("nan"),
        others=tuple(
            _accuracies(right[known & mask], guess[known & mask])
            for guess, mask in zip(said, usable, strict=True)
        ),
        constant=_accuracies(right[known], np.full(int(known.sum()), frequent)),
        unjudged="the truth holds one class only" if size == 1 else "",
    )


def _accuracies(right: NDArray[np.intp], said: NDArray[np.intp]) -> dict[str, float]:
    """Accuracy, and F1 averaged over the classes that are true or said somewhere."""
    if not len(right):
        return {"accuracy": float("nan"), "macro F1": float("nan")}
    return {"accuracy": weighted_accuracy(right, said), "macro F1": macro_f1(right, said)}


def _concordance(
    name: str, known: NDArray[np.bool_], values: Array, said: Array, usable: NDArray[np.bool_]
) -> _Question:
    """``known`` and ``values`` [N], ``said`` and ``usable`` [P, N]."""
    # A common shift changes no concordance, and keeps the sums of squares small.
    middle = values[known].mean() if known.any() else 0.0
    x, y = np.broadcast_to(values - middle, said.shape), said - middle
    terms = moment_terms(x, y) * usable[..., None]
    correlations = [correlation(terms[:, known].sum(1))[place] for place in range(len(said))]
    flat = bool(known.any()) and bool(np.ptp(values[known]) == 0)
    return _Question(
        target=name,
        labels=(name,),
        metric="CCC",
        known=known,
        terms=terms,
        gain=concordance,
        chance=0.0,
        others=tuple({"Pearson": float(value)} for value in correlations),
        constant={"Pearson": float("nan")},
        unjudged="the truth never varies" if flat else "",
    )

"""A prediction scored by everything its labels allow, in one pass over resamples of clusters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from modalxai.errors import InputError
from modalxai.metrics.card import CONSTANT, MODEL, Estimate, Row, ScoreCard, Verdict
from modalxai.metrics.chance import at_chance
from modalxai.metrics.classes import Confusion, confusion
from modalxai.metrics.reading import (
    Answers,
    Floats,
    answers,
    every,
    said_class,
    scores_of,
    true_class,
)
from modalxai.metrics.targets import Target, targets_of
from modalxai.statistics import Array, Interval, IntervalOf, cluster_interval
from modalxai.types import Prediction, Targets, columns

ERRORS = ("RMSE", "MSE")


def score_card(
    prediction: Prediction,
    targets: Targets,
    *,
    baselines: Mapping[str, Prediction] | None = None,
    clusters: Sequence[Any] | None = None,
    interval: IntervalOf = cluster_interval,
    leak: str = "",
) -> ScoreCard:
    """Score a prediction, with intervals, baselines and the verdict about chance.

    The constant is always there: the most frequent class, the most frequent set of labels, or the
    mean, of the truth that is scored (the hardest one to beat). Samples whose truth is unknown, or
    tied between raters, have no part in the scores of that label.

    Parameters
    ----------
    prediction
        Scores [B, K].
    targets
        Values and mask [B, K].
    baselines
        Further predictions of the same samples by name: those of `modalxai.metrics.baselines`, or
        of models trained on one modality. A row that is NaN throughout was not predicted.
    clusters
        B names (speakers); what is resampled is the cluster.
    interval
        What makes intervals; `functools.partial` of `modalxai.statistics.cluster_interval` sets
        level, repeats and seed.
    leak
        What the parts of the split share: ``split.leak``. The card carries it.

    Raises
    ------
    InputError
        Shapes that do not fit, scores that are not finite, baselines of other labels or named as
        the model or the constant, or nothing annotated.
    """
    found = answers(prediction, targets)
    others = _others(found, baselines or {})
    names = list(range(len(found.scores))) if clusters is None else list(clusters)
    if len(names) != len(found.scores):
        raise InputError(
            "clusters that do not fit the samples",
            expected=f"{len(found.scores)} names",
            got=str(len(names)),
            mend="give each sample the name of its cluster",
        )
    rows: list[Row] = []
    verdicts = []
    for target in targets_of(found):
        made, verdict = _judge(target, found, others, names, interval)
        rows += made
        verdicts.append(verdict)
    if not verdicts:
        raise InputError(
            "nothing to score",
            expected="a sample whose labels are known",
            got="targets whose mask is False, or tied, everywhere",
            mend="give the samples their labels",
        )
    return ScoreCard(tuple(rows), tuple(verdicts), _confusion(found), clusters is not None, leak)


def _judge(
    target: Target,
    found: Answers,
    others: Mapping[str, Floats],
    clusters: Sequence[Any],
    interval: IntervalOf,
) -> tuple[list[Row], Verdict]:
    constant = np.broadcast_to(target.constant, found.scores.shape)
    tables = {MODEL: found.scores, CONSTANT: constant, **others}
    usable = {name: target.known & ~every(np.isnan(table)) for name, table in tables.items()}
    named = {name: one for name, one in usable.items() if one.any()}
    # One block of terms per predictor, then the model's and the constant's own on the samples of
    # each predictor that has fewer.
    terms = {name: target.terms(np.nan_to_num(tables[name])) for name in named}
    blocks = [terms[name] * one[:, None] for name, one in named.items()]
    partner, blind = dict.fromkeys(named, 0), dict.fromkeys(named, 1)
    for name, one in named.items():
        if (one != target.known).any():
            partner[name], blind[name] = len(blocks), len(blocks) + 1
            blocks += [terms[MODEL] * one[:, None], terms[CONSTANT] * one[:, None]]
    width, size = terms[MODEL].shape[1], len(target.metrics)
    signs = np.array([-1.0 if metric in target.lower else 1.0 for metric in target.metrics])

    def statistic(sums: Array) -> Array:
        """Per predictor: scores, gains of the model over it, and its own gain over chance."""
        parts = sums.reshape(*sums.shape[:-1], -1, width)
        scores = target.statistic(parts)
        made = []
        for place, name in enumerate(named):
            over = signs * (scores[..., partner[name], :] - scores[..., place, :])
            if target.gain is not None:
                above = target.gain(parts[..., place, :])[..., None]
            else:
                gated = target.metrics.index(target.gated)
                own = scores[..., place, gated] - scores[..., blind[name], gated]
                above = (signs[gated] * own)[..., None]
            made += [scores[..., place, :], over, above]
        return np.concatenate(made, axis=-1)

    rows = np.flatnonzero(target.known)
    result = interval(
        np.concatenate(blocks, axis=1)[rows], statistic, [clusters[int(row)] for row in rows]
    )
    step = 2 * size + 1
    scored = {name: place * step for place, name in enumerate(named)}
    made = [
        Row(
            target=target.name,
            metric=metric,
            higher_is_better=metric not in target.lower,
            scores={
                name: _estimate(result, at + q, *_range(metric)) for name, at in scored.items()
            },
            gains={
                name: _estimate(result, at + size + q)
                for name, at in scored.items()
                if name != MODEL
            },
        )
        for q, metric in enumerate(target.metrics)
    ]
    gate = {
        name: None if target.open else at_chance(float(result.low[at + 2 * size]))
        for name, at in scored.items()
    }
    chance = target.chance
    if target.gain is None:
        chance = made[target.metrics.index(target.gated)].scores[CONSTANT].value
    verdict = Verdict(
        target=target.name,
        metric=target.gated,
        chance=chance,
        n={name: int(one.sum()) for name, one in named.items()},
        clusters=result.clusters,
        at_chance=gate,
        reason=target.open or (result.reason if gate[MODEL] is None else ""),
    )
    return made, verdict


def _estimate(
    result: Interval, place: int, least: float = -np.inf, most: float = np.inf
) -> Estimate:
    """A score; its bounds stay where it can lie, which those of few clusters may leave."""
    value, low, high = (float(one[place]) for one in (result.estimate, result.low, result.high))
    return Estimate(value, float(np.maximum(low, least)), float(np.minimum(high, most)))


def _range(metric: str) -> tuple[float, float]:
    """The least and the most that a metric can be."""
    return (0.0, np.inf) if metric in ERRORS else (-1.0 if metric == "CCC" else 0.0, 1.0)


def _others(found: Answers, baselines: Mapping[str, Prediction]) -> dict[str, Floats]:
    others = {}
    for name, one in baselines.items():
        scores = scores_of(one, f"baseline {name!r}")
        missing = every(np.isnan(scores))
        broken = ~every(np.isfinite(scores)) & ~missing
        fits = one.labels == found.labels and scores.shape == found.scores.shape
        if not fits or broken.any() or name in (MODEL, CONSTANT):
            raise InputError(
                f"baseline {name!r} cannot stand next to the model",
                expected=f"finite scores {list(found.scores.shape)} of the same labels, or rows of "
                f"NaN, under another name than {MODEL!r} and {CONSTANT!r}",
                got=f"{list(scores.shape)}, {int(broken.sum())} rows that are not finite, labels "
                f"{[label.name for label in one.labels]}",
                mend="predict the same samples, in the same order",
            )
        others[name] = scores
    return others


def _confusion(found: Answers) -> Confusion | None:
    classes = columns(found.labels, "categorical")
    if not classes or not ((truth := true_class(found)) >= 0).any():
        return None
    said, names = said_class(found.scores, found.labels), range(len(classes))
    made = confusion(truth, said, truth >= 0, classes=names)
    return Confusion(tuple(found.labels[column].name for column in classes), made.counts)

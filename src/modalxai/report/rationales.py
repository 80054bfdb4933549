"""Plausibility: do the words that count for the model look right to people?

It is not faithfulness. A model may use other words than people would, and an explanation that says
so is then implausible and true.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from modalxai.errors import InputError
from modalxai.report.columns import Bools, Floats
from modalxai.statistics import IntervalOf, cluster_interval, means
from modalxai.types import Spans

OVERLAP = 0.5
"""The least intersection over union of two spans that match (DeYoung et al. 2020)."""


@dataclass(frozen=True)
class Plausibility:
    """Word contributions beside human rationales.

    Parameters
    ----------
    n, left_out
        Texts compared, and those whose rationale holds no word or every word.
    auprc, auprc_low, auprc_high
        Mean area under the precision-recall curve (average precision) of the contributions as
        scores of "in the rationale", and its interval.
    chance
        Its mean for random contributions: the part of the words that are in the rationale.
    iou_f1, iou_f1_low, iou_f1_high
        Mean F1 of spans, of which two match at an intersection over union of 0.5 (ERASER). The
        model's spans are its strongest words, as many of each text as people marked on average.
    """

    n: int
    left_out: int
    auprc: float
    auprc_low: float
    auprc_high: float
    chance: float
    iou_f1: float
    iou_f1_low: float
    iou_f1_high: float


def plausibility(
    contributions: Sequence[ArrayLike],
    rationales: Sequence[Sequence[bool]],
    clusters: Sequence[str] | None = None,
    interval: IntervalOf = cluster_interval,
) -> Plausibility:
    """Compare contributions with rationales, text by text.

    Parameters
    ----------
    contributions
        Per text, float [U]: what each word contributes, for the label above 0
        (``attribution.units["text"][row, label]`` where the mask is True).
    rationales
        Per text, U booleans: the words that people marked, see `marked`.
    clusters
        What is resampled, speakers or annotators; ``None`` for the texts.

    Raises
    ------
    InputError
        No text, or a text whose contributions and rationale do not fit.
    """
    if not contributions or len(contributions) != len(rationales):
        raise InputError(
            "contributions and rationales do not fit",
            expected="as many texts in both, one or more",
            got=f"{len(contributions)} and {len(rationales)}",
            mend="give each text its rationale",
        )
    names = list(range(len(rationales))) if clusters is None else list(clusters)
    pairs = [
        _pair(row, *both) for row, both in enumerate(zip(contributions, rationales, strict=True))
    ]
    usable = [row for row, (_, marks) in enumerate(pairs) if marks.any() and not marks.all()]
    nowhere = float("nan")
    if not usable:
        return Plausibility(0, len(pairs), *[nowhere] * 7)
    part = float(np.mean([pairs[row][1].mean() for row in usable]))
    scores = np.array(
        [
            [average_precision(*pairs[row]), span_f1(strongest(pairs[row][0], part), pairs[row][1])]
            for row in usable
        ]
    )
    terms = np.concatenate([scores, np.ones_like(scores)], axis=1)
    found = interval(terms, means(2), [names[row] for row in usable])
    low, high = np.clip([found.low, found.high], 0, 1)
    return Plausibility(
        n=len(usable),
        left_out=len(pairs) - len(usable),
        auprc=float(found.estimate[0]),
        auprc_low=float(low[0]),
        auprc_high=float(high[0]),
        chance=part,
        iou_f1=float(found.estimate[1]),
        iou_f1_low=float(low[1]),
        iou_f1_high=float(high[1]),
    )


def marked(spans: Spans, row: int, ranges: Sequence[tuple[float, float]], count: int) -> Bools:
    """Which of the first ``count`` units of a text people marked, [count].

    Parameters
    ----------
    ranges
        Start and end of each rationale, in the unit of ``spans`` (characters, seconds). A unit is
        marked when half of it or more lies inside.
    """
    start = spans.start[row, :count].double().cpu().numpy()
    end = spans.end[row, :count].double().cpu().numpy()
    inside = np.zeros(count)
    for first, last in ranges:
        inside += np.clip(np.minimum(end, last) - np.maximum(start, first), 0, None)
    found: Bools = (inside > 0) & (inside >= (end - start) / 2)
    return found


def average_precision(scores: ArrayLike, marks: ArrayLike) -> float:
    """Area under the precision-recall curve; equal scores enter together, in no order."""
    values, right = np.asarray(scores, dtype=np.float64), np.asarray(marks, dtype=bool)
    order = np.argsort(-values, kind="stable")
    hits = np.cumsum(right[order])
    last = np.flatnonzero(np.append(np.diff(values[order]) != 0, True))  # of each run of ties
    precision, recall = hits[last] / (last + 1), hits[last] / right.sum()
    return float((np.diff(recall, prepend=0) * precision).sum())


def strongest(scores: Floats, part: float) -> Bools:
    """The words with the largest contributions, a part of all (one at least); ties by place."""
    count = max(1, round(part * len(scores)))
    found = np.zeros(len(scores), dtype=bool)
    found[np.argsort(-scores, kind="stable")[:count]] = True
    return found


def span_f1(first: ArrayLike, second: ArrayLike) -> float:
    """F1 of the runs of True in two masks, matched at an intersection over union of 0.5."""
    said, right = _runs(first), _runs(second)
    if not said or not right:
        return 0.0
    overlap = [[_overlap(one, other) >= OVERLAP for other in right] for one in said]
    hit = np.array(overlap)
    precision, recall = hit.any(1).mean(), hit.any(0).mean()
    return float(2 * precision * recall / (precision + recall)) if hit.any() else 0.0


def _runs(mask: ArrayLike) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(mask, dtype=int), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> float:
    shared = max(0, min(one[1], other[1]) - max(one[0], other[0]))
    return shared / (one[1] - one[0] + other[1] - other[0] - shared)


def _pair(row: int, scores: ArrayLike, marks: Sequence[bool]) -> tuple[Floats, Bools]:
    values, right = np.asarray(scores, dtype=np.float64), np.asarray(marks)
    if values.ndim != 1 or values.shape != right.shape or right.dtype != bool or not len(values):
        raise InputError(
            f"text {row}: contributions and rationale do not fit",
            expected="one number and one boolean per word",
            got=f"{list(values.shape)} and {list(right.shape)} of {right.dtype}",
            mend="leave out padding, and mark words with modalxai.report.rationales.marked",
        )
    if not np.isfinite(values).all():
        raise InputError(
            f"text {row}: contributions that are not finite",
            expected="finite numbers",
            got="NaN or infinite",
            mend="leave the text out",
        )
    return values, right

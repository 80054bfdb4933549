"""Conflict, summed up: how often two modalities say different things, and which one wins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from modalxai.attribution import Explanation
from modalxai.statistics import IntervalOf, means
from modalxai.types import columns

STRONGEST = 5
"""How many of the strongest disagreements are named."""


class Mean(NamedTuple):
    """A mean and its interval; NaN where there is none."""

    value: float
    low: float
    high: float


class Dispute(NamedTuple):
    """One utterance in which two modalities favour different labels.

    ``row`` is its place among the samples; ``divergence`` and ``decision`` as in
    `modalxai.attribution.Conflict`.
    """

    row: int
    first_says: str
    second_says: str
    divergence: float
    decision: float


@dataclass(frozen=True)
class PairConflict:
    """Two modalities over all utterances that have both.

    Parameters
    ----------
    pair
        The two modalities.
    n
        Utterances that have both.
    disagreeing
        Of these, how many in which they favour different labels.
    first_wins
        Of the disagreeing ones, in how many the first modality's label scores higher when both
        are heard.
    divergence
        Mean Jensen-Shannon divergence in bits, 0..1, of what each predicts alone.
    decision
        Over the disagreeing ones, mean logit of the first's label minus the second's, both heard.
    strongest
        The disagreements with the largest divergence.
    """

    pair: tuple[str, str]
    n: int
    disagreeing: int
    first_wins: int
    divergence: Mean
    decision: Mean
    strongest: tuple[Dispute, ...]


def disagreements(
    explanation: Explanation, clusters: Sequence[str], interval: IntervalOf
) -> tuple[PairConflict, ...]:
    """One summary per pair of modalities; none without categorical labels."""
    if not columns(explanation.labels, "categorical"):
        return ()
    found = explanation.conflict()
    names = [label.name for label in found.labels]
    leading = found.leading.numpy()
    results = []
    for place, pair in enumerate(found.pairs):
        divergence = found.divergence[:, place].numpy()
        decision = found.decision[:, place].numpy()
        first, second = (explanation.modalities.index(name) for name in pair)
        disputes = np.flatnonzero(found.disagree[:, place].numpy())
        hardest = sorted(disputes.tolist(), key=lambda row: (-divergence[row], row))[:STRONGEST]
        results.append(
            PairConflict(
                pair=pair,
                n=int((~np.isnan(divergence)).sum()),
                disagreeing=len(disputes),
                first_wins=int((decision[disputes] > 0).sum()),
                divergence=_mean(divergence, clusters, interval),
                decision=_mean(decision, clusters, interval),
                strongest=tuple(
                    Dispute(
                        row,
                        names[int(leading[row, first])],
                        names[int(leading[row, second])],
                        float(divergence[row]),
                        float(decision[row]),
                    )
                    for row in hardest
                ),
            )
        )
    return tuple(results)


def _mean(values: np.ndarray, clusters: Sequence[str], interval: IntervalOf) -> Mean:
    rows = np.flatnonzero(~np.isnan(values))
    if not len(rows):
        return Mean(float("nan"), float("nan"), float("nan"))
    terms = np.stack([values[rows], np.ones(len(rows))], axis=1)
    found = interval(terms, means(1), [clusters[int(row)] for row in rows])
    return Mean(float(found.estimate[0]), float(found.low[0]), float(found.high[0]))

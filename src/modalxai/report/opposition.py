"""Conflict by emotion: where two modalities pull apart, and who gets their way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from modalxai.attribution.conflict import Conflict
from modalxai.report.evidence import Evidence, Pair
from modalxai.report.strata import Stratum
from modalxai.statistics import IntervalOf, means


@dataclass(frozen=True)
class Opposition:
    """Two modalities over the samples of one row that have both.

    Parameters
    ----------
    label, group
        The row.
    pair
        The two modalities.
    n
        Samples that have both.
    opposed
        Of these, in how many one speaks clearly for the label and the other against it.
    cancellation
        Of the two, ``1 - sum |phi_1 + phi_2| / sum (|phi_1| + |phi_2|)``, in 0..1; NaN without
        evidence.
    disagreeing
        In how many the two favour different labels; 0 for labels that are not categorical.
    first_wins
        Of the disagreeing ones, in how many the first's label scores higher when all is heard.
    win_share, low, high
        ``first_wins / disagreeing`` and its interval. NaN where none disagree; the bounds are NaN,
        too, where one side wins always, because then nothing tells the spread.
    margin
        Over the disagreeing ones, mean logit of the first's label minus the second's.
    """

    label: str
    group: str
    pair: Pair
    n: int
    opposed: int
    cancellation: float
    disagreeing: int
    first_wins: int
    win_share: float
    low: float
    high: float
    margin: float


def oppositions(
    evidence: Evidence,
    conflict: Conflict | None,
    strata: Sequence[Stratum],
    clusters: Sequence[str],
    interval: IntervalOf,
) -> tuple[Opposition, ...]:
    """One per row and pair of modalities; ``conflict`` is None without categorical labels."""
    return tuple(
        _opposition(evidence, conflict, stratum, pair, clusters, interval)
        for stratum in strata
        for pair in evidence.pairs
    )


def _opposition(
    evidence: Evidence,
    conflict: Conflict | None,
    stratum: Stratum,
    pair: Pair,
    clusters: Sequence[str],
    interval: IntervalOf,
) -> Opposition:
    label = evidence.labels[stratum.column]
    sides = [evidence.modalities.index(name) for name in pair]
    rows = stratum.rows[evidence.present[stratum.rows][:, sides].all(1)]
    phi = evidence.totals[rows, stratum.column][:, sides]
    floor = float(evidence.floor[stratum.column])
    opposed = (phi > floor).any(1) & (phi < -floor).any(1)
    amount = float(np.abs(phi).sum())
    nowhere = float("nan")
    share, low, high, margin, wins, disputed = nowhere, nowhere, nowhere, nowhere, 0, rows[:0]
    if conflict is not None and label.kind == "categorical":
        place = conflict.pairs.index(pair)
        decision = conflict.decision[:, place].cpu().double().numpy()
        disputed = rows[conflict.disagree[:, place].cpu().numpy()[rows]]
        if len(disputed):
            won = (decision[disputed] > 0).astype(np.float64)
            wins, share, margin = (
                int(won.sum()),
                float(won.mean()),
                float(decision[disputed].mean()),
            )
            if 0 < wins < len(disputed):
                terms = np.stack([won, np.ones_like(won)], axis=1)
                found = interval(terms, means(1), [clusters[int(row)] for row in disputed])
                low, high = np.clip([found.low[0], found.high[0]], 0, 1).tolist()
    return Opposition(
        label=label.name,
        group=stratum.group,
        pair=pair,
        n=len(rows),
        opposed=int(opposed.sum()),
        cancellation=1 - float(np.abs(phi.sum(1)).sum()) / amount if amount else nowhere,
        disagreeing=len(disputed),
        first_wins=wins,
        win_share=share,
        low=low,
        high=high,
        margin=margin,
    )

"""All categorical labels as one row: each sample's predicted label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from modalxai.attribution import Explanation
from modalxai.report.columns import predicted
from modalxai.report.evidence import Evidence
from modalxai.report.shares import ShareRow, share_rows
from modalxai.report.skill import ChanceGate
from modalxai.report.strata import Stratum
from modalxai.statistics import IntervalOf
from modalxai.types import columns


def whole_row(
    explanation: Explanation,
    evidence: Evidence,
    others: Sequence[Evidence],
    clusters: Sequence[str],
    gate: ChanceGate,
    interval: IntervalOf,
) -> ShareRow | None:
    """The shares of every sample's predicted label, under no name; None without such labels."""
    categorical = columns(explanation.labels, "categorical")
    if not categorical:
        return None
    said = predicted(explanation.scores[-1].numpy(), explanation.labels)
    everyone = np.arange(len(said))
    row = share_rows(
        _collapse(evidence, said, categorical[0]),
        [_collapse(other, said, categorical[0]) for other in others],
        [Stratum("", 0, everyone, everyone)],
        clusters,
        gate,
        (),
        interval,
    )[0]
    return replace(row, label="")


def _collapse(evidence: Evidence, said: np.ndarray, column: int) -> Evidence:
    """Only the column ``said`` of each sample, under the name of the label of ``column``."""
    rows = np.arange(len(said))
    return replace(
        evidence,
        labels=(evidence.labels[column],),
        totals=evidence.totals[rows, said][:, None],
        se=evidence.se[rows, said][:, None],
        pairs={pair: values[rows, said][:, None] for pair, values in evidence.pairs.items()},
        residual=evidence.residual[rows, said][:, None],
        floor=evidence.floor[[column]],
        units=(evidence.units[column],),
    )

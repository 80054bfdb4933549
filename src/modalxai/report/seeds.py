"""One recipe trained several times: shares as a mean over training seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from modalxai.errors import InputError
from modalxai.report.changes import require_comparable, share_terms
from modalxai.statistics import nested_interval, ratio_of_means

if TYPE_CHECKING:
    from modalxai.report import Report


@dataclass(frozen=True)
class SeedRow:
    """One row over all seeds that have evidence in it.

    Parameters
    ----------
    label, group
        Of the row.
    seeds, clusters
        How many seeds have shares in this row, and how many different clusters they were tested
        on.
    share, low, high
        By modality: the mean over these seeds, and its interval over seeds and clusters.
    by_seed
        By modality, the share of each seed in the order given; NaN where it has none.
    reason
        Why there is no interval; empty where there is one.
    """

    label: str
    group: str
    seeds: int
    clusters: int
    share: Mapping[str, float]
    low: Mapping[str, float]
    high: Mapping[str, float]
    by_seed: Mapping[str, tuple[float, ...]]
    reason: str


def over_seeds(reports: Sequence[Report]) -> tuple[SeedRow, ...]:
    """Shares over training seeds, one report per seed, see `nested_interval`.

    A seed whose shares are NaN in a row (at chance, no evidence) has no part in that row, which
    counts the others.

    Raises
    ------
    InputError
        Fewer than two reports, or reports of other labels, modalities, rows, scales or removals.
    """
    if len(reports) < 2:
        raise InputError(
            "the spread over training seeds needs several of them",
            expected="reports of two seeds or more, better five",
            got=str(len(reports)),
            mend="train the model again with other seeds",
        )
    for other in reports[1:]:
        require_comparable(reports[0], other)
    keys = dict.fromkeys((row.label, row.group) for one in reports for row in one.shares())
    return tuple(_row(reports, label, group) for label, group in keys)


def _row(reports: Sequence[Report], label: str, group: str) -> SeedRow:
    names, nowhere = reports[0].explanation.modalities, float("nan")
    by_seed, sides = np.full((len(reports), len(names)), nowhere), []
    for seed, report in enumerate(reports):
        for place, row in enumerate(report.shares()):
            divided = not np.isnan(list(row.share.values())).all()
            if (row.label, row.group) == (label, group) and divided:
                by_seed[seed] = [row.share[name] for name in names]
                sides.append(share_terms(report, [place]))
    clusters = len({name for side in sides for name in side.clusters})
    share = low = high = np.full(len(names), nowhere)
    reason = "fewer than two seeds have shares in this row"
    if len(sides) > 1:
        found = nested_interval(
            [side.terms for side in sides],
            ratio_of_means(len(names)),
            [side.clusters for side in sides],
            level=reports[0].level,
        )
        share, reason = found.estimate, found.reason
        low, high = np.clip([found.low, found.high], 0, 1)
    elif sides:
        share = np.nanmean(by_seed, axis=0)
    return SeedRow(
        label=label,
        group=group,
        seeds=len(sides),
        clusters=clusters,
        share=dict(zip(names, share.tolist(), strict=True)),
        low=dict(zip(names, low.tolist(), strict=True)),
        high=dict(zip(names, high.tolist(), strict=True)),
        by_seed={name: tuple(by_seed[:, m].tolist()) for m, name in enumerate(names)},
        reason=reason,
    )

"""Shares against a reference: after against before, one model against another, bias.

What both sides share (samples, speakers) is resampled together, so a difference is paired wherever
it can be. One family of tests is adjusted together (Holm).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import isnan
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from modalxai.errors import InputError
from modalxai.report.shares import ShareRow
from modalxai.statistics import Array, Statistic, cluster_test, difference, holm, ratio_of_means
from modalxai.types import select

if TYPE_CHECKING:
    from modalxai.report import Report


@dataclass(frozen=True)
class Change:
    """The share of one modality in one row, beside its reference.

    Parameters
    ----------
    label, group, modality
        Of the row.
    reference, share
        Before and after; what is expected, and what was found.
    n
        Samples of the row (after).
    difference, low, high
        ``share - reference`` and its interval. NaN where ``reason`` says why.
    p, p_holm
        That the difference is 0, and the same adjusted over all rows and modalities (with two
        modalities the second share is the first's complement, and no second test).
    differs
        ``p_holm`` is at most 1 - level.
    reason
        Why there is no difference; empty where there is one.
    """

    label: str
    group: str
    modality: str
    reference: float
    share: float
    n: int
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    differs: bool
    reason: str = ""


class Side(NamedTuple):
    """Terms of one share [N, 2 M], with the sample's id and its cluster."""

    terms: Array
    ids: Sequence[str]
    clusters: Sequence[str]


def compare(before: Report, after: Report) -> tuple[Change, ...]:
    """How shares changed from one report to another, by row and modality.

    Samples are matched by id, and clusters by name; the reports need not hold the same samples.
    Rows that only one of them has are left out.

    Raises
    ------
    InputError
        Reports of other labels, modalities, rows, scales or removals, which do not compare, or a
        sample that has another cluster in each.
    """
    require_comparable(before, after)
    rows = {(row.label, row.group): place for place, row in enumerate(before.shares())}
    asked = []
    for place, row in enumerate(after.shares()):
        known = rows.get((row.label, row.group))
        if known is not None:
            earlier = before.shares()[known]
            asked.append((earlier.share, earlier.reason, row, share_terms(before, [known]), place))
    return _changes(after, asked)


def find_bias(
    report: Report, reference: Mapping[str, Mapping[str, float]] | Report | str = "corpus"
) -> tuple[Change, ...]:
    """Emotions whose reliance on a modality differs from a reference.

    Parameters
    ----------
    reference
        ``{label: {modality: share}}``, the weights of people for example; another report, of a
        model held to be sound; or ``"corpus"``: the share over all rows of labels of that kind.

    Returns
    -------
    tuple of Change
        Biased rows have ``differs``. A difference is a fact about this model, and by itself
        neither unfair nor wrong: some emotions are said, others are sung.

    Raises
    ------
    InputError
        Unknown labels or modalities, or reports that do not compare.
    """
    if isinstance(reference, str):
        if reference != "corpus":
            raise InputError(
                "an unknown reference",
                expected='"corpus", {label: {modality: share}} or a Report',
                got=repr(reference),
                mend="leave it out to compare with the corpus",
            )
        return _changes(
            report, [_with_corpus(report, place) for place in range(len(report.strata))]
        )
    if not isinstance(reference, Mapping):
        return compare(reference, report)
    _check_weights(report, reference)
    asked = [
        (reference[row.label], "", row, None, place)
        for place, row in enumerate(report.shares())
        if row.label in reference
    ]
    return _changes(report, asked)


Asked = tuple[Mapping[str, float], str, ShareRow, Side | None, int]
"""Reference shares, why there are none, the row, the terms of the reference, the row's place."""


def _changes(report: Report, asked: Sequence[Asked]) -> tuple[Change, ...]:
    found = [change for one in asked for change in _change(report, *one)]
    mirrored = len(report.explanation.modalities) == 2
    tests = [one.p for one in found][:: 2 if mirrored else 1]
    adjusted = np.repeat(holm(tests), 2 if mirrored else 1).tolist()
    limit = 1 - report.level
    return tuple(
        replace(one, p_holm=p, differs=bool(p <= limit))
        for one, p in zip(found, adjusted, strict=True)
    )


def _change(
    report: Report,
    reference: Mapping[str, float],
    unknown: str,
    row: ShareRow,
    other: Side | None,
    place: int,
) -> list[Change]:
    names, nowhere = report.explanation.modalities, float("nan")
    expected = np.array([reference.get(name, nowhere) for name in names])
    reason = (f"reference: {unknown}" if unknown else "") or row.reason
    low = high = p = np.full(len(names), nowhere)
    if not reason:
        own, width = share_terms(report, [place]), 2 * len(names)
        share = ratio_of_means(len(names))
        statistic: Statistic = (
            (lambda sums: share(sums) - expected)
            if other is None
            else difference(share, share, width)
        )
        terms, clusters = (own.terms, own.clusters) if other is None else _together(other, own)
        found = report.interval(terms, statistic, clusters)
        test = partial(cluster_test, repeats=report.repeats, seed=report.seed)
        low, high, p, reason = (
            found.low,
            found.high,
            test(terms, statistic, clusters).p,
            found.reason,
        )
    return [
        Change(
            label=row.label,
            group=row.group,
            modality=name,
            reference=float(expected[m]),
            share=row.share[name],
            n=row.n,
            difference=row.share[name] - float(expected[m]),
            low=float(low[m]),
            high=float(high[m]),
            p=float(p[m]),
            p_holm=nowhere,
            differs=False,
            reason=reason or ("no reference" if isnan(expected[m]) else ""),
        )
        for m, name in enumerate(names)
    ]


def share_terms(report: Report, places: Sequence[int]) -> Side:
    """Magnitudes and counts of some rows of a report."""
    evidence = report.evidence
    parts = [report.strata[place] for place in places]
    rows = np.concatenate([part.rows for part in parts])
    totals = np.concatenate([np.abs(evidence.totals[p.rows, p.column]) for p in parts])
    return Side(
        terms=np.concatenate([totals, evidence.present[rows]], axis=1),
        ids=[report.explanation.sample_ids[int(row)] for row in rows],
        clusters=[report.clusters[int(row)] for row in rows],
    )


def _together(first: Side, second: Side) -> tuple[Array, list[str]]:
    """Terms of both sides beside each other: only clusters matter, so rows need not be matched."""
    of_sample = dict(zip(first.ids, first.clusters, strict=True))
    for name, cluster in zip(second.ids, second.clusters, strict=True):
        if of_sample.get(name, cluster) != cluster:
            raise InputError(
                f"sample {name!r} has another cluster in each report",
                expected=f"the cluster {of_sample[name]!r}",
                got=repr(cluster),
                mend="make both reports with the same cluster",
            )
    width = first.terms.shape[1]
    above = np.pad(first.terms, [(0, 0), (0, width)])
    below = np.pad(second.terms, [(0, 0), (width, 0)])
    return np.concatenate([above, below]), [*first.clusters, *second.clusters]


def _with_corpus(report: Report, place: int) -> Asked:
    row, labels = report.shares()[place], report.explanation.labels
    kind = labels[report.strata[place].column].kind
    alike = [p for p, s in enumerate(report.strata) if labels[s.column].kind == kind]
    everything = share_terms(report, alike)
    shares = ratio_of_means(len(report.explanation.modalities))(everything.terms.sum(0))
    names = report.explanation.modalities
    return dict(zip(names, shares.tolist(), strict=True)), "", row, everything, place


def require_comparable(before: Report, after: Report) -> None:
    """Refuse reports that were made in different ways."""
    facts: dict[str, Callable[[Report], object]] = {
        "labels": lambda report: report.explanation.labels,
        "modalities": lambda report: report.explanation.modalities,
        "rows": lambda report: report.asked["by"],
        "scale": lambda report: report.scale,
        "removal": lambda report: dict(report.explanation.provenance.removal),
        "level of removal": lambda report: report.explanation.provenance.level,
    }
    for name, fact in facts.items():
        if fact(before) != fact(after):
            raise InputError(
                f"reports with different {name} do not compare",
                expected=str(fact(before)),
                got=str(fact(after)),
                mend="make both reports with the same settings",
            )


def _check_weights(report: Report, reference: Mapping[str, Mapping[str, float]]) -> None:
    select(report.explanation.labels, list(reference))
    for label, weights in reference.items():
        unknown = set(weights) - set(report.explanation.modalities)
        if unknown or any(not 0 <= weight <= 1 for weight in weights.values()):
            raise InputError(
                f"reference weights of {label!r} that are none",
                expected=f"shares in 0..1 of {list(report.explanation.modalities)}",
                got=str(dict(weights)),
                mend="give each modality its part of the whole",
            )

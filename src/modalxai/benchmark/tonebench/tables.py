"""From the answers about every model to tables: errors with intervals, comparisons, ranks.

A figure is of one family and one removal, over the seeds whose gate held: the mean over seeds,
with an interval over seeds and speakers (no two seeds share a speaker).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modalxai.attribution.interaction_types import KINDS
from modalxai.benchmark.tonebench import scores
from modalxai.benchmark.tonebench.contest import ANSWERED
from modalxai.benchmark.tonebench.scores import Estimate
from modalxai.statistics import Array, Statistic, cluster_interval, nested_interval

EQUAL = 0.01
"""Points: answers whose errors differ by less are the same up to rounding."""


@dataclass(frozen=True)
class Line:
    """What one contestant achieved in one family under one removal.

    Parameters
    ----------
    contestant, family, removal, track
        Who, where.
    status
        ``"answered"``, ``"cannot answer"`` or ``"not installed"``; ``why`` says more.
    seeds
        Models asked about.
    share_error
        Points: see `scores.share_error`. Nothing where there is no share.
    against_default
        Its share error less the default's, paired; above 0 is worse.
    rank
        1 + how many others have a smaller error beyond the paired interval; ties share a rank.
    nats_error, signs, leak, completeness, kinds
        See `scores`: mean |found - true| in nats; part of the signs that are right; part of the
        magnitude on modalities that decide nothing; mean |residual| in nats; part of the types of
        interaction that are right. ``None`` where nothing is claimed or nothing is asked.
    found, pointed
        By modality AUC and pointing game of maps.
    rows
        Encoder rows for each sample.
    printed
        Labels of which it gives a share, mean over seeds: 0 is the right answer to NULL.
    """

    contestant: str
    family: str
    removal: str
    track: str
    status: str
    why: str = ""
    seeds: int = 0
    share_error: Estimate | None = None
    against_default: Estimate | None = None
    rank: int | None = None
    nats_error: Estimate | None = None
    signs: Estimate | None = None
    leak: Estimate | None = None
    completeness: Estimate | None = None
    kinds: Estimate | None = None
    found: Mapping[str, Estimate] | None = None
    pointed: Mapping[str, Estimate] | None = None
    rows: float | None = None
    printed: float | None = None


def lines(
    records: Sequence[Mapping[str, Any]], default: str, shares: Callable[[str], bool]
) -> list[Line]:
    """All lines of all families.

    Parameters
    ----------
    records
        From `contest.compete`, one of each family and seed.
    default
        Whom the others are compared with.
    shares
        Whether a family has a share.
    """
    found = []
    for family in dict.fromkeys(str(one["family"]) for one in records):
        own = [one for one in records if one["family"] == family]
        for removal in own[0]["tracks"]:
            found += _ranked(own, family, removal, default, shares(family))
    return found


def _ranked(
    records: Sequence[Mapping[str, Any]], family: str, removal: str, default: str, share: bool
) -> list[Line]:
    names = dict.fromkeys(name for one in records for name in one["answers"][removal])
    track = str(records[0]["tracks"][removal])
    made = {name: _line(records, name, family, removal, track, share, default) for name in names}
    asked = [name for name, line in made.items() if line.share_error is not None]
    if share:
        for name in asked:
            better = sum(
                _gap(records, removal, name, other).high < -EQUAL
                for other in asked
                if other != name
            )
            made[name] = _replaced(made[name], rank=1 + better)
    return list(made.values())


def _replaced(line: Line, **changes: Any) -> Line:
    return Line(**{**line.__dict__, **changes})


def _line(
    records: Sequence[Mapping[str, Any]],
    name: str,
    family: str,
    removal: str,
    track: str,
    share: bool,
    default: str,
) -> Line:
    held = [
        (one, one["answers"][removal][name]) for one in records if name in one["answers"][removal]
    ]
    answered = [(one, answer) for one, answer in held if answer["status"] == ANSWERED]
    if not answered:
        status, why = held[0][1]["status"], held[0][1]["why"]
        return Line(name, family, removal, track, status, why)
    first = answered[0][1]
    speakers = [one["speakers"] for one, _ in answered]
    line = Line(
        name, family, removal, track, ANSWERED, seeds=len(answered),
        rows=float(np.mean([answer["rows"] / len(one["gold"]) for one, answer in answered])),
        found=_maps(answered, "auc"), pointed=_maps(answered, "pointing"),
    )  # fmt: skip
    if first["contributions"] is None:
        return line
    pairs = [(_own(answer), _gold(one), one) for one, answer in answered]
    labels, modalities = len(records[0]["labels"]), len(records[0]["modalities"])
    printed = [_printed(one, answer) for one, answer in answered]
    line = _replaced(line, printed=float(np.mean(printed)))
    if share:
        terms = [_shares(one, answer) for one, answer in answered]
        line = _replaced(
            line,
            share_error=interval(terms, scores.share_error(labels, modalities), speakers, 100),
            against_default=None if name == default else _gap(records, removal, default, name),
        )
    if first["signed"]:
        terms = [scores.sign_terms(found, gold) for found, gold, _ in pairs]
        line = _replaced(line, signs=interval(terms, scores.ratio, speakers, 1))
    if first["nats"]:
        terms = [scores.nats_terms(found, gold) for found, gold, _ in pairs]
        line = _replaced(line, nats_error=interval(terms, scores.ratio, speakers))
    dummies = [records[0]["modalities"].index(one) for one in records[0]["dummies"]]
    if dummies and share:
        terms = [scores.leak_terms(found, dummies) for found, _, _ in pairs]
        line = _replaced(line, leak=interval(terms, scores.ratio, speakers, 1))
    if all(answer["residual"] is not None for _, answer in answered):
        terms = [_counted(np.abs(_floats(answer["residual"]))) for _, answer in answered]
        line = _replaced(line, completeness=interval(terms, scores.ratio, speakers))
    if all(answer["kinds"] is not None for _, answer in answered):
        terms = [_kinds(one, answer) for one, answer in answered]
        line = _replaced(line, kinds=interval(terms, scores.ratio, speakers, 1))
    return line


def _gap(records: Sequence[Mapping[str, Any]], removal: str, first: str, second: str) -> Estimate:
    """The second's share error minus the first's, over models that both were asked about."""
    both = [
        one
        for one in records
        if all(
            one["answers"][removal].get(name, {}).get("status") == ANSWERED
            and one["answers"][removal][name]["contributions"] is not None
            for name in (first, second)
        )
    ]
    if not both:
        return Estimate.nothing()
    labels, modalities = len(both[0]["labels"]), len(both[0]["modalities"])
    sides = [
        [_shares(one, one["answers"][removal][name]) for name in (first, second)] for one in both
    ]
    terms = [np.concatenate(pair, axis=1) for pair in sides]
    width = sides[0][0].shape[1]
    return interval(
        terms,
        scores.share_gap(width, labels, modalities),
        [one["speakers"] for one in both],
        least=-math.inf,
    )


def interval(
    terms: Sequence[Array],
    statistic: Statistic,
    clusters: Sequence[Sequence[str]],
    most: float = math.inf,
    least: float = 0.0,
) -> Estimate:
    """The mean over seeds and its interval over seeds and speakers; over speakers of one seed.

    Beyond ``least`` and ``most`` the figure cannot lie, nor does its interval.
    """
    if len(terms) > 1:
        found = nested_interval(terms, statistic, clusters)
    else:
        found = cluster_interval(terms[0], statistic, clusters[0], method="jackknife")
    low, high = np.clip([found.low[0], found.high[0]], least, most)
    return Estimate(float(found.estimate[0]), float(low), float(high))


def confusions(
    records: Sequence[Mapping[str, Any]], removal: str, contestant: str
) -> dict[str, dict[str, int]]:
    """By type in the gold, how often the contestant says which; over all families and seeds."""
    table = np.zeros((len(KINDS), len(KINDS)), dtype=np.int64)
    for one in records:
        answer = one["answers"].get(removal, {}).get(contestant, {})
        if answer.get("kinds") is not None:
            table += scores.confusion(
                np.asarray(answer["kinds"], dtype=np.int64),
                np.asarray(one["kinds"], dtype=np.int64),
            )
    return {
        true: dict(zip(KINDS, map(int, row), strict=True))
        for true, row in zip(KINDS, table.tolist(), strict=True)
    }


def spreads(records: Sequence[Mapping[str, Any]], contestant: str) -> dict[str, float]:
    """By family, how far a contestant's share of a label differs between removals, points.

    The largest distance between two removals that it answers under, mean over labels and seeds.
    """
    found: dict[str, list[float]] = {}
    for one in records:
        shares = [
            _shares_of(one, answers[contestant])
            for answers in one["answers"].values()
            if answers.get(contestant, {}).get("contributions") is not None
        ]
        if len(shares) < 2:
            continue
        apart = [
            50 * np.abs(a - b).sum(-1) for at, a in enumerate(shares) for b in shares[at + 1 :]
        ]
        most = np.max(apart, axis=0)
        if not np.isnan(most).all():
            found.setdefault(str(one["family"]), []).append(float(np.nanmean(most)))
    return {family: float(np.mean(values)) for family, values in found.items()}


def _shares_of(record: Mapping[str, Any], answer: Mapping[str, Any]) -> Array:
    sums = _shares(record, answer).sum(0)
    return scores.shares_in(sums, len(record["labels"]), len(record["modalities"]))[0]


def _shares(record: Mapping[str, Any], answer: Mapping[str, Any]) -> Array:
    return scores.share_terms(
        _own(answer), _gold(record), np.asarray(record["predicted"]), len(record["labels"])
    )


def _printed(record: Mapping[str, Any], answer: Mapping[str, Any]) -> int:
    """Labels with samples of which a share is given."""
    given = {record["labels"][at] for at in set(record["predicted"])}
    return len(given - set(answer["silent"]))


def _maps(
    answered: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], score: str
) -> dict[str, Estimate] | None:
    names = dict.fromkeys(name for _, answer in answered for name in answer["found"])
    found = {}
    for name in names:
        terms, clusters = [], []
        for one, answer in answered:
            values = _floats(answer["found"][name][score])
            known = np.isfinite(values)
            if known.any():
                terms.append(_counted(values[known]))
                clusters.append([one["speakers"][row] for row in np.flatnonzero(known)])
        if terms:
            found[name] = interval(terms, scores.ratio, clusters, 1)
    return found or None


def _kinds(record: Mapping[str, Any], answer: Mapping[str, Any]) -> Array:
    gold, found = np.asarray(record["kinds"]), np.asarray(answer["kinds"])
    asked = (gold >= 0) & (found >= 0)
    return np.stack([asked & (gold == found), asked], axis=1).astype(float)


def _counted(values: Array) -> Array:
    return np.stack([values, np.ones(len(values))], axis=1)


def _own(answer: Mapping[str, Any]) -> Array:
    return np.asarray(answer["contributions"], dtype=np.float64)


def _gold(record: Mapping[str, Any]) -> Array:
    return np.asarray(record["gold"], dtype=np.float64)


def _floats(values: Sequence[float | None]) -> Array:
    return np.array([np.nan if one is None else one for one in values], dtype=np.float64)

"""Which modalities say anything about the emotion? The tests that selected them, and their words.

Every test takes utterances as independent, which those of one speaker are not: its p-values are
too small. What a test says is printed as it is, and decides nothing silently.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from modalxai import statistics
from modalxai.biosignals import Beats
from modalxai.errors import InputError
from modalxai.protocols import Samples
from modalxai.recipes.results import Line, ResultsTable
from modalxai.recipes.valence_arousal.data import DIMENSIONS

LEVEL = 0.05
LARGEST_SHAPIRO = 5000
POINTS = 24
"""Samples that a temperature curve is brought to before curves are compared."""


def dimension_tests(samples: Samples, emotions: Sequence[str]) -> dict[str, Any]:
    """Valence and arousal by emotion: normality, equal variances, Welch's ANOVA, Games-Howell.

    Returns
    -------
    dict
        By dimension ``"tests"`` (rows of name, statistic, p), ``"pairs"`` (Games-Howell),
        ``"means"`` by emotion, ``"differs"`` (Welch's p below 0.05; None where it cannot be
        tested) and ``"untested"``, why.
    """
    read: Any = samples
    names = read.column("label")
    found = {}
    for dimension in DIMENSIONS:
        pairs = [
            (value, name)
            for value, name in zip(read.column(dimension), names, strict=True)
            if value is not None and name in emotions
        ]
        found[dimension] = _tested([value for value, _ in pairs], [name for _, name in pairs])
    return found


def _tested(values: Sequence[float], groups: Sequence[str]) -> dict[str, Any]:
    made: dict[str, Any] = {"tests": [], "pairs": [], "untested": [], "differs": None}
    made["means"] = {
        name: float(np.mean([v for v, g in zip(values, groups, strict=True) if g == name]))
        for name in sorted(set(groups))
    }
    largest = max((groups.count(name) for name in set(groups)), default=0)
    method: Any = "shapiro" if largest <= LARGEST_SHAPIRO else "dagostino"

    def normal() -> list[tuple[str, statistics.GroupTest]]:
        by_name = statistics.normality(values, groups, method)
        return [(f"normality of {name} ({one.name})", one) for name, one in by_name.items()]

    tests: tuple[Callable[[], list[tuple[str, statistics.GroupTest]]], ...] = (
        normal,
        lambda: [("equal variances (Bartlett)", statistics.bartlett(values, groups))],
        lambda: [("equal variances (Levene)", statistics.levene(values, groups, "mean"))],
        lambda: [("equal means (Welch's ANOVA)", statistics.welch_anova(values, groups))],
    )
    try:
        for test in tests:
            made["tests"] += [(name, one.statistic, one.p) for name, one in test()]
        made["differs"] = made["tests"][-1][2] < LEVEL
        made["pairs"] = [
            {"first": one.first, "second": one.second, "difference": one.difference, "p": one.p}
            for one in statistics.games_howell(values, groups)
        ]
    except InputError as error:  # groups too small or without variance: said, not hidden
        made["untested"] = [f"{error.wrong}: {error.got}"]
    return made


def body_tests(
    samples: Samples, emotions: Sequence[str], most: int, counts: Sequence[int], seed: int
) -> dict[str, Any]:
    """What is lost of each biosignal, and whether courses of the temperature go with emotions.

    Parameters
    ----------
    samples
        With ``"biosignals"``.
    emotions
        Those that are kept.
    most
        Samples looked at, drawn at random: the cost of comparing curves grows with its square.
    counts
        Numbers of clusters to choose among, by Davies-Bouldin and by silhouette.
    seed
        Of the draw and the clusters.

    Returns
    -------
    dict
        ``"gaps"`` by signal (``"recorded"``: part of the samples; ``"lost"``: mean part of a
        recording without values), ``"clusters"`` (both indices by number), ``"chosen"``,
        ``"association"`` (chi2, p, v) and ``"untested"``.
    """
    read: Any = samples
    names = read.column("label")
    rows = np.random.default_rng([43, seed]).permutation(len(samples))[:most].tolist()
    bodies = [_body(samples, row) for row in rows]
    gaps = {
        signal: {
            "recorded": sum(signal in one for one in bodies) / len(bodies),
            "lost": _mean([_lost(one[signal]) for one in bodies if signal in one]),
        }
        for signal in ("eda", "ibi", "temp")
    }
    courses = [
        (_course(one["temp"].values[0]), names[row])
        for row, one in zip(rows, bodies, strict=True)
        if "temp" in one and names[row] in emotions
    ]
    curves = [(curve, name) for curve, name in courses if curve is not None]
    made: dict[str, Any] = {"gaps": gaps, "looked_at": len(rows), "untested": []}
    try:
        found = statistics.cluster_series([curve for curve, _ in curves], counts, seed=seed)
        made["clusters"] = [
            {"count": one.count, "davies_bouldin": one.davies_bouldin, "silhouette": one.silhouette}
            for one in found
        ]
        made["chosen"] = {
            "davies_bouldin": min(found, key=lambda one: one.davies_bouldin).count,
            "silhouette": max(found, key=lambda one: one.silhouette).count,
        }
        best = max(found, key=lambda one: one.silhouette)
        told = statistics.association(best.labels.tolist(), [name for _, name in curves])
        made["association"] = {"chi2": told.chi2, "p": told.p, "v": told.v}
    except InputError as error:
        made["untested"] = [f"{error.wrong}: {error.got}"]
    return made


def tables(dimensions: Mapping[str, Any], bodies: Mapping[str, Any], on: str) -> list[ResultsTable]:
    """Both as tables; the source's own figure stands beside what contradicts its slide."""
    lines = [
        Line(name, {"statistic": statistic, "p": p}, group=dimension)
        for dimension, found in dimensions.items()
        for name, statistic, p in found["tests"]
    ]
    for dimension, found in dimensions.items():
        for one in found["pairs"]:
            pair = f"{one['first']} - {one['second']} (Games-Howell)"
            known = dimension == "arousal" and {one["first"], one["second"]} == {"angry", "happy"}
            told = {"p": ".98"} if known else {}
            values = {"statistic": one["difference"], "p": one["p"]}
            lines.append(Line(pair, values, told, group=f"{dimension}, pairs"))
    made = [ResultsTable(f"Does it differ between emotions? {on}", ("statistic", "p"), (*lines,))]
    signals = [Line(name, values) for name, values in bodies["gaps"].items()]
    made.append(ResultsTable(f"Biosignals, {on}", ("recorded", "lost"), (*signals,)))
    if "clusters" in bodies:
        courses = [
            Line(f"{one['count']} clusters", {k: one[k] for k in ("davies_bouldin", "silhouette")})
            for one in bodies["clusters"]
        ]
        names = ("davies_bouldin", "silhouette", "chi2", "p", "v")
        if "association" in bodies:
            courses.append(Line("with the emotion", bodies["association"]))
        made.append(ResultsTable(f"Courses of the skin temperature, {on}", names, (*courses,)))
    return made


def words(dimensions: Mapping[str, Any], bodies: Mapping[str, Any]) -> list[str]:
    """What the tests say, one sentence each."""
    said = []
    for name, found in dimensions.items():
        if found["differs"] is None:
            said.append(f"{name}: not tested ({'; '.join(found['untested'])})")
            continue
        alike = [f"{p['first']}/{p['second']}" for p in found["pairs"] if p["p"] >= LEVEL]
        differs = "differs" if found["differs"] else "does not differ"
        rest = f"; not between {', '.join(alike)}" if alike and found["differs"] else ""
        said.append(f"{name} {differs} between emotions (Welch's ANOVA){rest}")
    if "association" in bodies:
        p, v = bodies["association"]["p"], bodies["association"]["v"]
        related = "go with the emotion" if p < LEVEL else "are unrelated to the emotion"
        said.append(f"courses of the skin temperature {related} (p = {p:.3f}, V = {v:.2f})")
    else:
        said.append(f"skin temperature: not tested ({'; '.join(bodies['untested'])})")
    return said


def _body(samples: Samples, row: int) -> Mapping[str, Any]:
    found: Mapping[str, Any] = samples[row].get("biosignals") or {}
    return found


def _lost(signal: Any) -> float:
    """The part of a recording without values: missing samples, or time between beats."""
    if isinstance(signal, Beats):
        if len(signal.times) < 2:
            return 1.0
        whole = float(signal.times[-1] - signal.times[0] + signal.intervals[0])
        return sum(end - start for start, end in signal.gaps()) / whole
    return float(np.isnan(signal.values).mean()) if signal.values.size else 1.0


def _course(values: Any) -> Any:
    """A curve [POINTS] of what is known, straight across gaps; None where too little is known."""
    known = np.flatnonzero(np.isfinite(values))
    if len(known) < 2:
        return None
    places = np.linspace(known[0], known[-1], POINTS)
    return np.interp(places, known, np.asarray(values)[known])


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")

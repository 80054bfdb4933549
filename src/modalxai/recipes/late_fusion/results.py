"""Tables and figures of recipe S1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modalxai.recipes.late_fusion.settings import COMBINATIONS, SPLIT, Settings
from modalxai.recipes.results import Line, ResultsTable
from modalxai.report import Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER = {
    "audio": {"accuracy": ".61", "F1": ".39"},
    "text": {"accuracy": ".41", "F1": ".26"},
    "biosignals": {"accuracy": ".52", "F1": ".31"},
    "audio + text": {"accuracy": ".63", "F1": ".42"},
    "all": {"accuracy": ".70", "F1": ".49"},
}
"""What the source prints for KEMDy19. It does not say how it averages the F1 of the classes."""
Scores = Mapping[str, Mapping[str, Any]]


def scores_table(seeds: Sequence[Scores], on: str, settings: Settings) -> ResultsTable:
    """Accuracy and F1 of every combination, one value per seed."""
    lines = []
    for group, names in (
        ("one network for all biosignals, as in the source", COMBINATIONS),
        ("each biosignal by itself", SPLIT),
    ):
        for name in names:
            values = {
                metric: [found[name][metric] for found in seeds] for metric in ("accuracy", "F1")
            }
            lines.append(Line(name, values, PAPER.get(name, {}), group))
    title = f"Late fusion on {on} (F1: {settings.average} average)"
    return ResultsTable(title, ("accuracy", "F1"), tuple(lines))


def gains_table(seeds: Sequence[Mapping[str, Scores]], on: str) -> ResultsTable:
    """What the full set has over the others; paired, with intervals over speakers."""
    lines = [
        Line(f"all - {name}", {end: [seed[name][metric][end] for seed in seeds] for end in ENDS},
             group=metric)
        for metric in ("accuracy", "F1")
        for name in seeds[0]
    ]  # fmt: skip
    return ResultsTable(f"What all have over fewer, on {on}", ENDS, tuple(lines))


ENDS = ("value", "low", "high")


def planted(
    reports: Sequence[Report], on: str
) -> tuple[ResultsTable, list[dict[str, dict[str, float]]]]:
    """Measured shares of every seed beside the planted ones.

    Returns
    -------
    tuple
        The table; and of every seed, by emotion and modality, how far they are off.
    """
    names, gold = reports[0].explanation.modalities, reports[0].gold
    found = [{row.label: row.share for row in report.shares()} for report in reports]
    errors = [
        {
            label: {name: abs(share[name] - gold[label][name]) for name in names}
            for label, share in shares.items()
            if label in gold
        }
        for shares in found
    ]
    lines = []
    for label, true in gold.items():
        values: dict[str, float | list[float]] = {
            name: [shares[label][name] for shares in found] for name in names
        }
        values |= {f"{name}, planted": true[name] for name in names}
        values["largest error"] = max(error for one in errors for error in one[label].values())
        lines.append(Line(label, values))
    columns = tuple(column for name in names for column in (name, f"{name}, planted"))
    title = f"Shares of {len(names)} modalities and the planted truth, on {on}"
    return ResultsTable(title, (*columns, "largest error"), tuple(lines)), errors


def scores_figure(scores: Scores, on: str) -> Figure:
    """Bars of accuracy and F1 by combination."""
    from matplotlib.figure import Figure

    names = [*COMBINATIONS, *SPLIT]
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    for shift, metric in ((-0.2, "accuracy"), (0.2, "F1")):
        places = [place + shift for place in range(len(names))]
        axes.bar(places, [scores[name][metric] for name in names], 0.4, label=metric)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axes.set_ylim(0, 1)
    axes.set_title(f"Late fusion on {on}")
    axes.legend()
    return figure

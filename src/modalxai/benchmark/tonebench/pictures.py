"""Pictures: error against encoder rows, and errors by family."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modalxai import storage
from modalxai.benchmark.tonebench.results import Results
from modalxai.benchmark.tonebench.tables import Line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {
    "modalxai": "tab:blue",
    "practice": "tab:red",
    "control": "tab:gray",
    "Captum": "tab:orange",
    "SHAP": "tab:green",
    "shapiq": "tab:purple",
}
OTHER = "tab:brown"
LEAST = 0.01
"""Points below which an error is drawn at the edge."""


def draw(results: Results, folder: Path) -> dict[str, Path]:
    """Write every picture; by what it shows its path."""
    storage.require_folder(folder)
    made: dict[str, Path] = {}
    for removal in dict.fromkeys(one.removal for one in results.lines):
        means = averaged(results, removal)
        if means:
            path = folder / f"tonebench_pareto_{_slug(removal)}.png"
            _save(pareto(results, removal, means), path)
            made[removal] = path
    return made


def averaged(results: Results, removal: str) -> dict[str, tuple[float, float]]:
    """By contestant mean share error and mean rows over the families that it answers in.

    Only contestants that answer in every family with a share: means over other families are no
    comparison.
    """
    own = [one for one in results.lines if one.removal == removal and one.share_error is not None]
    families = {one.family for one in own}
    found = {}
    for name in dict.fromkeys(one.contestant for one in own):
        mine = [one for one in own if one.contestant == name and _error(one) == _error(one)]
        if {one.family for one in mine} == families:
            errors = float(np.mean([_error(one) for one in mine]))
            rows = float(np.mean([one.rows or 0.0 for one in mine]))
            found[name] = errors, rows
    return found


def front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Names that nobody beats in both: no other has at most the error and rows, and less of one."""
    return [
        name
        for name, (error, rows) in points.items()
        if not any(
            e <= error and r <= rows and (e < error or r < rows)
            for other, (e, r) in points.items()
            if other != name
        )
    ]


def pareto(results: Results, removal: str, points: Mapping[str, tuple[float, float]]) -> Figure:
    """Mean share error against encoder rows for each sample, one point for each contestant."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_xscale("log")
    axes.set_yscale("log")
    best = set(front(points))
    places = {name: (max(rows, 1.0), max(error, LEAST)) for name, (error, rows) in points.items()}
    names = beside_points(places)
    for name, beside in names.items():
        colour = COLOURS.get(results.entrants[name]["origin"], OTHER)
        axes.scatter(*places[name], color=colour, marker="o" if name in best else "x", s=36)
        axes.annotate(
            name,
            places[name],
            xytext=beside,
            textcoords="data",
            va="center",
            fontsize=7,
            arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": "0.6"},
        )
    axes.set_xlim(0.7, 12 * max(row for row, _ in places.values()))
    axes.set_ylim(0.6 * LEAST, 1.3 * max(height for _, height in names.values()))
    axes.set_xlabel("encoder rows for each sample")
    axes.set_ylabel(f"share error, points (mean over families; {LEAST:g}: that or less)")
    axes.set_title(f"Removal: {removal}. Circles: nobody is better in both.", fontsize=10)
    shown = {results.entrants[name]["origin"] for name in points}
    for origin in [*COLOURS, "plugin"]:
        if origin in shown:
            axes.scatter([], [], color=COLOURS.get(origin, OTHER), label=origin)
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    return figure


def beside_points(
    places: Mapping[str, tuple[float, float]], column: float = 0.8, line: float = 0.026
) -> dict[str, tuple[float, float]]:
    """Where the names stand, on two logarithmic axes: right of their points, none on another.

    Points of about the same x have their names in one column.

    Parameters
    ----------
    places
        By name x and y, above zero.
    column
        Decades of x that share a column.
    line
        Height of a name, as a part of the range of y.
    """
    logs = {name: (np.log10(x), np.log10(y)) for name, (x, y) in places.items()}
    heights = [y for _, y in logs.values()]
    step = line * max(1.0, max(heights) - min(heights))
    columns: list[list[str]] = []
    for name in sorted(logs, key=lambda one: logs[one]):
        if not columns or logs[name][0] - logs[columns[-1][0]][0] > column:
            columns.append([])
        columns[-1].append(name)
    found = {}
    for names in columns:
        right, at = max(logs[name][0] for name in names) + 0.07, -np.inf
        for name in sorted(names, key=lambda one: (logs[one][1], one)):
            at = max(at + step, logs[name][1])
            found[name] = float(10**right), float(10**at)
    return found


def _error(line: Line) -> float:
    return float("nan") if line.share_error is None else line.share_error.value


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=110)


def _slug(text: str) -> str:
    return "_".join("".join(c if c.isalnum() else " " for c in text).split())

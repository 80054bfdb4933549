"""The pictures: error against cost, and growth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modalxai import storage
from modalxai.benchmark.speed.units import OURS, WANTED_ERROR

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OURS_COLOUR = "#D55E00"
COLOURS = ("#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
"""Okabe & Ito (2008), for the others, again and again; the seventh is ours alone."""
OURS_MARK, MARKS = "o", "sD^vP*X<>hdp8"
PARETO, GROWTH = "speed_pareto.png", "speed_growth.png"


def write(results: Mapping[str, Any], folder: Path) -> None:
    """Both pictures, as png, into a folder."""
    storage.require_folder(folder)
    figures = {}
    if results["units"]:
        figures[PARETO] = pareto(results["units"])
    if results["growth"] and all(results["growth"].values()):
        figures[GROWTH] = growth(results["growth"])
    for name, figure in figures.items():
        figure.savefig(folder / name, dpi=110, metadata={"Software": None})


def pareto(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Error of words' and moments' values against rows, and FLOPs, of the encoders."""
    figure = _figure((11, 9))
    sizes = list(dict.fromkeys(row["units"] for row in rows))
    axes = figure.subplots(len(sizes), 2, sharey=True, squeeze=False)
    names = [OURS, *dict.fromkeys(row["contestant"] for row in rows if row["contestant"] != OURS)]
    for line, units in zip(axes, sizes, strict=True):
        for axis, cost, unit in zip(
            line, ("encoder_rows", "encoder_flops"), ("rows", "FLOPs"), strict=True
        ):
            for place, name in enumerate(names):
                mine = [
                    row
                    for row in rows
                    if row["units"] == units and row["contestant"] == name and "error" in row
                    and row.get("estimand", "Shapley") == "Shapley"
                ]  # fmt: skip
                if mine:
                    _line(
                        axis,
                        [row[cost] for row in mine],
                        [max(row["error"], 1e-4) for row in mine],
                        name,
                        place,
                    )
            axis.axhline(WANTED_ERROR, color="#999999", linewidth=0.8, linestyle=":")
            axis.set_xscale("log")
            axis.set_yscale("log")
            axis.set_xlabel(f"encoder {unit}, text and audio, for one clip")
            axis.set_title(f"{units} words and moments", fontsize=10)
        line[0].set_ylabel("median relative error")
    handles = axes[0][0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3, fontsize=7, frameon=False)
    return figure


def growth(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """Five curves of cost."""
    figure = _figure((11, 6.5))
    axes = figure.subplots(2, 3).flatten()
    _curve(
        axes[0], curves["seconds"], "clip, seconds", "FLOPs",
        {"table": "table", "table_and_cam": "table + Grad-CAM", "predict": "predicting"},
    )  # fmt: skip
    _curve(
        axes[1], curves["players"], "words, and as many segments", "encoder rows, exact",
        {"encoder_rows": "modalxai", "every_coalition": "a function of masks"}, power=False,
    )  # fmt: skip
    _curve(
        axes[2], curves["modalities"], "modalities", "encoder rows, exact",
        {
            "encoder_rows": "modalxai",
            "every_coalition": "every coalition (SHAP Exact)",
            "every_order": "every order (Captum ShapleyValues)",
        }, power=False,
    )  # fmt: skip
    _curve(
        axes[3], curves["labels"], "labels", "FLOPs",
        {"table": "table", "table_and_cam": "table + Grad-CAM", "predict": "predicting"},
    )  # fmt: skip
    _curve(
        axes[4], curves["corpus"], "clips, references shared", "FLOPs / predicting",
        {"flops_ratio": "mask + silence"}, log=False,
    )  # fmt: skip
    axes[5].set_axis_off()
    return figure


def _curve(
    axis: Axes,
    rows: Sequence[Mapping[str, Any]],
    along: str,
    up: str,
    names: Mapping[str, str],
    *,
    power: bool = True,
    log: bool = True,
) -> None:
    for place, (key, name) in enumerate(names.items()):
        _line(axis, [row["x"] for row in rows], [row[key] for row in rows], name, place)
    if power:
        axis.set_xscale("log")
    if log:
        axis.set_yscale("log")
    axis.set_xlabel(along)
    axis.set_ylabel(up)
    axis.legend(fontsize=7, frameon=False)


def _line(axis: Axes, x: Sequence[float], y: Sequence[float], name: str, place: int) -> None:
    axis.plot(
        x,
        y,
        color=COLOURS[(place - 1) % len(COLOURS)] if place else OURS_COLOUR,
        marker=MARKS[(place - 1) % len(MARKS)] if place else OURS_MARK,
        markersize=4,
        linewidth=2 if place == 0 else 1,
        label=name,
    )


def _figure(size: tuple[float, float]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    figure.set_facecolor("white")
    return figure

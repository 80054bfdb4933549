"""Shares with their intervals, and beside them the evidence for and against each label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import TYPE_CHECKING, Any

from modalxai.report.figures.fonts import confess, entry, short, write
from modalxai.report.figures.palette import COLOURS, FAINT, INK, letters_on
from modalxai.report.shares import ShareRow
from modalxai.report.text import common_flags, own_flags, percent, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def shares(
    rows: Sequence[ShareRow],
    modalities: Sequence[str],
    gold: Mapping[str, Mapping[str, float]] | None = None,
    level: float = 0.95,
) -> Figure:
    """Shares on the left, signed evidence on the right, one line per row.

    Parameters
    ----------
    rows
        What `modalxai.report.Report.shares` gives.
    modalities
        Their names, in the model's order.
    gold
        Planted shares by label and modality, drawn as a mark.
    level
        Coverage of the rows' intervals, the whiskers.

    Returns
    -------
    matplotlib.figure.Figure
        A label that no installed font can write is numbered by its line, and the picture says so.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    names = [row.label + (f" ({row.group})" if row.group else "") for row in rows]
    gold = gold or {}
    written = write([*map(short, names), *map(short, modalities)])
    labels, players = written.texts[: len(rows)], written.texts[len(rows) :]
    families, text = written.families, written.style
    figure = Figure(
        figsize=(10.5, 1.9 + 0.62 * max(1, len(rows))), layout=ConstrainedLayoutEngine(wspace=0.06)
    )
    figure.set_facecolor("white")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.15, 1))
    common = common_flags(rows)
    for place, row in enumerate(rows):
        _share_bar(left, place, row, modalities, gold.get(row.label), text)
        _evidence_bars(right, place, row, modalities)
        flags = [flag for flag in own_flags(row, common) if flag not in row.reason]
        if flags:
            right.annotate(
                "\n".join(flags), (1.02, place), xycoords=("axes fraction", "data"),
                va="center", fontsize=8, annotation_clip=False, **text,
            )  # fmt: skip
    counts = [f"n = {row.n}, {row.clusters} cl." for row in rows]
    left.set_yticks(
        range(len(rows)),
        [f"{name}\n{count}" for name, count in zip(labels, counts, strict=True)],
        fontsize=9.5,
        **text,
    )
    left.set_ylim(len(rows) - 0.4, -0.6)
    left.set_xlim(0, 1)
    divided = any(not isnan(value) for row in rows for value in row.share.values())
    marks = [0, 0.25, 0.5, 0.75, 1] if divided else []
    left.set_xticks(marks, [percent(mark) for mark in marks], fontsize=9, **text)
    left.set_title("Share of the evidence", fontsize=11, loc="left", **text)
    if divided:
        left.set_xlabel(f"whiskers: {level:g} interval over clusters", fontsize=9, **text)
    else:
        left.spines["bottom"].set_visible(False)
    units = list(dict.fromkeys(row.unit for row in rows))
    right.axvline(0, color=INK, linewidth=0.8)
    right.tick_params(labelsize=9, labelfontfamily=families, labelcolor=INK)
    right.set_title("Evidence against (−) and for (+)", fontsize=11, loc="left", **text)
    right.set_xlabel(f"mean contribution, {' or '.join(units)}", fontsize=9, **text)
    for axes in (left, right):
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    _legend(figure, players, bool(gold) and divided, families)
    confess(figure, written.missing)
    return figure


def _share_bar(
    axes: Axes,
    place: int,
    row: ShareRow,
    modalities: Sequence[str],
    gold: Mapping[str, float] | None,
    text: Mapping[str, Any],
) -> None:
    shares = [row.share[name] for name in modalities]
    if all(isnan(share) for share in shares):
        axes.barh(place, 1, 0.5, color="none", edgecolor=FAINT, linestyle=(0, (3, 3)))
        axes.text(0.5, place, row.reason, ha="center", va="center", fontsize=8.5, **text)
        return
    start, final = 0.0, max(i for i, share in enumerate(shares) if not isnan(share))
    for index, (name, share) in enumerate(zip(modalities, shares, strict=True)):
        if isnan(share):
            continue
        colour = COLOURS[index % len(COLOURS)]
        axes.barh(place, share, 0.5, start, color=colour, edgecolor=INK, linewidth=0.6)
        if share >= 0.12:
            # The outer parts are lettered at the outer edge, and all above the whiskers.
            side = "right" if index == final else "center" if start else "left"
            x = {"left": start + 0.015, "center": start + share / 2, "right": start + share - 0.015}
            letters = dict(text) | {"color": letters_on(colour)}
            axes.text(
                x[side], place - 0.07, percent(share), ha=side, va="center", fontsize=9, **letters
            )
        # The whisker of a part sits at its end, where it says how far that end may move; the
        # last part's end is fixed, and with two parts it is the mirror of the first.
        if index != final and not isnan(row.low[name]):
            low, high = (start + edge for edge in (row.low[name], row.high[name]))
            _whisker(axes, start + share, place + 0.16, low, high)
        start += share
        if gold and index != final and name in gold:
            target = sum(gold.get(other, 0.0) for other in modalities[: index + 1])
            axes.plot(
                [target, target], [place - 0.36, place + 0.36], color=INK, linewidth=2.2,
                linestyle=(0, (1, 0.8)), zorder=4, clip_on=False,
            )  # fmt: skip


def _evidence_bars(axes: Axes, place: int, row: ShareRow, modalities: Sequence[str]) -> None:
    height = 0.6 / len(modalities)
    for index, name in enumerate(modalities):
        value = row.evidence[name]
        if isnan(value):
            continue
        y = place - 0.3 + height * (index + 0.5)
        colour = COLOURS[index % len(COLOURS)]
        axes.barh(y, value, height * 0.86, color=colour, edgecolor=INK, linewidth=0.6)
        if not isnan(row.evidence_low[name]):
            _whisker(axes, value, y, row.evidence_low[name], row.evidence_high[name])


def _whisker(axes: Axes, x: float, y: float, low: float, high: float) -> None:
    axes.errorbar(
        x, y, xerr=[[max(0, x - low)], [max(0, high - x)]],
        ecolor=INK, elinewidth=1.1, capsize=2.5, zorder=3,
    )  # fmt: skip


def _legend(figure: Figure, players: Sequence[str], gold: bool, families: list[str]) -> None:
    from matplotlib.font_manager import FontProperties
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Patch(
            facecolor=COLOURS[index % len(COLOURS)], edgecolor=INK, linewidth=0.6, label=entry(name)
        )
        for index, name in enumerate(players)
    ]
    if gold:
        handles.append(
            Line2D([], [], color=INK, linewidth=2.2, linestyle=(0, (1, 0.8)), label="planted truth")
        )
    legend = figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=len(handles),
        frameon=False,
        labelcolor=INK,
        prop=FontProperties(family=families, size=10),
    )
    for said in legend.get_texts():
        said.set_parse_math(False)


def figure_summary(rows: Sequence[ShareRow], modalities: Sequence[str]) -> str:
    """The figure in words, for readers who do not see it."""
    parts = []
    for row in rows:
        numbers = ", ".join(
            f"{name} {percent(row.share[name])} ({signed(row.evidence[name])} {row.unit})"
            for name in modalities
        )
        parts.append(f"{row.label} {row.group}".strip() + f": {row.reason or numbers}")
    return "; ".join(parts)

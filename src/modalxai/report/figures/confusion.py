"""Which label was taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from typing import TYPE_CHECKING

from modalxai.metrics import Confusion
from modalxai.report.figures.fonts import confess, short, write
from modalxai.report.figures.palette import FAINT, PAPER, letters_on
from modalxai.report.text import DASH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DARKEST = "#08519c"
"""What a rate of 1 looks like; 0 is white."""


TITLE = "Rate of the true label, and count"


def confusion(found: Confusion, title: str = TITLE) -> Figure:
    """A confusion matrix: rows are true, columns predicted; rates coloured, counts beneath them.

    A row's rates sum to 1. A label that is never true has no rates: its row is empty.

    Parameters
    ----------
    found
        What `modalxai.metrics.confusion` gives.
    title
        What to write above it, a line or several.

    Returns
    -------
    matplotlib.figure.Figure
    """
    return confusions([[(title, found)]])


def confusions(found: Sequence[Sequence[tuple[str, Confusion]]]) -> Figure:
    """Several matrices beside and below each other, each with its title: rows of rows.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    across = max(len(row) for row in found)
    side = max(max(2.2, 0.56 * len(one.classes)) for row in found for _, one in row)
    figure = Figure(
        figsize=((side + 1.3) * across, (side + 1.2) * len(found)),
        layout="constrained",
        facecolor="white",
    )
    axes = figure.subplots(len(found), across, squeeze=False)
    missing = False
    for line, row in zip(axes, found, strict=True):
        for each, (title, one) in zip(line, row, strict=False):
            missing |= _matrix(each, one, title)
        for empty in line[len(row) :]:
            empty.set_visible(False)
    confess(figure, missing)
    return figure


def _matrix(axes: Axes, found: Confusion, title: str) -> bool:
    """Draw one; whether some name could not be written."""
    from matplotlib.patches import Rectangle

    count = len(found.classes)
    rates = found.rates().tolist()
    written = write([*(short(str(name), 18) for name in found.classes), *title.splitlines()])
    names, text = written.texts[:count], written.style
    for row in range(count):
        for column in range(count):
            rate = rates[row][column]
            shade = PAPER if isnan(rate) else _shade(rate)
            axes.add_patch(
                Rectangle(
                    (column - 0.5, row - 0.5), 1, 1, facecolor=shade, edgecolor=FAINT, linewidth=0.8
                )
            )
            letters = text | {"color": letters_on(shade)}
            said = DASH if isnan(rate) else f"{rate:.2f}"
            axes.text(
                column, row, f"{said}\n{found.counts[row, column]}", ha="center", va="center",
                fontsize=8, linespacing=1.15, **letters,
            )  # fmt: skip
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_aspect("equal")
    turned = 45 if max(map(len, names), default=0) > 5 else 0
    axes.set_xticks(
        range(count), names, rotation=turned, ha="right" if turned else "center",
        rotation_mode="anchor", fontsize=9, **text,
    )  # fmt: skip
    axes.set_yticks(range(count), names, fontsize=9, **text)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted", fontsize=9, **text)
    axes.set_ylabel("true", fontsize=9, **text)
    axes.set_title("\n".join(written.texts[count:]), fontsize=10, loc="left", **text)
    return written.missing


def _shade(rate: float) -> str:
    parts = zip((255, 255, 255), (int(DARKEST[i : i + 2], 16) for i in (1, 3, 5)), strict=True)
    return "#" + "".join(f"{round(white + rate * (full - white)):02x}" for white, full in parts)

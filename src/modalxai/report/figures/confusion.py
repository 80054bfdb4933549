"""Which label was taken for which."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING

from modalxai.metrics import Confusion
from modalxai.report.figures.fonts import confess, short, write
from modalxai.report.figures.palette import FAINT, PAPER, letters_on
from modalxai.report.text import DASH

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DARKEST = "#08519c"
"""What a rate of 1 looks like; 0 is white."""


def confusion(found: Confusion) -> Figure:
    """A confusion matrix: rows are true, columns predicted; rates coloured, counts beneath them.

    A row's rates sum to 1. A label that is never true has no rates: its row is empty.

    Parameters
    ----------
    found
        What `modalxai.metrics.confusion` gives.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    count = len(found.classes)
    rates = found.rates().tolist()
    written = write([short(str(name), 18) for name in found.classes])
    text = written.style
    side = max(2.2, 0.56 * count)
    figure = Figure(figsize=(side + 1.3, side + 1.2), layout="constrained", facecolor="white")
    axes = figure.subplots()
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
    turned = 45 if max(map(len, written.texts), default=0) > 5 else 0
    axes.set_xticks(
        range(count), written.texts, rotation=turned, ha="right" if turned else "center",
        rotation_mode="anchor", fontsize=9, **text,
    )  # fmt: skip
    axes.set_yticks(range(count), written.texts, fontsize=9, **text)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted", fontsize=9, **text)
    axes.set_ylabel("true", fontsize=9, **text)
    axes.set_title("Rate of the true label, and count", fontsize=10, loc="left", **text)
    confess(figure, written.missing)
    return figure


def _shade(rate: float) -> str:
    parts = zip((255, 255, 255), (int(DARKEST[i : i + 2], 16) for i in (1, 3, 5)), strict=True)
    return "#" + "".join(f"{round(white + rate * (full - white)):02x}" for white, full in parts)

"""One utterance: which modality speaks for each label, which against it, and what is left."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from modalxai.attribution.shares import cancellation, evidence_floor, least_evidence
from modalxai.report.figures.fonts import confess, entry, short, write
from modalxai.report.figures.palette import COLOURS, INK, SOFT
from modalxai.report.figures.reading import row_of, unit_at
from modalxai.report.text import plain, signed
from modalxai.types import Attribution

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = (1.22, 1.62)
"""Where the numbers beside the bars end, in widths of the axes."""


class Weighed(NamedTuple):
    """What one sample's modalities say of one label.

    ``values`` by modality, NaN where the sample lacks it; ``net`` their sum; ``cancellation``
    ``1 - |net| / sum |values|``, NaN where there is no evidence to cancel; ``unit`` of the values.
    """

    label: str
    values: dict[str, float]
    net: float
    cancellation: float
    unit: str


def weigh(found: Attribution, sample: str | int = 0) -> tuple[Weighed, ...]:
    """One `Weighed` per explained label.

    Raises
    ------
    InputError
        An unknown sample.
    """
    row = row_of(found, sample)
    phi, present = found.totals[row].detach().cpu().double(), found.present[row].cpu()
    scores = torch.stack([found.prediction[row], found.reference[row]]).detach().cpu().double()
    least = least_evidence(found.labels, scores.nan_to_num(0).abs().amax(0), found.provenance.scale)
    floor = evidence_floor(found.se[row].detach().cpu().double().sum(-1), least)
    net, amount = phi.sum(-1), phi.abs().sum(-1)
    cancelled = cancellation(net, amount.where(amount > floor, 0))
    return tuple(
        Weighed(
            label.name,
            {
                name: float(phi[column, place]) if here else float("nan")
                for place, (name, here) in enumerate(
                    zip(found.modalities, present.tolist(), strict=True)
                )
            },
            float(net[column]),
            float(cancelled[column]),
            unit_at(found, row, column),
        )
        for column, label in enumerate(found.labels)
    )


def for_against(found: Attribution, sample: str | int = 0) -> Figure:
    """A line per label: bars to the right speak for it, bars to the left against it.

    The diamond is the net, what all modalities together add to the score of an empty input.
    Cancellation runs from 0 (all pull the same way) to 1 (a stalemate); it is a dash where there
    is no evidence to cancel.

    Parameters
    ----------
    found
        Totals [B, L, M] of any attributor, or of ``explanation.shapley()``.
    sample
        An id, or a place.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        An unknown sample.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    rows = weigh(found, sample)
    written = write([*(short(row.label, 15) for row in rows), *map(short, found.modalities)])
    labels, players = written.texts[: len(rows)], written.texts[len(rows) :]
    text: dict[str, Any] = written.style
    # Fixed margins in inches, which cost a tenth of a layout engine's time.
    width, body = 4.5, 0.34 * len(rows)
    above, below = 0.55, 0.62 + 0.2 * written.missing
    height = above + body + below
    figure = Figure(figsize=(width, height), facecolor="white")
    axes = figure.add_axes((1.15 / width, below / height, 2.0 / width, body / height))
    for place, row in enumerate(rows):
        _bars(axes, place, row)
        if isfinite(row.net):
            axes.plot(
                row.net, place, marker="D", markersize=5, color="white", markeredgecolor=INK,
                zorder=4, clip_on=False,
            )  # fmt: skip
        for x, number in zip(COLUMNS, (signed(row.net), plain(row.cancellation)), strict=True):
            axes.annotate(
                number, (x, place), xycoords=("axes fraction", "data"), ha="right", va="center",
                fontsize=8.5, annotation_clip=False, **text,
            )  # fmt: skip
    for x, head in zip(COLUMNS, ("net", "cancellation"), strict=True):
        axes.annotate(
            head, (x, 1), xycoords="axes fraction", xytext=(0, 3), textcoords="offset points",
            ha="right", va="bottom", fontsize=8, annotation_clip=False, **text | {"color": SOFT},
        )  # fmt: skip
    axes.set_yticks(range(len(rows)), labels, fontsize=9, **text)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.axvline(0, color=INK, linewidth=0.8, zorder=3)
    edge = max((abs(one) for one in _ends(rows)), default=0.0)
    # The same reach on both sides, so that the eye may compare for with against.
    axes.set_xlim(-1.08 * edge if edge else -1, 1.08 * edge if edge else 1)
    axes.tick_params(labelsize=8, labelcolor=INK)
    axes.tick_params(axis="y", length=0, labelsize=9)
    axes.spines[["top", "right", "left"]].set_visible(False)
    units = " or ".join(dict.fromkeys(row.unit for row in rows))
    axes.set_xlabel(f"against (−) and for (+), {units}", fontsize=8.5, **text)
    handles: list[Any] = [
        Patch(
            facecolor=COLOURS[index % len(COLOURS)], edgecolor=INK, linewidth=0.6, label=entry(name)
        )
        for index, name in enumerate(players)
    ]
    net = Line2D(
        [], [], marker="D", markersize=5, color="white", markeredgecolor=INK, linestyle="",
        label="net",
    )  # fmt: skip
    legend = figure.legend(
        handles=[*handles, net], loc="upper left", ncols=len(handles) + 1, frameon=False,
        prop={"family": written.families, "size": 8.5}, labelcolor=INK, borderaxespad=0.2,
        handletextpad=0.5, columnspacing=1.2,
    )  # fmt: skip
    for said in legend.get_texts():
        said.set_parse_math(False)
    confess(figure, written.missing)
    return figure


def _bars(axes: Axes, place: int, row: Weighed) -> None:
    """The positive ones stacked to the right of 0, the negative ones to the left."""
    ends = {True: 0.0, False: 0.0}
    for index, value in enumerate(row.values.values()):
        if isfinite(value) and value:
            axes.barh(
                place, value, 0.62, ends[value > 0], color=COLOURS[index % len(COLOURS)],
                edgecolor=INK, linewidth=0.6,
            )  # fmt: skip
            ends[value > 0] += value


def _ends(rows: tuple[Weighed, ...]) -> list[float]:
    found = []
    for row in rows:
        known = [value for value in row.values.values() if isfinite(value)]
        found += [sum(v for v in known if v > 0), sum(v for v in known if v < 0)]
    return found

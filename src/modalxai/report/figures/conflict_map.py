"""Where two modalities pull together and where apart, a point for every utterance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from modalxai.errors import InputError
from modalxai.report.columns import Bools, Floats
from modalxai.report.figures.fonts import confess, entry, short, write
from modalxai.report.figures.palette import COLOURS, FAINT, INK, PAPER, SHAPES, SOFT
from modalxai.report.figures.reading import column_of, explained, unit_at
from modalxai.types import Attribution

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Pair = tuple[str, str]
MANY = 1000
"""From so many points on they are pixels, also where the rest of the picture is vectors."""


class Points(NamedTuple):
    """Evidence of two modalities for one label of each sample.

    ``x``, ``y`` float [B], of the first and the second; ``column`` int [B], the label explained;
    ``drawn`` bool [B]: the sample has both, and their evidence is a number.
    """

    pair: Pair
    x: Floats
    y: Floats
    column: Any
    drawn: Bools

    def quadrant(self) -> Any:
        """Int [B], a place in `quadrants`; -1 for what is not drawn, or lies on an axis."""
        found = np.where(self.x > 0, 0, 2) + np.where(self.y > 0, 0, 1)
        return np.where(self.drawn & (self.x != 0) & (self.y != 0), found, -1)


def quadrants(pair: Pair) -> tuple[str, str, str, str]:
    """Names of the quadrants of `Points.quadrant`."""
    first, second = (short(name, 14) for name in pair)
    return (
        "both for",
        f"{first} for, {second} against",
        f"{second} for, {first} against",
        "both against",
    )


def points(
    found: Attribution,
    pair: Pair | None = None,
    label: str | None = None,
    said: Sequence[int] | None = None,
) -> Points:
    """What `conflict_map` draws; see there for the arguments.

    ``said`` is the column explained for each sample, where it is known already.
    """
    first, second = _sides(found, pair)
    if label is not None:
        column = np.full(len(found.sample_ids), column_of(found, label))
    else:
        column = np.asarray(explained(found) if said is None else said, dtype=np.intp)
    totals = found.totals.detach().cpu().double().numpy()
    rows = np.arange(len(column))
    x, y = totals[rows, column, first], totals[rows, column, second]
    present = found.present.cpu().numpy()[:, [first, second]].all(1)
    drawn = present & np.isfinite(x) & np.isfinite(y)
    return Points((found.modalities[first], found.modalities[second]), x, y, column, drawn)


def conflict_map(found: Attribution, pair: Pair | None = None, label: str | None = None) -> Figure:
    """Evidence of one modality against that of another, one point per utterance.

    A point to the right: the first modality speaks for the label; a point high up: the second
    does. On the dashed line they cancel each other.

    Parameters
    ----------
    found
        Totals [B, L, M] of any attributor, or of ``explanation.shapley()``.
    pair
        Two modalities, across and up; the model's first two for ``None``.
    label
        Whose score; for ``None`` of each utterance its predicted label, told by colour and shape
        (of labels that are not categorical, the one with the most evidence).

    Returns
    -------
    matplotlib.figure.Figure
        Utterances that lack one of the two are left out, and counted beneath.

    Raises
    ------
    InputError
        Fewer than two modalities, or an unknown modality or label.
    """
    return draw(found, points(found, pair, label))


def draw(found: Attribution, placed: Points) -> Figure:
    """The map of some points."""
    from matplotlib.figure import Figure

    columns = [int(one) for one in np.unique(placed.column[placed.drawn])]
    names = [found.labels[column].name for column in columns]
    written = write([*(short(name, 18) for name in names), *(short(one) for one in placed.pair)])
    text = written.style
    lacking = int((~placed.drawn).sum())
    figure = Figure(figsize=(5.4, 5.6), layout="constrained", facecolor="white")
    axes = figure.subplots()
    reach = _reach(placed)
    axes.axhline(0, color=INK, linewidth=0.8, zorder=1)
    axes.axvline(0, color=INK, linewidth=0.8, zorder=1)
    axes.plot([-reach, reach], [reach, -reach], color=FAINT, linewidth=1, dashes=(4, 3), zorder=1)
    groups: list[Any] = []
    for column, name in zip(columns, written.texts, strict=False):
        own = placed.drawn & (placed.column == column)
        group = axes.scatter(
            placed.x[own], placed.y[own], s=34, label=entry(name), zorder=3, linewidths=0.6,
            facecolor=COLOURS[column % len(COLOURS)], edgecolor=INK, alpha=0.85,
            marker=SHAPES[column % len(SHAPES)], rasterized=bool(placed.drawn.sum() > MANY),
        )  # fmt: skip
        groups.append(group)
    corners = ((0.985, 0.985), (0.985, 0.015), (0.015, 0.985), (0.015, 0.015))
    pair = tuple(written.texts[-2:])
    for name, (x, y) in zip(quadrants((pair[0], pair[1])), corners, strict=True):
        axes.text(
            x, y, name, transform=axes.transAxes, fontsize=8.5, zorder=2,
            ha="right" if x > 0.5 else "left", va="top" if y > 0.5 else "bottom",
            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.5, "alpha": 0.8},
            **text | {"color": SOFT},
        )  # fmt: skip
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-reach, reach)
    axes.set_aspect("equal")
    drawn = np.flatnonzero(placed.drawn).tolist()
    units = " or ".join(
        dict.fromkeys(unit_at(found, row, int(placed.column[row])) for row in drawn)
    )
    axes.set_xlabel(f"{pair[0]}: evidence, {units or 'nats'}", fontsize=9, **text)
    axes.set_ylabel(f"{pair[1]}: evidence, {units or 'nats'}", fontsize=9, **text)
    axes.tick_params(labelsize=8, labelcolor=INK)
    axes.spines[:].set_color(FAINT)
    title = f"{int(placed.drawn.sum())} utterances"
    if lacking:
        title += f"; {lacking} without evidence of both are left out"
    axes.set_title(title, fontsize=9, loc="left", **text)
    if columns:
        legend = figure.legend(
            handles=groups, loc="outside lower left", ncols=min(4, len(columns)), frameon=False,
            prop={"family": written.families, "size": 8.5}, labelcolor=INK,
        )  # fmt: skip
        for said in legend.get_texts():
            said.set_parse_math(False)
    confess(figure, written.missing)
    return figure


def _reach(placed: Points) -> float:
    values = np.abs(np.concatenate([placed.x[placed.drawn], placed.y[placed.drawn]]))
    largest = float(values.max()) if len(values) else 0.0
    return 1.12 * largest if largest else 1.0


def _sides(found: Attribution, pair: Pair | None) -> tuple[int, int]:
    names = list(found.modalities)
    chosen = tuple(names[:2]) if pair is None else tuple(pair)
    if len(chosen) != 2 or chosen[0] == chosen[1] or not set(chosen) <= set(names):
        raise InputError(
            "no two modalities to hold against each other",
            expected=f"two different ones of {names}",
            got=repr(chosen),
            mend='write pair=("text", "audio"), say; with one modality there is no conflict',
        )
    return names.index(chosen[0]), names.index(chosen[1])

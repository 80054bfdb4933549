"""A biosignal seen against the emotion: over time, and by group.

Drawn with matplotlib's objects alone: no pyplot, no open windows, no settings changed.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from modalxai.errors import InputError
from modalxai.statistics.groups import by_group
from modalxai.statistics.sums import cluster_order

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
"""Okabe & Ito (2008), and grey."""


def signal_over_time(
    seconds: ArrayLike,
    values: ArrayLike,
    utterances: Sequence[tuple[float, float, Hashable]],
    *,
    name: str = "signal",
) -> Figure:
    """A signal as a line, with every utterance as a band in the colour of its emotion.

    Parameters
    ----------
    seconds, values
        Float [T] each, times ascending; the line breaks where a value is NaN.
    utterances
        Start, end (in the same seconds) and emotion of each.
    name
        The signal and its unit, for the axis.

    Raises
    ------
    InputError
        Other shapes, times that do not ascend, or an utterance that ends before it starts.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    time, signal = (np.asarray(one, dtype=np.float64) for one in (seconds, values))
    backwards = [one for one in utterances if not one[0] < one[1]]
    fits = time.ndim == 1 and time.shape == signal.shape and len(time) > 0
    if not fits or not (np.diff(time) > 0).all() or backwards:
        raise InputError(
            "a signal that cannot be drawn",
            expected="values and ascending seconds [T], utterances that end after they start",
            got=f"{list(signal.shape)}, {list(time.shape)}, {backwards[:2]}",
            mend="sort the recording by time, and check the spans",
        )
    colours = _colours([emotion for _, _, emotion in utterances])
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    axes = figure.subplots()
    for start, end, emotion in utterances:
        axes.axvspan(start, end, color=colours[emotion], alpha=0.35, linewidth=0)
    axes.plot(time, signal, color="#1d2733", linewidth=1)
    axes.set_xlim(time[0], max(time[-1], time[0] + 1e-9))
    axes.set_xlabel("seconds")
    axes.set_ylabel(name)
    axes.spines[["top", "right"]].set_visible(False)
    if colours:
        marks = [Patch(color=one, alpha=0.35, label=str(key)) for key, one in colours.items()]
        figure.legend(handles=marks, loc="outside upper left", ncols=8, frameon=False)
    return figure


def measure_by_emotion(
    values: ArrayLike, groups: Sequence[Hashable], *, name: str = "measure"
) -> Figure:
    """A box per emotion (quartiles; whiskers to 1.5 of their distance), means, and counts.

    Parameters
    ----------
    values, groups
        As in `modalxai.statistics.groups.by_group`; a group may have one value.
    name
        The measure and its unit, for the axis.
    """
    from matplotlib.figure import Figure

    found = by_group(values, groups, least=1)
    colours = _colours(list(found))
    figure = Figure(figsize=(1.6 + 1.1 * len(found), 3.6), layout="constrained")
    axes = figure.subplots()
    places = range(len(found))
    boxes = axes.boxplot(
        list(found.values()),
        positions=list(places),
        showmeans=True,
        patch_artist=True,
        medianprops={"color": "#1d2733"},
        flierprops={"markersize": 2},
    )
    for box, key in zip(boxes["boxes"], found, strict=True):
        box.set(facecolor=colours[key], alpha=0.6)
    axes.set_xticks(list(places), [f"{key}\nn = {len(one)}" for key, one in found.items()])
    axes.set_ylabel(name)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _colours(names: Sequence[Hashable]) -> dict[Hashable, str]:
    """One colour per name, whatever the order they come in; they repeat after eight."""
    ordered = sorted(set(names), key=cluster_order)
    return {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(ordered)}

"""The panels of the picture of one utterance, each drawn into axes of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from modalxai.report.figures.fonts import Written, short, write
from modalxai.report.figures.palette import AGAINST, FAINT, FOR, INK, PAPER, SOFT, tint
from modalxai.report.figures.reading import Division, Unit
from modalxai.report.figures.recording import DEPTH, Heard, outline, painted, spectrogram
from modalxai.report.text import signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, LEFT, MARGIN = 9.0, 1.15, 0.22
"""Inches of the picture, left of panels with an axis, and of every other margin."""
LETTER, NUMBER = 11, 7.5
"""Points of a word and of the number beneath it."""
MOST_PLAYERS = 12
DASHED = (0, (2, 1.5))


class Found(NamedTuple):
    """Players of one result, the largest magnitude in it, and the method."""

    division: Division
    largest: float
    method: str


@dataclass(frozen=True)
class Panel:
    """One panel: what it is, inches high, whether it runs along time, and what draws it."""

    kind: str
    height: float
    timed: bool
    draw: Callable[[Axes], None]
    missing: bool = False


def unknown(text: str) -> Found:
    """The words of a text that nothing is known of."""
    nowhere = float("nan")
    units = (Unit(word, nowhere, *(nowhere,) * 4) for word in text.split())
    return Found(Division("text", "words", "", tuple(units)), 0.0, "")


def words(found: Found) -> Panel:
    """Words in lines, a box each, and the number beneath it."""
    units = found.division.units
    written = write([short(one.name, 30) for one in units], "word")
    lines = _lines(written, units)
    tall = 2.9 * LETTER

    def draw(axes: Axes) -> None:
        axes.set_axis_off()
        axes.set_xlim(0, (WIDTH - 2 * MARGIN) * 72)
        axes.set_ylim(len(lines) * tall, 0)
        for number, line in enumerate(lines):
            for place, x, width in line:
                one, y = units[place], (number + 0.38) * tall
                axes.text(
                    x + width / 2, y, written.texts[place], ha="center", va="center",
                    fontsize=LETTER,
                    bbox={
                        "facecolor": tint(one.value, found.largest), "edgecolor": edge(one.value),
                        "linewidth": 0.8, "boxstyle": "square,pad=0.22",
                        "linestyle": DASHED if one.value < 0 else "solid",
                    },
                    **written.style,
                )  # fmt: skip
                if isfinite(one.value):
                    axes.text(
                        x + width / 2, y + 1.35 * LETTER, signed(one.value), ha="center",
                        va="center", fontsize=NUMBER, color=INK,
                    )  # fmt: skip

    return Panel("words", len(lines) * tall / 72, False, draw, written.missing)


def _lines(written: Written, units: Sequence[Unit]) -> list[list[tuple[int, float, float]]]:
    """Places, left edges and widths of words in points, line by line."""
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.font_manager import FontProperties

    make: Any = RendererAgg  # matplotlib gives it no types
    renderer = make(1, 1, 72)

    def wide(text: str, font: FontProperties) -> float:
        return float(renderer.get_text_width_height_descent(text, font, ismath=False)[0])

    font = FontProperties(family=written.families, size=LETTER)
    number = wide("+0.00", FontProperties(family=["DejaVu Sans"], size=NUMBER))
    most, x = (WIDTH - 2 * MARGIN) * 72, 0.0
    lines: list[list[tuple[int, float, float]]] = [[]]
    for place, (text, one) in enumerate(zip(written.texts, units, strict=True)):
        width = max(wide(text, font), number if isfinite(one.value) else 0) + 0.44 * LETTER
        if lines[-1] and x + width > most:
            lines.append([])
            x = 0.0
        lines[-1].append((place, x, width))
        x += width + 0.35 * LETTER
    return lines


def waveform(heard: Heard, segments: Sequence[Found]) -> Panel:
    """The outline of the waveform, on the colours of its segments."""

    def draw(axes: Axes) -> None:
        for found in segments:
            for one in found.division.units:
                axes.axvspan(
                    one.start, one.end, facecolor=tint(one.value, found.largest), edgecolor=PAPER,
                    linewidth=1, zorder=0,
                )  # fmt: skip
        low, high = outline(heard.clip)
        times = (np.arange(len(low)) + 0.5) * heard.seconds / max(1, len(low))
        axes.fill_between(times, low, high, color=INK, linewidth=0.3)
        reach = 1.05 * float(np.abs(heard.clip).max(initial=0)) or 1.0
        axes.set_ylim(-reach, reach)
        axes.set_yticks([])
        _title(axes, "waveform")

    return Panel("waveform", 0.8, True, draw)


def moments(found: Found) -> Panel:
    """What each segment contributes, a bar over its seconds."""
    units = [one for one in found.division.units if isfinite(one.value)]

    def draw(axes: Axes) -> None:
        for one in units:
            axes.bar(
                one.start, one.value, one.end - one.start, align="edge",
                **_bar(one.value, found.largest),
            )  # fmt: skip
        axes.axhline(0, color=INK, linewidth=0.8)
        reach = 1.15 * max((abs(one.value) for one in units), default=0) or 1.0
        axes.set_ylim(-reach, reach)
        _title(axes, f"{short(found.method, 16)},\n{found.division.unit}")

    return Panel("moments", 0.75, True, draw)


def spectrum(heard: Heard, tiles: Sequence[Found]) -> Panel:
    """The spectrogram in grey, dark where loud, under coloured tiles of time and frequency."""

    def draw(axes: Axes) -> None:
        decibels, highest = spectrogram(heard.clip, heard.rate)
        shown: dict[str, Any] = {
            "origin": "lower", "aspect": "auto", "interpolation": "none",
            "extent": (0, heard.seconds, 0, highest / 1000),
        }  # fmt: skip
        # Never black, so that the colours above stay seen.
        axes.imshow(decibels, cmap="Greys", vmin=-DEPTH, vmax=0.35 * DEPTH, **shown)
        for found in tiles:
            image = painted(found.division.units, heard.seconds, highest, found.largest)
            axes.imshow(image, **shown)
        _title(axes, "kHz")

    return Panel("spectrogram", 1.35, True, draw)


def pitch(heard: Heard) -> Panel:
    """The fundamental frequency where there is a voice."""
    written = write(["; ".join(heard.notes)])

    def draw(axes: Axes) -> None:
        _curve(axes, heard.times, heard.pitch)
        _title(axes, "pitch,\nHz")
        axes.text(
            0.01, 0.94, written.texts[0], transform=axes.transAxes, fontsize=8, va="top",
            **written.style | {"color": SOFT},
        )  # fmt: skip

    return Panel("pitch", 0.8, True, draw)


def intensity(heard: Heard) -> Panel:
    """Decibels of full scale."""

    def draw(axes: Axes) -> None:
        _curve(axes, heard.times, heard.intensity)
        _title(axes, "intensity,\ndB")

    return Panel("intensity", 0.6, True, draw)


def players(found: Found) -> Panel:
    """Players without a place, a bar each: the `MOST_PLAYERS` largest, in their own order."""
    known = [one for one in found.division.units if isfinite(one.value)]
    least = sorted((abs(one.value) for one in known), reverse=True)[:MOST_PLAYERS][-1:]
    units = [one for one in known if abs(one.value) >= least[0]][:MOST_PLAYERS]
    written = write([short(one.name, 16) for one in units], "player")

    def draw(axes: Axes) -> None:
        reach = 1.25 * max((abs(one.value) for one in units), default=0) or 1.0
        for place, one in enumerate(units):
            axes.barh(place, one.value, 0.66, **_bar(one.value, found.largest))
            axes.annotate(
                signed(one.value), (one.value, place), xytext=(3 if one.value >= 0 else -3, 0),
                textcoords="offset points", ha="left" if one.value >= 0 else "right",
                va="center", fontsize=NUMBER, color=INK,
            )  # fmt: skip
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_xlim(-reach, reach)
        axes.set_ylim(max(1, len(units)) - 0.5, -0.5)
        axes.set_yticks(range(len(units)), written.texts, fontsize=8, **written.style)
        axes.tick_params(axis="y", length=0)
        said = f"{short(found.method, 16)}, {found.division.unit}: against (−) and for (+)"
        axes.set_xlabel(said, fontsize=8, color=SOFT, labelpad=1)

    return Panel("players", 0.24 * len(units) + 0.12, False, draw, written.missing)


def edge(value: float) -> str:
    """The colour around what contributes a value."""
    return FAINT if not isfinite(value) or value == 0 else FOR if value > 0 else AGAINST


def _bar(value: float, largest: float) -> dict[str, Any]:
    # Dashed, so that against is seen without its colour, too.
    return {
        "facecolor": tint(value, largest), "edgecolor": edge(value), "linewidth": 0.9,
        "linestyle": DASHED if value < 0 else "solid",
    }  # fmt: skip


def _curve(axes: Axes, times: Any, values: Any) -> None:
    axes.plot(times, values, color=INK, linewidth=1.4)
    axes.grid(axis="x", color=FAINT, linewidth=0.5)
    if not np.isfinite(values).any():
        axes.set_yticks([])


def _title(axes: Axes, said: str) -> None:
    axes.set_ylabel(said, fontsize=8, color=INK, rotation=0, ha="right", va="center")
    # Left of the panel's numbers, at the same place for every panel.
    axes.yaxis.set_label_coords(-0.05, 0.5)

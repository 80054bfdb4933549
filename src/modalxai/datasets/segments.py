"""Recordings of a wristband or chest belt whose lines are tagged with the segment they belong to.

The lines are ragged: the tag is there inside segments only. A person's file holds tags of the
partner's segments too, and some with the number of another session.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from modalxai.biosignals.recordings import Beats, Series, plausible
from modalxai.datasets import tables
from modalxai.errors import InputError

Signal = Literal["eda", "temp", "ibi", "ecg"]
Owner = Callable[[str], tuple[str | None, str]]
"""A tag to the segment it means, or ``None``; and why, if it is not what is written."""

WRISTBAND_RATE = 4.0
"""Hertz of skin conductance and temperature, where a file does not say."""
BELT_RATE = 250.0
"""Hertz of the electrocardiogram, where a file does not say."""
_EPOCH = 1e8
"""A first number above this is the Unix time of the start, no measurement."""
_PROBED = 1000
"""Lines from which the columns of an electrocardiogram are told apart."""


@dataclass(frozen=True, eq=False)
class Tagged:
    """One file, cut into segments.

    Parameters
    ----------
    signals
        By segment: `Series` [1, S], NaN where a line is not the segment's or cannot be read, or
        `Beats`.
    notes, repairs
        What was odd, and what was read otherwise than written, one clause each.
    """

    signals: Mapping[str, Series | Beats]
    notes: tuple[str, ...]
    repairs: tuple[str, ...] = ()


def read_tagged(path: Path, signal: Signal, width: int, head: int | None, owner: Owner) -> Tagged:
    """Cut one file into the segments that its tags name.

    Parameters
    ----------
    path
        A csv file without column names.
    signal
        ``"eda"`` or ``"temp"``: the value comes first. ``"ibi"``: the second of the beat, then the
        interval. ``"ecg"``: time and value in either order, told apart by which one rises.
    width
        Fields of a line without a tag; a line with one has one more.
    head
        Lines before the first measurement; ``None``: two if the first number is a Unix time, one
        if the first field is no number.
    owner
        What a tag means.

    Raises
    ------
    InputError
        The file is no text, or its columns cannot be told apart.
    """
    text, _ = tables.decode_korean(tables.read_bytes(path), path.name, "utf-8")
    lines = [line.rstrip("\r").split(",") for line in text.split("\n") if line.strip()]
    if not lines:
        return Tagged({}, ("empty file",))
    notes: dict[str, int] = {}
    repairs: dict[str, int] = {}
    skipped, start, rate = _head(lines, head)
    if skipped and not start:
        _count(notes, "first line that is no start time")
    table, tags = _table(lines[skipped:], width, notes)
    owned = _owned(tags, owner, notes, repairs)
    told = [f"{note} ({count})" for note, count in notes.items()]
    mended = tuple(f"{note} ({count})" for note, count in repairs.items())
    if signal == "ibi":
        return Tagged(_beats(table, owned, start), tuple(told), mended)
    column, given = 0, rate if rate is not None else WRISTBAND_RATE
    if signal == "ecg":
        column, found = _columns(table, path.name)
        if rate is None and found is None:
            told.append(f"no telling the rate; {BELT_RATE:g} Hz assumed")
        given = rate or found or BELT_RATE
    cut: dict[str, Series | Beats] = {}
    for segment, rows in owned.items():
        values = np.full((1, rows[-1] - rows[0] + 1), np.nan)
        values[0, rows - rows[0]] = table[rows, column]
        cut[segment] = Series(values, given, start + float(rows[0]) / given)
        if len(rows) < values.shape[1]:
            told.append(f"{segment} lies in pieces; NaN between them")
    return Tagged(cut, tuple(told), mended)


def _head(lines: Sequence[list[str]], head: int | None) -> tuple[int, float, float | None]:
    """Lines to skip, Unix time of the start (0 if unknown), rate."""
    first = _number(lines[0][0])
    if head is None:
        head = 2 if first > _EPOCH else int(np.isnan(first))
    start = first if head and first > _EPOCH else 0.0
    rate = _number(lines[1][0]) if head == 2 and len(lines) > 1 else np.nan
    return head, start, rate if 0 < rate < 10_000 else None


def _table(
    lines: Sequence[list[str]], width: int, notes: dict[str, int]
) -> tuple[NDArray[np.float64], dict[str, list[int]]]:
    """The first two fields of every line as numbers [N, 2], and the lines of each tag."""
    table = np.full((len(lines), 2), np.nan)
    tags: dict[str, list[int]] = {}
    for row, fields in enumerate(lines):
        if len(fields) not in (width, width + 1):
            _count(notes, f"line with other than {width} or {width + 1} fields")
            continue
        try:
            table[row] = float(fields[0]), float(fields[1])
        except ValueError:
            # The second field may be a time of day.
            table[row, 0] = _number(fields[0])
        if np.isnan(table[row, 0]):
            _count(notes, "value that is no number")
        if len(fields) > width and (tag := fields[width].strip()):
            tags.setdefault(tag, []).append(row)
    return table, tags


def _owned(
    tags: Mapping[str, list[int]], owner: Owner, notes: dict[str, int], repairs: dict[str, int]
) -> dict[str, NDArray[np.int64]]:
    owned: dict[str, list[int]] = {}
    rewritten: dict[str, list[int]] = {}
    for tag, rows in tags.items():
        segment, why = owner(tag)
        if segment is None:
            _count(notes, why)
        elif why:
            _count(repairs, why)
            rewritten[segment] = rows
        else:
            owned[segment] = rows
    for segment, rows in rewritten.items():
        if segment in owned:
            _count(notes, "tag of another session beside the right one; left out")
        else:
            owned[segment] = rows
    return {segment: np.asarray(rows) for segment, rows in owned.items()}


def _beats(
    table: NDArray[np.float64], owned: Mapping[str, NDArray[np.int64]], start: float
) -> dict[str, Series | Beats]:
    return {
        segment: plausible(table[rows, 0], table[rows, 1], start) for segment, rows in owned.items()
    }


def _columns(table: NDArray[np.float64], name: str) -> tuple[int, float | None]:
    """Which of two columns is the electrocardiogram, and its rate: the other one is time."""
    probe = table[:_PROBED]
    probe = probe[~np.isnan(probe).any(1)]
    steps = np.diff(probe, axis=0)
    rising = [len(steps) > 0 and bool((steps[:, column] > 0).all()) for column in (0, 1)]
    if sum(rising) != 1:
        raise InputError(
            f"{name}: no telling which column is the electrocardiogram",
            expected="two columns, one of which rises with time",
            got="both rise" if all(rising) else "neither rises",
            mend="take the file as published, or leave the signal out: biosignals=...",
        )
    step = float(np.median(steps[:, rising.index(True)]))
    # Seconds, or milliseconds; a step of exactly 1 may as well be a line number.
    rate = None if step == 1 else 1 / step if step < 0.1 else 1000 / step
    plausible_rate = rate is not None and 50 <= rate <= 2000
    return rising.index(False), float(round(rate, 1)) if rate and plausible_rate else None


def _number(field: str) -> float:
    try:
        return float(field)
    except ValueError:
        return float("nan")


def _count(notes: dict[str, int], note: str) -> None:
    notes[note] = notes.get(note, 0) + 1

"""Annotation files of the KEMDy corpora: two header rows, ten raters, read by position.

The names in the header rows differ between the two corpora and are partly blank, so columns are
told by their place. The anchors ("Segment ID", "Total Evaluation") must stand where they belong,
and the second row decides whether valence or arousal comes first.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from modalxai.datasets import tables
from modalxai.datasets.findings import Notebook
from modalxai.datasets.ratings import EMOTIONS, Rating
from modalxai.errors import InputError

SCALE = (1.0, 5.0)
_RATERS = 10
_ROUNDING = 0.06
"""How far a published mean may lie from the raters' own: one decimal, and a little."""


def read_ratings(
    path: Path, segment: int, pattern: re.Pattern[str], notes: Notebook
) -> list[Rating]:
    """The rows of one annotation file.

    Parameters
    ----------
    path
        UTF-8 or cp949.
    segment
        The column with the segment's id; the total evaluation follows it, then the raters.
    pattern
        What an id looks like.
    notes
        Where the odd goes.

    Raises
    ------
    InputError
        Names file and line: other columns, a header row that is missing, a cut row, an id, emotion
        or value that is none.
    """
    name = path.name
    text, encoding = tables.decode_korean(tables.read_bytes(path), name, "utf-8")
    if encoding != "utf-8":
        notes.repaired("encoding", name, f"read as {encoding}, not utf-8")
    lines = tables.rows(text, name)
    emotion = segment + 1
    width = emotion + 3 + 3 * _RATERS
    if len(lines) < 3:
        raise InputError(
            f"{name}: no rows",
            expected="two header rows, then one row for each segment",
            got=f"{len(lines)} rows",
            mend="take the file as published",
        )
    for line, cells in lines:
        if len(cells) != width:
            raise tables.width_error(name, line, cells, width)
    _check_heads(name, lines[0], lines[1], segment, pattern)
    arousal_first = _arousal_first(name, lines[1], emotion, notes)
    return [
        rating
        for line, cells in lines[2:]
        if (
            rating := _rating(f"{name}, line {line}", cells, segment, pattern, arousal_first, notes)
        )
    ]


def _check_heads(
    name: str, first: tables.Line, second: tables.Line, segment: int, pattern: re.Pattern[str]
) -> None:
    heads = [cell.strip().casefold() for cell in first[1]]
    wanted = {segment: "segment id", segment + 1: "total evaluation"}
    for column, anchor in wanted.items():
        if heads[column] != anchor or heads.count(anchor) != 1:
            raise InputError(
                f"{name}, line {first[0]}: other columns than the published ones",
                expected=f"{anchor!r} in column {column + 1} and nowhere else",
                got=repr(first[1][: segment + 5]),
                mend="take the file as published",
            )
    if pattern.fullmatch(second[1][segment].strip()):
        raise InputError(
            f"{name}, line {second[0]}: a segment where the second header row should be",
            expected="two header rows",
            got=repr(second[1][segment]),
            mend="take the file as published",
        )


def _arousal_first(name: str, second: tables.Line, emotion: int, notes: Notebook) -> bool:
    """Whether arousal comes before valence, as the second header row says of every evaluation."""
    heads = [cell.strip().casefold() for cell in second[1]]
    orders = set()
    for at in range(emotion, len(heads), 3):
        kind, *pair = heads[at : at + 3]
        order = tuple(word[:1] if word in ("valence", "arousal") else "?" for word in pair)
        if order in (("v", "a"), ("a", "v")) and kind in ("", "emotion"):
            orders.add(order)
        elif any(heads[at : at + 3]):
            orders.add(("?", "?"))
    if not orders:
        notes.noted("header", name, "does not say which is valence; taken to come first")
    if len(orders) > 1 or ("?", "?") in orders:
        raise InputError(
            f"{name}, line {second[0]}: no telling which column is valence and which arousal",
            expected="Emotion, Valence, Arousal for the total and every rater, in one order",
            got=repr(second[1][emotion : emotion + 6]),
            mend="take the file as published",
        )
    if ("a", "v") in orders:
        notes.repaired("header", name, "arousal before valence, as its second row says")
        return True
    return False


def _rating(
    place: str,
    cells: Sequence[str],
    segment: int,
    pattern: re.Pattern[str],
    arousal_first: bool,
    notes: Notebook,
) -> Rating | None:
    name = cells[segment].strip()
    if not pattern.fullmatch(name):
        raise InputError(
            f"{place}: {name[:80]!r} is no segment",
            expected=f"an id of the form {pattern.pattern}",
            got=repr(cells[segment])[:200],
            mend="take the file as published",
        )
    at = segment + 1
    total = _words(cells[at], place)
    if not total:
        notes.dropped("row", f"{name} ({place})", "no emotion")
        return None
    votes = tuple(_words(cells[column], place) for column in range(at + 3, len(cells), 3))
    pairs = [
        (_value(cells[column + 1], place), _value(cells[column + 2], place))
        for column in range(at, len(cells), 3)
    ]
    if arousal_first:
        pairs = [(second, first) for first, second in pairs]
    _compare(name, place, total, votes, pairs, notes)
    (valence, arousal), *_ = pairs
    start, end = (_time(cells[column]) for column in (1, 2))
    return Rating(place, name, total, votes, valence, arousal, start, end)


def _words(cell: str, place: str) -> tuple[str, ...]:
    """``happy;disqust`` as ("happy", "disgust")."""
    words = [word.strip().casefold() for word in cell.split(";") if word.strip()]
    words = ["disgust" if word == "disqust" else word for word in words]
    for word in words:
        if word not in EMOTIONS:
            raise InputError(
                f"{place}: unknown emotion {word[:80]!r}",
                expected=f"some of {list(EMOTIONS)}, joined by ';'",
                got=repr(cell)[:200],
                mend="take the file as published",
            )
    return tuple(dict.fromkeys(words))


def _value(cell: str, place: str) -> float | None:
    if not cell.strip():
        return None
    number = _time(cell)
    if number is None or not SCALE[0] <= number <= SCALE[1]:
        raise InputError(
            f"{place}: a valence or arousal that is none",
            expected="a number from 1 to 5",
            got=repr(cell)[:200],
            mend="take the file as published",
        )
    return number


def _time(cell: str) -> float | None:
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _compare(
    name: str,
    place: str,
    total: tuple[str, ...],
    votes: Sequence[tuple[str, ...]],
    pairs: Sequence[tuple[float | None, float | None]],
    notes: Notebook,
) -> None:
    """Note where the total is not what the raters' own answers come to."""
    subject = f"{name} ({place})"
    told = Counter(emotion for vote in votes for emotion in vote)
    if len([vote for vote in votes if vote]) < len(votes):
        notes.noted("rater", subject, "some raters gave no emotion")
    most = max(told.values(), default=0)
    if told and set(total) != {emotion for emotion, count in told.items() if count == most}:
        notes.noted("emotion", subject, "the total is not what most raters say; the total counts")
    for which, kind in enumerate(("valence", "arousal")):
        given = pairs[0][which]
        own = [pair[which] for pair in pairs[1:]]
        known = [value for value in own if value is not None]
        if given is None:
            notes.noted(kind, subject, "empty")
        elif known and abs(given - sum(known) / len(known)) > _ROUNDING:
            notes.noted(kind, subject, "is not the raters' mean; the published value counts")

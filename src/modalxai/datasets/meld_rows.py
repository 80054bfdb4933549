"""The csv files of MELD, row by row."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from modalxai.datasets import tables
from modalxai.datasets.corpus import Row
from modalxai.datasets.findings import Notebook
from modalxai.errors import InputError

EMOTIONS = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
SENTIMENTS = ("neutral", "positive", "negative")
HEADER = (
    "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,"
    "StartTime,EndTime"
).split(",")
ODD: Mapping[tuple[str, int, int], str] = {
    ("train", 309, 0): "its text holds a scene description too",
    ("test", 23, 0): "left out by some published readers",
}
_SENTIMENT = {
    "neutral": {"neutral"},
    "joy": {"positive"},
    "surprise": {"positive", "negative"},
    **{emotion: {"negative"} for emotion in ("anger", "disgust", "fear", "sadness")},
}
_MISREAD = re.compile("[\x80-\x9f\ufffd]|â€")
"""What curly quotes turn into when a file is read or saved in a wrong encoding."""


def read_rows(path: Path, split: str, target: str, notes: Notebook) -> list[Row | None]:
    """Every row of one file as a `Row` without a clip; ``None`` for one that contradicts itself.

    Raises
    ------
    InputError
        Names file and line, see `MELD`.
    """
    name = path.name
    lines = tables.rows(tables.decode(tables.read_bytes(path), name), name)
    header = lines[0][1] if lines else []
    if header != HEADER:
        raise InputError(
            f"{name}, line 1: other columns than MELD's",
            expected=repr(HEADER),
            got=repr(header)[:400],
            mend="take the csv file as published, or read it with ManifestCorpus",
        )
    for line, cells in lines[1:]:
        if len(cells) != len(HEADER):
            raise tables.width_error(name, line, cells, len(HEADER))
    read = [_row(split, f"{name}, line {line}", cells, target, notes) for line, cells in lines[1:]]
    _check_keys([row for row in read if row is not None])
    return read


def _row(split: str, place: str, cells: list[str], target: str, notes: Notebook) -> Row | None:
    given = dict(zip(HEADER, cells, strict=True))
    dialogue, turn = (_number(given, key, place) for key in ("Dialogue_ID", "Utterance_ID"))
    name = f"{split}_dia{dialogue}_utt{turn}"
    for key, known in (("Emotion", EMOTIONS), ("Sentiment", SENTIMENTS)):
        if given[key] not in known:
            raise InputError(
                f"{place}: unknown {key.lower()} {given[key]!r}",
                expected=f"one of {list(known)}",
                got=repr(given[key])[:200],
                mend="take the csv file as published",
            )
    if given["Sentiment"] not in _SENTIMENT[given["Emotion"]]:
        why = f"emotion {given['Emotion']} contradicts sentiment {given['Sentiment']}"
        notes.broken("row", f"{name} ({place})", why)
        return None
    if _MISREAD.search(given["Utterance"]):
        notes.broken("text", f"{name} ({place})", "looks decoded in a wrong encoding")
    if reason := ODD.get((split, dialogue, turn)):
        notes.noted("row", f"{name} ({place})", reason)
    start, end = (_seconds(given[key]) for key in ("StartTime", "EndTime"))
    if start is None or end is None:
        notes.noted("time", f"{name} ({place})", "cannot be read; left empty")
    elif end <= start:
        notes.noted("time", f"{name} ({place})", "ends where it starts, or before")
    label = given[target.capitalize()]
    text = given["Utterance"]
    return Row(
        place,
        {
            "id": name,
            "split": split,
            "dialogue": f"{split}_dia{dialogue}",
            "turn": turn,
            "speaker": given["Speaker"] or None,
            "text": text if text.strip() else None,
            "label": label,
            "labels": {label: 1},
            "sentiment": given["Sentiment"],
            "season": given["Season"],
            "episode": given["Episode"],
            "start": start,
            "end": end,
        },
    )


def _number(given: Mapping[str, str], key: str, place: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", given[key]):
        raise InputError(
            f"{place}: {key} is no number",
            expected="a whole number",
            got=repr(given[key])[:200],
            mend="take the csv file as published",
        )
    return int(given[key])


def _seconds(time: str) -> float | None:
    """``0:12:32,632`` in seconds; some rows lack leading zeros, one those of the thousandths."""
    parts = re.fullmatch(r"\s*(\d{1,2}):(\d{2}):(\d{2}),(\d{1,3})\s*", time, re.ASCII)
    if parts is None:
        return None
    hours, minutes, seconds, thousandths = map(int, parts.groups())
    return hours * 3600 + minutes * 60 + seconds + thousandths / 1000


def _check_keys(rows: list[Row]) -> None:
    first: dict[str, str] = {}
    for row in rows:
        name = row.cells["id"]
        if name in first:
            raise InputError(
                f"{row.place}: {name} occurs twice",
                expected="each dialogue and utterance number once in a split",
                got=f"the same in {first[name]}",
                mend="take the csv file as published",
            )
        first[name] = row.place

"""One clip's annotation of AI-Hub's multimodal video set: frames in, utterances out."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from modalxai.datasets import tables
from modalxai.datasets.findings import Notebook
from modalxai.datasets.transcripts import normalise
from modalxai.errors import InputError

EMOTIONS = ("happy", "surprise", "angry", "sad", "dislike", "fear", "contempt", "neutral")
Channel = Literal["multimodal", "image", "sound", "text"]
CHANNELS: tuple[Channel, ...] = get_args(Channel)


@dataclass(frozen=True)
class Opinion:
    """What the annotators said from one channel alone; ``None`` where they did not."""

    emotion: str | None = None
    valence: float | None = None
    arousal: float | None = None


@dataclass(frozen=True)
class Utterance:
    """What one person says from one frame to another."""

    person: str
    start: int
    end: int
    text: str
    opinions: Mapping[Channel, Opinion]


def read_clip(path: Path, notes: Notebook) -> list[Utterance]:
    """Every utterance of a clip once, in the order of its first frame.

    The file repeats an utterance on every frame it lasts. It is told by person, first and last
    frame. Where frames disagree on a channel's emotion the most frequent one counts, and none on a
    draw; valence and arousal are means.

    Raises
    ------
    InputError
        Names the file and the line, or the place inside it: no json, doubled keys, another
        structure, an unknown emotion.
    """
    clip = _parsed(path, notes)
    data = clip.get("data")
    if not isinstance(data, Mapping):
        raise _wrong(path, "data", "an object of frames", data)
    number = re.search(r"\d+", str(clip.get("clip_id", "")))
    if number and int(number[0]) != int(path.stem.rpartition("_")[2]):
        notes.noted("clip", path.name, "its clip_id is another number; the file's name counts")
    told: dict[tuple[str, int, int], list[tuple[str, Mapping[str, Any]]]] = {}
    for frame in sorted(data, key=lambda key: _frame(key, f"data[{key!r}]", path)):
        if not isinstance(data[frame], Mapping):
            raise _wrong(path, f'data["{frame}"]', "an object of persons", data[frame])
        for key, one in data[frame].items():
            _collect(path, f'data["{frame}"]["{key}"]', one, told, notes)
    return [
        _utterance(path, key, entries, notes)
        for key, entries in sorted(told.items(), key=lambda item: (item[0][1], item[0]))
    ]


def _parsed(path: Path, notes: Notebook) -> Mapping[str, Any]:
    text, encoding = tables.decode_korean(
        tables.read_bytes(path, "a json file"), path.name, "utf-8"
    )
    if encoding != "utf-8":
        notes.repaired("encoding", path.name, f"read as {encoding}, not utf-8")

    def unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise _wrong(path, repr(key), "each key once in an object", "the key twice")
            found[key] = value
        return found

    try:
        clip = json.loads(text, object_pairs_hook=unique)
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        raise InputError(
            f"{path.name}, line {line}: not json",
            expected="the annotation of one clip",
            got=str(error),
            mend="unpack the file again",
        ) from error
    if not isinstance(clip, Mapping):
        raise _wrong(path, "the file", "an object", clip)
    return clip


def _collect(
    path: Path,
    place: str,
    one: Any,
    told: dict[tuple[str, int, int], list[tuple[str, Mapping[str, Any]]]],
    notes: Notebook,
) -> None:
    """Put one person of one frame where their utterance is gathered."""
    if not isinstance(one, Mapping):
        raise _wrong(path, place, "an object", one)
    text = one.get("text")
    script = text.get("script") if isinstance(text, Mapping) else None
    if not isinstance(text, Mapping) or not isinstance(script, str) or not script.strip():
        return  # a thing, or somebody silent
    where = f"{path.name}, {place}"
    try:
        start, end = (_frame(text.get(f"script_{edge}"), place, path) for edge in ("start", "end"))
    except InputError:
        notes.broken("utterance", where, "first or last frame is no number")
        return
    person = one.get("person_id")
    if not isinstance(person, str | int) or not str(person).strip() or not 0 <= start <= end:
        why = "no person_id" if 0 <= start <= end else "ends before it starts"
        notes.broken("utterance", where, why)
        return
    told.setdefault((str(person).strip(), start, end), []).append((place, one))


def _utterance(
    path: Path,
    key: tuple[str, int, int],
    entries: list[tuple[str, Mapping[str, Any]]],
    notes: Notebook,
) -> Utterance:
    person, start, end = key
    subject = f"{path.stem} person {person}, frames {start} to {end}"
    scripts = [normalise(one["text"]["script"]) for _, one in entries]
    if len(set(scripts)) > 1:
        notes.noted("script", subject, "frames disagree on the words; the first counts")
    opinions: dict[Channel, Opinion] = {}
    for channel in CHANNELS:
        told = [_opinion(path, place, one, channel) for place, one in entries]
        votes = Counter(one.emotion for one in told if one.emotion)
        best = [emotion for emotion, count in votes.items() if count == max(votes.values())]
        if len(votes) > 1:
            counts = "the most frequent counts" if len(best) == 1 else "a draw: none counts"
            notes.noted(f"{channel} emotion", subject, f"frames disagree; {counts}")
        opinions[channel] = Opinion(
            best[0] if len(best) == 1 else None,
            _mean([one.valence for one in told]),
            _mean([one.arousal for one in told]),
        )
    return Utterance(person, start, end, scripts[0], opinions)


def _opinion(path: Path, place: str, one: Mapping[str, Any], channel: Channel) -> Opinion:
    emotion = one.get("emotion")
    given = emotion.get(channel) if isinstance(emotion, Mapping) else None
    if not isinstance(given, Mapping):
        return Opinion()
    word = given.get("emotion")
    word = word.strip().casefold() if isinstance(word, str) else word
    if word in (None, "", "null"):
        word = None
    elif word not in EMOTIONS:
        raise _wrong(path, f"{place}.emotion.{channel}", f"one of {list(EMOTIONS)}", word)
    return Opinion(word, _number(given.get("valence")), _number(given.get("arousal")))


def _frame(value: Any, place: str, path: Path) -> int:
    """A frame number, which may be written as a string."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,9}\s*", value):
        return int(value)
    raise _wrong(path, place, "a frame number", value)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _wrong(path: Path, place: str, expected: str, got: object) -> InputError:
    return InputError(
        f"{path.name}, {place}: not what an annotation holds",
        expected=expected,
        got=repr(got)[:200],
        mend="unpack the file again",
    )

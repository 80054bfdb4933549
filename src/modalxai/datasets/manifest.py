"""A corpus of your own: recordings and transcripts listed in a file or a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from modalxai import audio as sound
from modalxai.datasets import tables
from modalxai.datasets.corpus import Corpus, Row, copied
from modalxai.datasets.findings import CorpusReport, Count
from modalxai.datasets.listings import FORMS, decoded, read_listing
from modalxai.errors import InputError
from modalxai.paths import is_file
from modalxai.types import RESERVED, Audio

_STANDARD = ("id", "audio", "text", "label", "speaker")
_SHOWN = 8
"""How many offenders a message lists."""


@dataclass(frozen=True)
class _Listed(Row):
    """A row, and its number in the list from 0."""

    number: int = 0


class ManifestCorpus(Corpus):
    """Samples listed in a file or a Hugging Face dataset; recordings are read on access.

    A sample is ``{"id", "audio", "text", "labels", "speaker", ...}``: an `Audio` or ``None``, a
    string or ``None``, ``{emotion: 1}`` (``{}`` where the cell is empty), a string or ``None``.
    Every further column travels under its own name, as a string or ``None`` from csv, as it is
    from other forms. ``"dialogue"`` and ``"turn"`` among them make `context` work. All but the
    recordings' content is checked on opening.

    Parameters
    ----------
    path
        A csv file with a header, a file of JSON lines (``.jsonl``, ``.ndjson``), a Parquet file
        (needs pyarrow), or one split of a Hugging Face dataset. Text is UTF-8, a byte order mark
        tolerated.
    root
        Folder that the recordings' paths start from and may not leave; the file's own folder, or
        for a dataset the working folder, if left out.
    id, audio, text, label, speaker
        Which column plays this part. ``None``: no column does. Without ids, a row is called by its
        recording's path, or by its line if it has none. Outside csv, the audio may be sound
        instead of a path, as Hugging Face stores it (``{"array", "sampling_rate"}`` or
        ``{"bytes", "path"}``); the label may be a mapping of emotions to shares or numbers, or a
        list of several emotions, which become 0 or 1 for each of the labels.
    labels
        The emotions that may occur, in order; if left out, all that do occur, sorted.
    encoding
        Of a text file, ``"cp949"`` say.

    Raises
    ------
    InputError
        Names the line and the mend: a file that is missing, empty or mis-encoded, columns that are
        missing or doubled, a row with other cells than the header, doubled ids, a label outside the
        set, a row with neither audio nor text, recordings that are missing, paths that lead out of
        the root.
    DependencyError
        A Parquet file, and no pyarrow.

    Examples
    --------
    A file with other names for its columns, and no ids::

        corpus = ManifestCorpus(
            "manifest.csv", id=None, audio="path", text="transcript", label="emotion"
        )
        plain = corpus.where(part="plain")
    """

    name: ClassVar[str] = "ManifestCorpus"
    _rows: Sequence[_Listed]

    def __init__(
        self,
        path: Any,
        *,
        root: str | Path | None = None,
        id: str | None = "id",
        audio: str | None = "audio",
        text: str | None = "text",
        label: str | None = "label",
        speaker: str | None = "speaker",
        labels: Sequence[str] | None = None,
        encoding: str = "utf-8",
    ) -> None:
        listing = read_listing(path, audio, encoding)
        self.path = Path(path) if isinstance(path, str | Path) else Path(listing.name)
        parts = (id, audio, text, label, speaker)
        source = {name: column for name, column in zip(_STANDARD, parts, strict=True) if column}
        self._folder = self.path.parent if root is None else Path(root)
        self._fetch = listing.fetch
        self._trusted = not isinstance(path, str | Path)  # a dataset that was opened by the user
        if not listing.rows:
            raise InputError(
                f"{self.path.name}: no rows",
                expected=f"a header and at least one row ({FORMS})",
                got="none",
                mend="list the recordings in it",
            )
        names = self._names(listing.header, source)
        self._rows = [
            self._row(number, place, cells, names)
            for number, (place, cells) in enumerate(listing.rows)
        ]
        self._turns = self._rows
        self._check_ids()
        self._check_files()
        self.labels = self._labels(labels)
        heard = sum(row.recording is not None for row in self._rows)
        self.report = CorpusReport(
            self.name,
            str(self.path),
            (Count("rows", len(self._rows)), Count("recordings", heard)),
            (),
        )

    def _names(self, header: list[str], source: dict[str, str]) -> list[str]:
        """What each column is called in a sample."""
        if missing := [column for column in source.values() if column not in header]:
            part = next(name for name, column in source.items() if column == missing[0])
            raise InputError(
                f"{self.path.name}, line 1: column {missing[0]!r} is missing",
                expected=f"columns {list(source.values())}",
                got=repr(header),
                mend=f'say which column it is, {part}="...", or {part}=None if there is none; '
                f"on the command line --column {part}=..., or --column {part}=",
            )
        if len(set(source.values())) < len(source):
            raise InputError(
                f"{self.path.name}: one column plays two parts",
                expected="different columns",
                got=repr(source),
                mend="give each part its own column, or None",
            )
        roles = {column: name for name, column in source.items()}
        taken = {*_STANDARD, *RESERVED} - {*source}
        further = [column for column in header if column not in roles]
        clash = [column for column in further if column in taken or column in source]
        doubled = sorted({column for column in header if header.count(column) > 1})
        blank = any(not column.strip() for column in header)
        if clash or doubled or blank:
            raise InputError(
                f"{self.path.name}, line 1: columns that cannot be told apart",
                expected=f"different names, none of them one of {sorted(taken | {*source})}",
                got=repr(clash or doubled or header),
                mend="rename the column in the file, or say which part it plays",
            )
        return [roles.get(column, column) for column in header]

    def _row(self, number: int, place: str, cells: list[Any], names: list[str]) -> _Listed:
        where = f"{self.path.name}, {place}"
        filled = dict(zip(names, cells, strict=True))
        recording, words = filled.get("audio"), filled.get("text")
        inside = self._fetch is not None and "audio" in names
        if recording is None and words is None and not inside:
            raise InputError(
                f"{where}: neither audio nor text",
                expected="a recording, a transcript or both",
                got="two empty cells",
                mend="fill one, or delete the row",
            )
        for name in ("text", "speaker"):
            if not isinstance(filled.get(name), str | None):
                raise _untold(where, name, "a string", filled[name])
        if "id" not in names:
            filled["id"] = recording if isinstance(recording, str) else place
        elif not isinstance(filled["id"], str | int):
            raise InputError(
                f"{where}: a row without an id",
                expected="a name that no other row has",
                got="an empty cell" if filled["id"] is None else repr(filled["id"])[:200],
                mend="name the row, or open the file with id=None",
            )
        filled["id"] = str(filled["id"])
        path = None
        if isinstance(recording, str):
            path = tables.inside(self._folder, recording.strip(), where)
        return _Listed(where, filled, path, number)

    def _check_ids(self) -> None:
        first: dict[str, str] = {}
        for row in self._rows:
            name = row.cells["id"]
            if name in first:
                raise InputError(
                    f"{row.place}: id {name!r} occurs twice",
                    expected="ids that differ",
                    got=f"the same id in {first[name]}",
                    mend="rename or delete one of the two",
                )
            first[name] = row.place

    def _check_files(self) -> None:
        lost = [row for row in self._rows if row.recording and not is_file(row.recording)]
        if lost:
            listed = "; ".join(f"{row.place}: {row.recording!s:.200}" for row in lost[:_SHOWN])
            more = f"; and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
            raise InputError(
                f"{lost[0].place}: {len(lost)} recordings are missing",
                expected="a file behind every path",
                got=listed + more,
                mend="correct the paths, or give the folder they start from: root=...",
            )

    def _labels(self, allowed: Sequence[str] | None) -> tuple[str, ...]:
        found: dict[str, str] = {}
        for row in self._rows:
            for name in _emotions(row):
                found.setdefault(name, row.place)
        if allowed is None:
            return tuple(sorted(found))
        names = [allowed] if isinstance(allowed, str) else list(allowed)
        for name, place in found.items():
            if name not in names:
                raise InputError(
                    f"{place}: label {name!r} is outside the set",
                    expected=f"one of {names}",
                    got=repr(name),
                    mend="correct the cell, add the label to the set, or leave labels=... out",
                )
        return tuple(names)

    def _sample(self, row: Row, loaded: Mapping[str, Any]) -> dict[str, Any]:
        cells = copied(row.cells)
        label = cells.pop("label", None)
        if isinstance(label, list):
            labels = {name: int(name in label) for name in self.labels}
        else:
            labels = {label: 1} if isinstance(label, str) else dict(label or {})
        standard = {"text": cells.get("text"), "labels": labels, "speaker": cells.get("speaker")}
        return {**cells, **loaded, **standard}

    def _load(self, row: Row) -> dict[str, Any]:
        if row.recording is not None:
            return {"audio": sound.read(row.recording)}
        value = row.cells.get("audio")
        if self._fetch is not None and "audio" in row.cells and isinstance(row, _Listed):
            value = self._fetch(row.number)
        return {"audio": heard(self._placed(value, row.place))}

    def _placed(self, value: Any, place: str) -> Any:
        """A path that lies inside a cell of a file leads no further than one that is the cell."""
        given = value if isinstance(value, Mapping) and not self._trusted else {}
        if given.get("bytes") is not None or given.get("array") is not None:
            return value  # the sound itself: its path is only a name
        if not isinstance(given.get("path"), str):
            return value
        return {"path": str(tables.inside(self._folder, given["path"], place))}


def _emotions(row: Row) -> list[str]:
    """The emotions that the label of a row names."""
    label = row.cells.get("label")
    if label is None:
        return []
    named = [label] if isinstance(label, str) else label
    if not isinstance(named, list | Mapping) or not all(isinstance(name, str) for name in named):
        raise _untold(row.place, "label", "an emotion, several, or a mapping of them", label)
    return list(named)


def _untold(place: str, name: str, expected: str, got: object) -> InputError:
    return InputError(
        f"{place}: a {name} that is none",
        expected=expected,
        got=repr(got)[:200],
        mend=f'correct the cell, or say which column it is: {name}="..."',
    )


def heard(value: Any) -> Audio | None:
    """Sound as Hugging Face stores it: samples and rate, or a file's bytes, or its path."""
    given = value if isinstance(value, Mapping) else {}
    if isinstance(value, bytes) or given.get("bytes") is not None:
        return decoded(value if isinstance(value, bytes) else given["bytes"])
    if given.get("array") is not None:
        return Audio(np.asarray(given["array"], dtype=np.float32), given.get("sampling_rate"))
    if isinstance(given.get("path"), str):
        return sound.read(given["path"])
    if value is None:
        return None
    raise InputError(
        "audio that is no recording",
        expected='a path, {"array", "sampling_rate"} or {"bytes", "path"}',
        got=type(value).__name__,
        mend="say which column holds the recordings: audio=...",
    )

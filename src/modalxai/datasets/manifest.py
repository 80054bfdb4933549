"""A corpus of your own: recordings and transcripts listed in a csv file."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from modalxai import audio as sound
from modalxai.errors import InputError, ModalxaiError
from modalxai.types import RESERVED

_STANDARD = ("id", "audio", "text", "label", "speaker")
_SHOWN = 8
"""How many offenders a message lists."""


@dataclass(frozen=True)
class _Row:
    """One line: ``line`` in the file, the recording's path, every cell by its name."""

    line: int
    path: Path | None
    cells: dict[str, str | None]


class ManifestCorpus(Dataset[dict[str, Any]]):
    """Samples from a csv file in UTF-8 with a header; recordings are read on access.

    A sample is ``{"id", "audio", "text", "labels", "speaker", ...}``: an `Audio` or ``None``, a
    string or ``None``, ``{emotion: 1}`` (``{}`` where the cell is empty), a string or ``None``.
    Every further column travels under its own name, as a string or ``None``. All is checked on
    opening.

    Parameters
    ----------
    path
        The csv file, a byte order mark tolerated.
    root
        Folder that the recordings' paths start from; the file's own folder if left out.
    id, audio, text, label, speaker
        Which column plays this part. ``None``: no column does. Without ids, a row is called by its
        recording's path, or by its line if it has none.
    labels
        The emotions that may occur, in order; if left out, all that do occur, sorted.

    Raises
    ------
    InputError
        Names the line and the mend: a file that is missing, empty or not UTF-8, columns that are
        missing or doubled, a row with other cells than the header, doubled ids, a label outside the
        set, a row with neither audio nor text, recordings that are missing.

    Examples
    --------
    A file with other names for its columns, and no ids::

        corpus = ManifestCorpus(
            "manifest.csv", id=None, audio="path", text="transcript", label="emotion"
        )
        plain = corpus.where(part="plain")
    """

    def __init__(
        self,
        path: str | Path,
        *,
        root: str | Path | None = None,
        id: str | None = "id",
        audio: str | None = "audio",
        text: str | None = "text",
        label: str | None = "label",
        speaker: str | None = "speaker",
        labels: Sequence[str] | None = None,
    ) -> None:
        self.path = Path(path)
        parts = (id, audio, text, label, speaker)
        source = {name: column for name, column in zip(_STANDARD, parts, strict=True) if column}
        folder = self.path.parent if root is None else Path(root)
        header, lines = _read(self.path)
        names = self._names(header, source)
        self._rows = [self._row(line, cells, names, folder) for line, cells in lines]
        self._check_ids()
        self._check_files()
        self.labels = self._labels(labels)

    def _names(self, header: list[str], source: dict[str, str]) -> list[str]:
        """What each column is called in a sample."""
        if missing := [column for column in source.values() if column not in header]:
            part = next(name for name, column in source.items() if column == missing[0])
            raise InputError(
                f"{self.path.name}, line 1: column {missing[0]!r} is missing",
                expected=f"columns {list(source.values())}",
                got=repr(header),
                mend=f'say which column it is, {part}="...", or {part}=None if there is none',
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

    def _row(self, line: int, cells: list[str], names: list[str], folder: Path) -> _Row:
        if len(cells) != len(names):
            raise InputError(
                f"{self.path.name}, line {line}: a row with {len(cells)} cells",
                expected=f"{len(names)} cells, as in the header",
                got=repr(cells)[:200],
                mend='put a cell that holds commas into quotes: "well, yes"',
            )
        filled = {
            name: cell if cell.strip() else None for name, cell in zip(names, cells, strict=True)
        }
        recording, words = filled.get("audio"), filled.get("text")
        if recording is None and words is None:
            raise InputError(
                f"{self.path.name}, line {line}: neither audio nor text",
                expected="a recording, a transcript or both",
                got="two empty cells",
                mend="fill one, or delete the row",
            )
        if "id" not in names:
            filled["id"] = recording or f"line {line}"
        elif filled["id"] is None:
            raise InputError(
                f"{self.path.name}, line {line}: a row without an id",
                expected="a name that no other row has",
                got="an empty cell",
                mend="name the row, or open the file with id=None",
            )
        return _Row(line, None if recording is None else folder / recording.strip(), filled)

    def _check_ids(self) -> None:
        first: dict[str | None, int] = {}
        for row in self._rows:
            name = row.cells["id"]
            if name in first:
                raise InputError(
                    f"{self.path.name}, line {row.line}: id {name!r} occurs twice",
                    expected="ids that differ",
                    got=f"the same id in line {first[name]}",
                    mend="rename or delete one of the two",
                )
            first[name] = row.line

    def _check_files(self) -> None:
        lost = [row for row in self._rows if row.path is not None and not row.path.is_file()]
        if lost:
            listed = "; ".join(f"line {row.line}: {row.path}" for row in lost[:_SHOWN])
            more = f"; and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
            raise InputError(
                f"{self.path.name}, line {lost[0].line}: {len(lost)} recordings are missing",
                expected="a file behind every path",
                got=listed + more,
                mend="correct the paths, or give the folder they start from: root=...",
            )

    def _labels(self, allowed: Sequence[str] | None) -> tuple[str, ...]:
        found = {row.cells["label"]: row.line for row in self._rows if row.cells.get("label")}
        if allowed is None:
            return tuple(sorted(str(name) for name in found))
        names = [allowed] if isinstance(allowed, str) else list(allowed)
        for name, line in found.items():
            if name not in names:
                raise InputError(
                    f"{self.path.name}, line {line}: label {name!r} is outside the set",
                    expected=f"one of {names}",
                    got=repr(name),
                    mend="correct the cell, add the label to the set, or leave labels=... out",
                )
        return tuple(names)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self._rows[index]
        cells = dict(row.cells)
        label = cells.pop("label", None)
        sample: dict[str, Any] = {
            **cells,
            "audio": None,
            "text": cells.get("text"),
            "labels": {label: 1} if label else {},
            "speaker": cells.get("speaker"),
        }
        if row.path is not None:
            try:
                sample["audio"] = sound.read(row.path)
            except ModalxaiError as error:
                raise error.at(f"{self.path.name}, line {row.line}") from error
        return sample

    def column(self, name: str) -> list[str | None]:
        """One column as written, ``None`` for empty cells; no recording is read.

        Raises
        ------
        InputError
            No such column.
        """
        known = list(self._rows[0].cells)
        if name not in known:
            raise InputError(
                f"{self.path.name}: no column {name!r}",
                expected=f"one of {known}",
                got=repr(name),
                mend="use the name that the column has in a sample; label for the emotion",
            )
        return [row.cells[name] for row in self._rows]

    def where(self, **wanted: str | Collection[str | None] | None) -> ManifestCorpus:
        """The rows whose columns hold the values wanted: one value, or any of several.

        The labels stay those of the whole corpus.

        Raises
        ------
        InputError
            No such column, or no such row.
        """
        rows = self._rows
        for name, value in wanted.items():
            values = [value] if value is None or isinstance(value, str) else list(value)
            cells = self.column(name)
            if not any(cell in values for cell in cells):
                raise InputError(
                    f"{self.path.name}: no row with {name} = {value!r}",
                    expected=f"some of {sorted({str(cell) for cell in cells})[:_SHOWN]}",
                    got=repr(value),
                    mend="choose a value that occurs",
                )
            rows = [row for row in rows if row.cells[name] in values]
        if not rows:
            raise InputError(
                f"{self.path.name}: no row is left",
                expected="rows that hold all the values at once",
                got=repr(wanted),
                mend="ask for less",
            )
        part = object.__new__(type(self))
        part.path, part.labels, part._rows = self.path, self.labels, rows
        return part


def _read(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and each row with the line it starts on; blank lines are skipped."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path} cannot be read", expected="a csv file", got=str(error), mend="check the path"
        ) from error
    try:
        content = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise InputError(
            f"{path.name}, line {line}: not UTF-8",
            expected="text in UTF-8",
            got=f"byte {raw[error.start]:#04x}",
            mend="save the file as UTF-8 (spreadsheets call it CSV UTF-8)",
        ) from error
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    rows: list[tuple[int, list[str]]] = []
    before = 0
    try:
        for cells in reader:
            if cells:
                rows.append((before + 1, cells))
            before = reader.line_num
    except csv.Error as error:
        raise InputError(
            f"{path.name}, line {before + 1}: not a row of csv",
            expected='cells between commas; quotes inside a cell doubled: "say ""yes"""',
            got=str(error),
            mend="correct the quotes of the row",
        ) from error
    if len(rows) < 2:
        raise InputError(
            f"{path.name}: no rows",
            expected="a header and at least one row",
            got=f"{len(rows)} lines",
            mend="list the recordings in it",
        )
    return rows[0][1], rows[1:]

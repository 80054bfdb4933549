"""What all corpora share: rows that are checked on opening, recordings read on access."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

from torch.utils.data import Dataset

from modalxai import audio as sound
from modalxai.datasets.findings import CorpusReport, Count, Notebook
from modalxai.errors import InputError, ModalxaiError

_SHOWN = 8
"""How many values a message lists."""


@dataclass(frozen=True)
class Row:
    """One sample before its recordings are read.

    Parameters
    ----------
    place
        Where it is written: file and line.
    cells
        Its columns, ``"id"``, ``"text"``, ``"label"``, ``"speaker"`` among them.
    recording
        Where its audio lies, ``None`` if it has none.
    """

    place: str
    cells: Mapping[str, Any]
    recording: Path | None = None


class Turn(NamedTuple):
    """One utterance of a dialogue; its text is ``None`` where nobody transcribed it."""

    id: str
    speaker: str | None
    text: str | None


class Context(NamedTuple):
    """The turns around one, nearest last before it and nearest first after it."""

    preceding: tuple[Turn, ...]
    following: tuple[Turn, ...]


class Corpus(Dataset[dict[str, Any]]):
    """Samples in a fixed order; a subclass finds the rows and says how a recording is read.

    Attributes
    ----------
    path
        The file or folder.
    labels
        The emotions that may occur, in order.
    report
        What was found on opening; `check` reads the rest.
    """

    name: ClassVar[str] = "corpus"
    path: Path
    labels: tuple[str, ...]
    report: CorpusReport
    _rows: Sequence[Row]
    _turns: Sequence[Row]
    """Every utterance, those that were left out as samples too: they are context all the same."""
    _dialogues: dict[Any, list[int]] | None = None

    def _load(self, row: Row) -> dict[str, Any]:
        """What is read on access."""
        return {"audio": None if row.recording is None else sound.read(row.recording)}

    def _sample(self, row: Row, loaded: Mapping[str, Any]) -> dict[str, Any]:
        cells = copied(row.cells)
        cells.pop("label", None)
        return {**cells, **loaded}

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self._rows[index]
        try:
            return self._sample(row, self._load(row))
        except ModalxaiError as error:
            raise error.at(row.place) from error

    def column(self, name: str) -> list[Any]:
        """One column, ``None`` for empty cells; no recording is read.

        ``"label"`` is the emotion's name; several, joined by ";", where the annotation ties.

        Raises
        ------
        InputError
            No such column.
        """
        known = list(self._rows[0].cells) if len(self._rows) else []
        if name not in known:
            raise InputError(
                f"{self.path.name}: no column {name!r}",
                expected=f"one of {known}",
                got=repr(name),
                mend="use the name that the column has in a sample; label for the emotion",
            )
        return [row.cells[name] for row in self._rows]

    def where(self, **wanted: str | int | Collection[str | int | None] | None) -> Self:
        """The rows whose columns hold the values wanted: one value, or any of several.

        The labels and the report stay those of the whole corpus.

        Raises
        ------
        InputError
            No such column, or no such row.
        """
        kept = list(range(len(self._rows)))
        for name, value in wanted.items():
            single = value is None or isinstance(value, str | int)
            values = [value] if single else list(value)  # type: ignore[arg-type]  # not single
            cells = self.column(name)
            if not any(cell in values for cell in cells):
                raise InputError(
                    f"{self.path.name}: no row with {name} = {value!r}",
                    expected=f"some of {sorted({str(cell) for cell in cells})[:_SHOWN]}",
                    got=repr(value),
                    mend="choose a value that occurs",
                )
            kept = [index for index in kept if cells[index] in values]
        if not kept:
            raise InputError(
                f"{self.path.name}: no row is left",
                expected="rows that hold all the values at once",
                got=repr(wanted),
                mend="ask for less",
            )
        part = copy.copy(self)
        part._rows = [self._rows[index] for index in kept]
        return part

    def context(self, index: int, before: int = 2, after: int = 2) -> Context:
        """The turns of the same dialogue around sample ``index``, in the order they were said.

        Turns that are no samples (a tie that was dropped, a broken clip) are context all the same.

        Raises
        ------
        InputError
            The corpus has no dialogues, or a negative number of turns.
        """
        row = self._rows[index]
        if "dialogue" not in row.cells or min(before, after) < 0:
            raise InputError(
                "no turns to look up",
                expected="a corpus with the column 'dialogue', and 0 or more turns",
                got=f"columns {list(row.cells)}, before={before}, after={after}",
                mend="name the column that says which dialogue a row belongs to",
            )
        if self._dialogues is None:
            self._dialogues = {}
            for place, turn in enumerate(self._turns):
                self._dialogues.setdefault(turn.cells["dialogue"], []).append(place)
        turns = [self._turns[place] for place in self._dialogues[row.cells["dialogue"]]]
        turns.sort(key=_number)
        at = next(i for i, turn in enumerate(turns) if turn.cells["id"] == row.cells["id"])
        said = [Turn(t.cells["id"], t.cells.get("speaker"), t.cells.get("text")) for t in turns]
        return Context(tuple(said[max(0, at - before) : at]), tuple(said[at + 1 : at + 1 + after]))

    def check(self) -> CorpusReport:
        """Read every recording once, also of the rows left out; the report with what came of it."""
        notes = Notebook(list(self.report.findings))
        present: dict[str, int] = {}
        for row in self._turns:
            try:
                loaded = self._load(row)
            except ModalxaiError as error:
                notes.broken("unreadable", row.cells["id"], f"{error.wrong}: {error.got}")
                continue
            for part in self._inspect(row, loaded, notes):
                present[part] = present.get(part, 0) + 1
        counts = (*self.report.counts, *self._present(present))
        return replace(self.report, counts=counts, findings=tuple(notes.findings))

    def _inspect(self, row: Row, loaded: Mapping[str, Any], notes: Notebook) -> Iterator[str]:
        """Names of what this row turned out to have; what is odd goes into the notebook."""
        if loaded.get("audio") is not None:
            yield "audio read"

    def _present(self, present: Mapping[str, int]) -> Iterator[Count]:
        return (Count(name, number) for name, number in present.items())


def copied(value: Any) -> Any:
    """Dicts and lists anew, all the way down: what a reader changes must not come back."""
    if isinstance(value, Mapping):
        return {key: copied(one) for key, one in value.items()}
    return [copied(one) for one in value] if isinstance(value, list) else value


def _number(row: Row) -> float:
    """A row's turn, written as a number or a string; 0 where it has none, so that order stays."""
    try:
        return float(row.cells.get("turn") or 0)
    except (TypeError, ValueError):
        return 0.0

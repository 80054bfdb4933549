"""Which lines were said before and after a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modalxai.datasets.columns import column
from modalxai.errors import InputError
from modalxai.protocols import Line, Samples


class Dialogues:
    """The lines of a corpus in their order.

    Parameters
    ----------
    samples, ids
        N samples and their ids.
    text, dialogue, turn, speaker
        Names of columns, see `translate_corpus`.

    Raises
    ------
    InputError
        A line of a dialogue without a number, or two with the same.
    """

    def __init__(
        self,
        samples: Samples,
        ids: Sequence[str],
        text: str,
        dialogue: str,
        turn: str,
        speaker: str,
    ) -> None:
        self._texts = column(samples, text)
        self._speakers = column(samples, speaker)
        self._names = column(samples, dialogue)
        # Such a corpus also knows the lines that are no samples, in the column "text".
        knows = text == "text" and dialogue == "dialogue"
        self._context = getattr(samples, "context", None) if knows else None
        if any(name is not None for name in self._names) and self._context is None:
            self.order = self._ordered(ids, column(samples, turn))
        else:
            self.order = list(range(len(ids)))
        self._place = {row: place for place, row in enumerate(self.order)}

    def line(self, row: int, before: int, after: int) -> Line | None:
        """One line with at most so many lines around it that have a text; ``None`` without one."""
        text = self._texts[row]
        if text is None:
            return None
        if self._names[row] is None or not (before or after):
            return Line(text, self._speakers[row])
        if self._context is not None:
            found = self._context(row, before, after)
            sides = [
                tuple(Line(said.text, said.speaker) for said in side if said.text)
                for side in (found.preceding, found.following)
            ]
            return Line(text, self._speakers[row], *sides)
        preceding = self._near(row, -1, before)[::-1]
        return Line(text, self._speakers[row], preceding, self._near(row, 1, after))

    def _near(self, row: int, step: int, count: int) -> tuple[Line, ...]:
        found: list[Line] = []
        place = self._place[row] + step
        while len(found) < count and 0 <= place < len(self.order):
            other = self.order[place]
            if self._names[other] != self._names[row]:
                break
            if self._texts[other]:
                found.append(Line(self._texts[other], self._speakers[other]))
            place += step
        return tuple(found)

    def _ordered(self, ids: Sequence[str], turns: Sequence[Any]) -> list[int]:
        """Rows by dialogue, as they first occur, and by number within it."""
        first: dict[Any, int] = {}
        seen: dict[tuple[Any, float], str] = {}
        keys: list[tuple[int, float]] = []
        for row, (name, sample) in enumerate(zip(self._names, ids, strict=True)):
            if name is None:
                keys.append((row, 0.0))
                continue
            number = _number(turns[row])
            if number is None or (name, number) in seen:
                raise InputError(
                    f"sample {sample!r} has no place in dialogue {name!r}",
                    expected="a number that no other line of the dialogue has",
                    got=repr(turns[row])
                    + ("" if number is None else f", as sample {seen[name, number]!r}"),
                    mend="say which column numbers the lines: turn=..., or leave the dialogue out",
                )
            seen[name, number] = sample
            keys.append((first.setdefault(name, row), number))
        return sorted(range(len(keys)), key=keys.__getitem__)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if abs(number) < float("inf") else None

"""What a split is: the ids of every part, and what the parts share."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch.utils.data import Dataset

from modalxai.datasets.columns import column as read_column
from modalxai.datasets.columns import ids_of
from modalxai.errors import InputError
from modalxai.protocols import Samples

LEAK = "split_leak"
"""The column of samples that says what the parts they come from share; reports read it."""


@dataclass(frozen=True)
class Leak:
    """What parts share.

    Parameters
    ----------
    column
        ``"speaker"``, say.
    shared, values
        How many of its values occur in more than one part, and how many there are.
    samples, of
        How many samples outside the first part (the training set) have a value that the first
        part has too, and how many samples lie outside it.
    """

    column: str
    shared: int
    values: int
    samples: int
    of: int

    def __str__(self) -> str:
        return (
            f"{self.shared} of {self.values} {self.column}s are in more than one part; "
            f"{self.samples} of {self.of} samples outside the first part share theirs with it"
        )


@dataclass(frozen=True)
class Split:
    """Which sample is in which part.

    Parameters
    ----------
    parts
        By part, the ids in sorted order; every sample is in exactly one.
    by
        Columns whose values were kept together; empty for a random split.
    stratify
        The column whose values were spread alike, or None.
    seed
        What it was drawn with, and, for repeated folds, ``draw``.
    leaks
        What parts share, by column; empty where they share nothing that is known.
    unchecked
        Guarded columns that the samples do not have: whether these are shared is unknown.
    """

    parts: Mapping[str, tuple[str, ...]]
    by: tuple[str, ...]
    stratify: str | None
    seed: int
    draw: int
    leaks: tuple[Leak, ...]
    unchecked: tuple[str, ...]

    @property
    def leak(self) -> str:
        """What a report must say about it; empty where nothing is shared."""
        said = [str(one) for one in self.leaks]
        said += [f"whether parts share a {name} is unknown" for name in self.unchecked]
        if not self.by:
            said.insert(0, "random split, as in the papers")
        return ". ".join(said)

    def part(self, samples: Samples, name: str) -> Part:
        """The samples of one part, read as lazily as they are.

        Where there is a `leak`, each sample carries it as its column ``"split_leak"``, so that
        whatever is reported of it says so.

        Raises
        ------
        InputError
            No such part, or samples that lack some of its ids.
        """
        if name not in self.parts:
            raise InputError(
                f"no part {name!r}",
                expected=f"one of {list(self.parts)}",
                got=repr(name),
                mend="use the names that the split was made with",
            )
        rows = {one: row for row, one in enumerate(ids_of(samples))}
        if lost := [one for one in self.parts[name] if one not in rows]:
            raise InputError(
                f"{len(lost)} samples of part {name!r} are missing",
                expected="the samples that were split",
                got=f"no {lost[:3]}",
                mend="split the samples anew, or give all of them",
            )
        return Part(samples, [rows[one] for one in self.parts[name]], self.leak)


class Part(Dataset[Mapping[str, Any]]):
    """Some of the samples, by number, with what leaks between them and the rest."""

    def __init__(self, samples: Samples, rows: Sequence[int], leak: str = "") -> None:
        self.samples, self.rows, self.leak = samples, tuple(rows), leak

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        sample = self.samples[self.rows[index]]
        return {**sample, LEAK: self._leak(sample.get(LEAK))} if self.leak else sample

    def column(self, name: str) -> list[Any]:
        """One column, without reading recordings where the samples can."""
        values = read_column(self.samples, name)
        found = [values[row] for row in self.rows]
        return [self._leak(one) for one in found] if name == LEAK and self.leak else found

    def _leak(self, before: str | None) -> str:
        """Of this split; after that of the split that made the samples, if it leaked too."""
        return f"{before}. {self.leak}" if before and before != self.leak else self.leak


def leak_of(
    name: str, values: Sequence[Hashable | None], members: Mapping[str, Sequence[int]]
) -> Leak | None:
    """What parts (rows by name, the first one trained on) share of a column; None if nothing."""
    inside = [{values[row] for row in rows} - {None} for rows in members.values()]
    times: dict[Hashable, int] = {}
    for part in inside:
        for value in part:
            times[value] = times.get(value, 0) + 1
    shared = sum(number > 1 for number in times.values())
    if not shared:
        return None
    rest = [row for rows in list(members.values())[1:] for row in rows]
    touched = sum(values[row] in inside[0] for row in rest)
    return Leak(name, shared, len(times), touched, len(rest))

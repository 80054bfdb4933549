"""A corpus with one more column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.utils.data import Dataset

from modalxai.datasets.answers import Failure
from modalxai.errors import InputError
from modalxai.protocols import Samples
from modalxai.types import RESERVED


class WithColumn(Dataset[dict[str, Any]]):
    """Samples of another dataset, each with one more value; reads as lazily as that one.

    Parameters
    ----------
    samples
        N samples.
    name
        The new column.
    values
        N values.
    failures
        The rows for which no value was found.
    asked
        How many values were asked for; the others were known, or nothing was there to ask about.

    Raises
    ------
    InputError
        A name that samples may not use, or another number of values.
    """

    def __init__(
        self,
        samples: Samples,
        name: str,
        values: Sequence[str | None],
        failures: Sequence[Failure] = (),
        asked: int = 0,
    ) -> None:
        check_name(name)
        if len(values) != len(samples):
            raise InputError(
                "a column of another length",
                expected=f"{len(samples)} values",
                got=str(len(values)),
                mend="give one value per sample",
            )
        self.samples = samples
        self.name = name
        self.values = tuple(values)
        self.failures = tuple(failures)
        self.asked = asked

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = dict(self.samples[index])
        if self.name in sample:
            raise _taken(self.name)
        return sample | {self.name: self.values[index]}

    def column(self, name: str) -> list[Any]:
        """One column, ``None`` where a sample lacks it."""
        return list(self.values) if name == self.name else column(self.samples, name)

    def summary(self) -> str:
        """One line: how many values there are, and how many are missing or empty."""
        found = sum(value is not None for value in self.values)
        empty = sum(value is not None and not value.strip() for value in self.values)
        return (
            f"{self.name}: {found} of {len(self)}, {empty} of them empty, "
            f"{len(self.failures)} failed, {self.asked} asked for"
        )


def column(samples: Samples, name: str) -> list[Any]:
    """One column, ``None`` where a sample lacks it; recordings stay unread where they can."""
    read = getattr(samples, "column", None)
    if read is None:
        return [samples[row].get(name) for row in range(len(samples))]
    try:
        return list(read(name))
    except InputError:  # no such column
        return [None] * len(samples)


def ids_of(samples: Samples) -> list[str]:
    """Every sample's id.

    Raises
    ------
    InputError
        A sample without one.
    """
    found = column(samples, "id")
    for row, name in enumerate(found):
        if name is None:
            raise InputError(
                f"sample number {row} has no id",
                expected='a name under "id"',
                got="none",
                mend='give each sample an "id"',
            )
    return [str(name) for name in found]


def check_name(name: str) -> None:
    """Refuse a column that has a meaning of its own."""
    if not name or name in (*RESERVED, "audio", "speaker", "text"):
        raise _taken(name)


def _taken(name: str) -> InputError:
    return InputError(
        f"a new column cannot be called {name!r}",
        expected="a name that no sample has",
        got=repr(name),
        mend='choose another: column="recognised", for example',
    )

"""The ids and columns that a split is made from, read without any recording."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modalxai.datasets.columns import column as read_column
from modalxai.datasets.columns import ids_of
from modalxai.errors import InputError
from modalxai.protocols import Samples

REPORTED = ("speaker", "session", "dialogue", "sentence")
"""What a split tells of, where samples have it."""
SCRIPTED_WORDS = 4
"""Equal texts of as many words or more count as one scripted sentence; "oh really" does not."""

Source = Samples | Sequence[tuple[str, Mapping[str, Any]]]
"""Samples (a corpus, or a list of mappings), or pairs of an id and its columns."""


@dataclass(frozen=True)
class Table:
    """Ids [N] and the columns that anyone has values of, [N] each."""

    ids: tuple[str, ...]
    columns: Mapping[str, list[Any]]

    @classmethod
    def of(cls, samples: Source, wanted: Iterable[str | None]) -> Table:
        """The ids, what is reported and what is wanted; a column that nobody has is left out."""
        names = dict.fromkeys((*REPORTED, "text", *(name for name in wanted if name)))
        pairs: Any = samples
        if len(samples) and isinstance(samples, Sequence) and isinstance(samples[0], tuple):
            ids = [str(name) for name, _ in pairs]
            columns = {name: [one.get(name) for _, one in pairs] for name in names}
        else:
            ids = ids_of(pairs)
            columns = {name: read_column(pairs, name) for name in names}
        doubled = [name for name, times in Counter(ids).items() if times > 1]
        if not ids or doubled:
            raise InputError(
                "samples that cannot be split",
                expected="one sample or more, each with an id of its own",
                got=f"ids twice: {doubled[:3]}" if doubled else "none",
                mend="make the ids unique, for example by adding the original split",
            )
        if all(value is None for value in columns["sentence"]):
            columns["sentence"] = [_scripted(text) for text in columns["text"]]
        kept = {name: list(values) for name, values in columns.items() if name != "text"}
        return cls(tuple(ids), {k: v for k, v in kept.items() if any(x is not None for x in v)})

    def values(self, name: str, gaps: bool = False) -> list[Hashable | None]:
        """A column that has to be there; ``gaps``: where ``None`` may be."""
        found = self.columns.get(name, [None] * len(self.ids))
        if lost := [one for one, value in zip(self.ids, found, strict=True) if value is None]:
            if name in self.columns and gaps:
                return found
            raise InputError(
                f"{len(lost)} of {len(self.ids)} samples have no {name!r}",
                expected="a value for every sample",
                got=f"None for {lost[:3]}",
                mend=f"fill the column, or choose another among {sorted(self.columns)}",
            )
        return found


def class_names(values: Sequence[Any]) -> list[str]:
    """Label names; of several, or of shares over raters, the largest, joined where they tie."""
    names = []
    for value in values:
        if isinstance(value, Mapping):
            given = {key: share or 0 for key, share in value.items()}
            most = max(given.values(), default=0)
            value = ";".join(sorted(key for key, share in given.items() if share == most))
        names.append(str(value))
    return names


def _scripted(text: Any) -> str | None:
    if not isinstance(text, str):
        return None
    plain = unicodedata.normalize("NFC", text).casefold()
    words = "".join(one if one.isalnum() else " " for one in plain).split()
    return " ".join(words) if len(words) >= SCRIPTED_WORDS else None

"""Rare labels oversampled by augmented copies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from types import MappingProxyType
from typing import Any

from modalxai.audio import seed_for
from modalxai.datasets.columns import column as read_column
from modalxai.datasets.columns import ids_of
from modalxai.datasets.split_table import class_names
from modalxai.errors import InputError
from modalxai.protocols import Samples
from modalxai.training.augment.dataset import Augment, PerEpoch

HALVES: Mapping[tuple[str, ...], float] = MappingProxyType(
    {("audio",): 0.5, ("text",): 0.5, ("audio", "text"): 0.5}
)
"""Copies per original sample, by which modalities are changed: as the KEMDy20 valence and arousal
models made them, "half from audio only, half from text only, half from both (50 % each)"."""


@dataclass(frozen=True)
class _Copy:
    """Sample ``row`` itself, or its copy of this ``number`` that changes these modalities."""

    row: int
    changes: tuple[str, ...] = ()
    number: int = 0


class Oversampled(PerEpoch):
    """The samples, followed by augmented copies of those with rare labels.

    A copy keeps its labels and every column, gets an id of its own (``"u3+audio1"``) and, as all
    samples here, a column ``"augmented"``: the modalities that were changed, ``""`` in originals.
    The same copies are chosen for the same ids and seed, whatever the order of the samples.

    Parameters
    ----------
    samples
        N samples with ids.
    augment
        What is done to copies; its rate must be 1, or a copy could be no different.
    rare
        Names of the labels to add to.
    added
        By the modalities that are changed, how many copies are added per original sample of a rare
        label. The default, `HALVES`, adds 1.5 copies of each: 2.5 times as many in all. The source
        can also be read as thirds of a total; for that say the total: ``fill``.
    fill
        Copies until a rare label has as many samples, or (below or at 1) this part of the most
        frequent label's; ``added`` then only says in which proportions. None adds what ``added``
        says. A label that has as many already gets no copies.
    labels
        The column that holds the labels: ``"labels"`` of samples, ``"label"`` of a corpus.
    seed
        Of the choice and of all that is random, together with a copy's id and the epoch.

    Raises
    ------
    InputError
        A rare label that nobody has, numbers out of range, changes without edits, a rate below 1,
        or samples without labels.
    """

    def __init__(
        self,
        samples: Samples,
        augment: Augment,
        *,
        rare: Sequence[str],
        added: Mapping[tuple[str, ...], float] = HALVES,
        fill: float | None = None,
        labels: str = "labels",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.samples, self.augment, self.seed = samples, augment, seed
        _check(augment, added, fill)
        values = read_column(samples, labels)
        names = [
            None if not value else one
            for value, one in zip(values, class_names(values), strict=True)
        ]
        self._ids = ids_of(samples)
        self._copies = [_Copy(row) for row in range(len(names))]
        counts = Counter(name for name in names if name is not None)
        for label in dict.fromkeys(rare):
            if not counts[label]:
                raise InputError(
                    f"no sample has the label {label!r}",
                    expected=f"some of {sorted(counts)}",
                    got=repr(label),
                    mend=f"check the name, or the column, labels={labels!r}",
                )
            rows = [row for row, name in enumerate(names) if name == label]
            self._copies += self._chosen(rows, _amounts(counts, label, added, fill))

    def _chosen(
        self, rows: Sequence[int], amounts: Mapping[tuple[str, ...], int]
    ) -> Iterator[_Copy]:
        """Every sample once before any sample twice, whatever is changed."""
        order = sorted(rows, key=lambda row: seed_for(self._ids[row], self.seed))
        kinds = (changes for changes, number in amounts.items() for _ in range(number))
        made: Counter[tuple[int, tuple[str, ...]]] = Counter()
        for row, changes in zip(cycle(order), kinds, strict=False):
            made[row, changes] += 1
            yield _Copy(row, changes, made[row, changes])

    def __len__(self) -> int:
        return len(self._copies)

    def __getitem__(self, index: int) -> Any:
        copy = self._copies[index]
        sample = self.samples[copy.row]
        if "augmented" in sample:
            raise InputError(
                "samples that are oversampled already",
                expected='samples without a column "augmented"',
                got=f"one in sample {sample.get('id')!r}",
                mend="oversample once, naming all rare labels",
            )
        # What a sample lacks cannot have been changed.
        done = [name for name in copy.changes if sample.get(name) is not None]
        made = {**sample, "id": self._name(copy), "augmented": "+".join(done)}
        if not copy.changes:
            return made
        return self.augment(made, seed_for(made["id"], self.seed, self.epoch), copy.changes)

    def column(self, name: str) -> list[Any]:
        """One column of all samples and copies, ids included, nothing read and nothing changed."""
        if name == "id":
            return [self._name(copy) for copy in self._copies]
        if name == "augmented":
            return ["+".join(copy.changes) for copy in self._copies]
        values = read_column(self.samples, name)
        return [values[copy.row] for copy in self._copies]

    def _name(self, copy: _Copy) -> str:
        own = self._ids[copy.row]
        return f"{own}+{'+'.join(copy.changes)}{copy.number}" if copy.changes else own


def _amounts(
    counts: Mapping[str, int],
    label: str,
    added: Mapping[tuple[str, ...], float],
    fill: float | None,
) -> dict[tuple[str, ...], int]:
    """How many copies of each kind, rounded so that their sum is right."""
    own, most = counts[label], max(counts.values())
    per = sum(added.values())
    total = own * per
    if fill is not None:
        total = max(0.0, (fill * most if fill <= 1 else fill) - own)
    amounts, given, due = {}, 0, 0.0
    for changes, share in added.items():
        due += total * share / per
        amounts[changes] = round(due) - given
        given += amounts[changes]
    return amounts


def _check(augment: Augment, added: Mapping[tuple[str, ...], float], fill: float | None) -> None:
    known = set(augment.edits)
    strange = [changes for changes in added if not changes or not set(changes) <= known]
    numbers = all(0 < share < float("inf") for share in added.values())
    if not added or strange or not numbers or augment.rate < 1 or (fill is not None and fill <= 0):
        raise InputError(
            "copies that cannot be made",
            expected=f"changes among {sorted(known)}, numbers above 0 and a rate of 1",
            got=f"added={dict(added)}, fill={fill}, rate={augment.rate}",
            mend='write added={("audio",): 0.5, ("text",): 0.5}, with edits for both',
        )

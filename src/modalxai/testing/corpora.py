"""`check_dataset`: whether samples by number keep what every reader of them relies on."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modalxai.errors import InputError
from modalxai.protocols import Samples
from modalxai.testing.compare import equal
from modalxai.testing.conformance import (
    Conformance,
    NamedCheck,
    NotApplicable,
    Promise,
    PromiseError,
    after,
    promise,
    require,
    run,
)
from modalxai.testing.parts import generators
from modalxai.types import RESERVED, Audio, Sample

MOST = 24
"""How many samples are read; of more, as many from everywhere."""
FULL_SCALE = 8.0
"""An amplitude that no recording has at full scale 1.0, and that whole numbers soon have."""


@dataclass(frozen=True, eq=False)
class DatasetCase:
    """See `modalxai.testing.check_dataset`."""

    samples: Any
    collate: Callable[[Sequence[Sample]], Any] | None
    most: int

    @classmethod
    def make(
        cls,
        dataset: Samples,
        collate: Callable[[Sequence[Sample]], Any] | None = None,
        *,
        most: int = MOST,
    ) -> DatasetCase:
        """Check the arguments."""
        if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
            raise InputError(
                "nothing that the kit can check",
                expected="samples by number: a list, or any map-style dataset",
                got=type(dataset).__name__,
                mend="give it __len__ and __getitem__; list(...) makes a list of an iterable",
            )
        return cls(dataset, collate, most)

    @cached_property
    def rows(self) -> list[int]:
        """The numbers that are read, the first and the last among them."""
        count = len(self.samples)
        return sorted({round(at) for at in np.linspace(0, count - 1, min(count, self.most))})

    @cached_property
    def read(self) -> list[Any]:
        """Those samples."""
        return [self.samples[row] for row in self.rows]

    def named(self) -> list[tuple[str, Any]]:
        """Those samples, each with its name for a report."""
        return [(f"sample {row}", one) for row, one in zip(self.rows, self.read, strict=True)]


@promise("return the number of samples, 1 or more, from __len__")
def there_are_samples(case: DatasetCase) -> None:
    """A length, and a sample for its first and last number."""
    count = len(case.samples)
    require(isinstance(count, int) and count > 0, f"its length is {count!r}")
    case.samples[0], case.samples[count - 1]


@promise('return a dict: {"id": "u1", "audio": mx.Audio(...), "text": "...", "labels": {...}}')
def samples_are_mappings(case: DatasetCase) -> None:
    """Of strings to values, no name of which a batch needs for itself."""
    for name, one in case.named():
        require(isinstance(one, Mapping), f"{name} is {type(one).__name__}")
        odd = [key for key in one if not isinstance(key, str)]
        require(not odd, f"{name}: keys that are no strings: {odd[:3]}")
        taken = sorted(set(one) & (set(RESERVED) - {"id", "labels"}))
        require(not taken, f"{name}: {taken} are names that a batch needs")


@promise("raise IndexError from len(dataset) on: a for loop ends by it")
def the_end_is_an_index_error(case: DatasetCase) -> None:
    """A number too many is refused, and by that error."""
    count = len(case.samples)
    try:
        case.samples[count]
    except IndexError:
        return
    except Exception as error:
        raise PromiseError(f"raises {type(error).__name__}, so that a loop fails") from error
    raise PromiseError(f"gives sample {count} of {count}, so that a loop never ends")


@promise("give every sample an id of its own: seeds, caches and results go by it")
def ids_are_strings_that_differ(case: DatasetCase) -> None:
    """Among all that were read."""
    ids = [one.get("id") for one in case.read]
    odd = [one for one in ids if not isinstance(one, str) or not one.strip()]
    require(not odd, f"ids that are no names: {odd[:3]}")
    twice = sorted({one for one in ids if ids.count(one) > 1})
    require(not twice, f"twice: {twice[:3]}")


@promise("decide everything by the sample's number or id; no counters, no pops from a cache")
def reading_again_gives_the_same(case: DatasetCase) -> None:
    """To the bit, and in another order."""
    first = copy.deepcopy(case.read)
    again = {row: case.samples[row] for row in case.rows[::-1]}
    for row, one in zip(case.rows, first, strict=True):
        wrong = _differing(one, again[row])
        require(not wrong, f"sample {row}, read again: {wrong} differ")


@promise("draw from numpy.random.default_rng(seed_for(id, seed)), or not at all")
def reading_draws_nothing(case: DatasetCase) -> None:
    """The global generators stay where they are, and decide nothing."""
    before = generators()
    first = copy.deepcopy(case.samples[case.rows[0]])
    require(equal(generators(), before), "a global random generator moved")
    torch.manual_seed(1)
    other = copy.deepcopy(case.samples[case.rows[0]])
    torch.set_rng_state(before[0])
    wrong = _differing(first, other)
    decided = bool(wrong) and not _differing(first, case.samples[case.rows[0]])
    require(not decided, f"under another global seed {wrong} differ")


@promise("return a new dict at every reading: dict(self._cached[index])")
def a_sample_is_its_readers(case: DatasetCase) -> None:
    """What a reader adds, changes or takes away is not there when the sample is read again."""
    row = case.rows[0]
    before = copy.deepcopy(case.samples[row])
    mine = case.samples[row]
    if not isinstance(mine, dict):
        raise NotApplicable("its samples cannot be written to")
    for value in list(mine.values()):
        if isinstance(value, dict):
            value.clear()
    mine.clear()
    mine["id"] = "changed by the kit"
    after_it = case.samples[row]
    wrong = _differing(before, after_it)
    if wrong:  # leave nothing behind
        mine.clear()
        mine.update(before)
    require(not wrong, f"a reader's changes came back: {wrong}")


@promise("open files when reading, not in __init__; use module-level classes, no lambdas")
def loader_workers_can_have_it(case: DatasetCase) -> None:
    """It can be pickled, and gives the same samples afterwards."""
    again = pickle.loads(pickle.dumps(case.samples))
    require(len(again) == len(case.samples), f"{len(again)} samples, unpickled")
    row = case.rows[-1]
    wrong = _differing(case.samples[row], again[row])
    require(not wrong, f"sample {row}, unpickled: {wrong} differ")


@promise("wrap recordings: mx.Audio(waveform, sample_rate), floating, full scale 1.0")
def recordings_can_be_heard(case: DatasetCase) -> None:
    """Every `Audio` is finite, floating, not empty, at full scale 1.0, and says its rate."""
    found = 0
    for name, one in case.named():
        for key, value in one.items():
            if not isinstance(value, Audio):
                continue
            found += 1
            wave = torch.as_tensor(value.waveform)
            what = f"{name}, {key!r}"
            rate = value.sample_rate
            require(isinstance(rate, int) and rate > 0, f"{what}: sample rate {rate!r}")
            require(wave.is_floating_point(), f"{what}: a waveform of {wave.dtype}")
            require(wave.dim() in (1, 2) and wave.numel() > 0, f"{what}: shape {list(wave.shape)}")
            require(bool(wave.isfinite().all()), f"{what}: NaN or infinite")
            peak = float(wave.abs().max())
            require(peak <= FULL_SCALE, f"{what}: amplitudes up to {peak:g}, full scale is 1.0")
    if not found:
        raise NotApplicable("it has no Audio")


@promise('write "labels": {"anger": 1}, shares that sum to 1, numbers for dimensions, or None')
def labels_are_names_and_numbers(case: DatasetCase) -> None:
    """A name, or finite numbers by name, of the dataset's own labels if it lists them."""
    known = getattr(case.samples, "labels", None)
    names = {str(getattr(one, "name", one)) for one in known} if known is not None else None
    found = 0
    for name, one in case.named():
        given = one.get("labels")
        if given is None:
            continue
        found += 1
        given = {given: 1} if isinstance(given, str) else given
        require(isinstance(given, Mapping), f"{name}: labels of {type(given).__name__}")
        for label, value in given.items():
            require(isinstance(label, str) and bool(label.strip()), f"{name}: label {label!r}")
            require(
                value is None or (_number(value) and math.isfinite(float(value))),
                f"{name}: {label!r} is {value!r}",
            )
            fits = names is None or label in names
            require(fits, f"{name}: {label!r} is none of {sorted(names or ())[:8]}")
    if not found:
        raise NotApplicable("no sample has labels")


@promise("leave a sample out that has nothing to encode; None is a missing value, '' is none")
def no_sample_is_empty(case: DatasetCase) -> None:
    """Each has a recording, a signal or a text; texts are strings that say something, or None."""
    for name, one in case.named():
        text = one.get("text")
        require(text is None or isinstance(text, str), f"{name}: text of {type(text).__name__}")
        values = [value for key, value in one.items() if key not in ("id", "labels")]
        require(any(_encodable(value) for value in values), f"{name}: keys {sorted(one)}")


@promise("give column(name) the values that the samples have under that name")
def columns_are_the_samples(case: DatasetCase) -> None:
    """``column`` reads nothing, and says what reading would."""
    column = getattr(case.samples, "column", None)
    if column is None:
        raise NotApplicable("it has no column()")
    for key in ("id", "text", "speaker"):
        if any(key not in one for one in case.read):
            continue
        cells = column(key)
        require(len(cells) == len(case.samples), f"{key!r}: {len(cells)} cells")
        for row, one in zip(case.rows, case.read, strict=True):
            require(equal(cells[row], one[key]), f"{key!r}, sample {row}: {cells[row]!r}")


@promise("see the message: it names the sample and what to change", needs=[samples_are_mappings])
def they_collate(case: DatasetCase) -> None:
    """A batch of them is what the model's collate makes of it, a row each."""
    if case.collate is None:
        raise NotApplicable("no collate was given")
    batch = case.collate(case.read)
    require(len(batch["ids"]) == len(case.read), f"{len(batch['ids'])} rows")


def _differing(one: Any, other: Any) -> list[str]:
    """The keys in which two samples differ."""
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return [] if equal(one, other) else ["the sample"]
    keys = {**one, **other}
    return [str(key) for key in keys if not equal(one.get(key), other.get(key))]


def _encodable(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value.strip())
    return value is not None and not isinstance(value, bool | int | float)


def _number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) or (
        isinstance(value, Tensor) and value.dim() == 0
    )


_READ = after(
    [samples_are_mappings],
    [
        ids_are_strings_that_differ,
        reading_draws_nothing,
        *after([reading_draws_nothing], [reading_again_gives_the_same]),
        *after(
            [reading_draws_nothing, reading_again_gives_the_same],
            [a_sample_is_its_readers, loader_workers_can_have_it],
        ),
        recordings_can_be_heard,
        labels_are_names_and_numbers,
        no_sample_is_empty,
        columns_are_the_samples,
        they_collate,
    ],
)
PROMISES: tuple[Promise[DatasetCase], ...] = (
    there_are_samples,
    *after([there_are_samples], [samples_are_mappings, the_end_is_an_index_error, *_READ]),
)
"""Every check of a dataset, each after those it needs."""


def check_dataset(
    dataset: Samples,
    collate: Callable[[Sequence[Sample]], Any] | None = None,
    *,
    expected: Mapping[str, str] | None = None,
    most: int = MOST,
) -> Conformance:
    """Check samples against what a loader, a model and a report rely on.

    Parameters
    ----------
    dataset
        A list of samples, or any map-style dataset.
    collate
        ``model.collate``, to see that a model can read them.
    expected
        By the name of a check that will fail, the reason. If it passes, that is a failure.
    most
        How many samples are read, a few times each.

    Returns
    -------
    Conformance

    Raises
    ------
    InputError
        No samples by number, or an expected failure that is no check.

    Examples
    --------
    >>> from modalxai.datasets import tonebench
    >>> report = check_dataset(tonebench.ToneBench(tonebench.xor(), 8), most=3)
    >>> report.passed, len(report)
    (True, 12)
    """
    case = DatasetCase.make(dataset, collate, most=most)
    return run(type(dataset).__name__, PROMISES, case, expected)


def dataset_checks() -> tuple[NamedCheck[DatasetCase], ...]:
    """Each check of `check_dataset` by itself; called with ``(dataset, collate=None)``."""
    return tuple(NamedCheck(one, DatasetCase.make) for one in PROMISES)

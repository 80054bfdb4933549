"""A corpus in chunks of samples or batches; what cannot be read is reported, not raised."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from torch.utils.data import DataLoader, Dataset, IterableDataset, SequentialSampler, Subset

from modalxai.corpus_run.folder import Quarantined
from modalxai.errors import InputError, ModalxaiError
from modalxai.foreign_errors import masked
from modalxai.types import Batch

CollateFn = Callable[[list[Any]], Any]


@dataclass
class Piece:
    """One batch, where any sample of it could be read, and the samples that could not."""

    batch: Batch | None
    places: list[int]
    """Of the rows of the batch in the corpus."""
    bad: list[Quarantined] = field(default_factory=list)


class Reader(Protocol):
    """A corpus, cut into chunks that are the same in every process and every run."""

    samples: int | None
    ids: list[str] | None

    def chunks(self, wanted: Callable[[int], bool]) -> Iterator[tuple[int, Iterable[Piece]]]:
        """Number and pieces of every chunk that is wanted; only those are read."""
        ...


def reader(data: Any, collate: CollateFn, batch_size: int, chunk: int) -> Reader:
    """How to read samples, a dataset or a loader.

    Raises
    ------
    InputError
        A loader that shuffles or that shares samples out by itself, or data that are neither.
    """
    if isinstance(data, DataLoader):
        if isinstance(data.dataset, IterableDataset):
            return Stream(data, chunk)
        if type(data.sampler) is not SequentialSampler or data.batch_size is None or data.drop_last:
            raise InputError(
                "a loader whose order is its own",
                expected="samples in the order of the dataset, each once: shuffle=False, "
                "drop_last=False and no sampler (a DistributedSampler repeats samples)",
                got=f"{type(data.sampler).__name__}, drop_last={data.drop_last}",
                mend="give the dataset itself: explain_corpus shares it out among the processes",
            )
        return Indexed(data.dataset, data.collate_fn, data.batch_size, chunk, data.num_workers)
    indexed = hasattr(data, "__getitem__") and hasattr(data, "__len__")
    if indexed and not isinstance(data, IterableDataset | Mapping | str):
        return Indexed(data, collate, batch_size, chunk)
    if isinstance(data, Iterable) and not isinstance(data, Mapping | str):
        return Stream(data, chunk)
    raise InputError(
        "data that are no corpus",
        expected="a list of samples, a Dataset, or a loader of batches",
        got=type(data).__name__,
        mend="for one sample or one batch, use mx.explain",
    )


class Indexed:
    """Samples that can be asked for by place: a chunk is a range, and nothing else is read."""

    def __init__(
        self, data: Any, collate: CollateFn, batch_size: int, chunk: int, workers: int = 0
    ) -> None:
        self._data, self._collate, self._chunk = data, collate, chunk
        self._batch_size, self._workers = batch_size, workers
        self.samples: int | None = len(data)
        self.ids = _ids(data)
        if self.ids is not None and len(set(self.ids)) < len(self.ids):
            counted = Counter(self.ids)
            raise InputError(
                "two samples share an id",
                expected="different ids in the whole corpus",
                got=f"{[name for name, times in counted.items() if times > 1][:5]} twice or more",
                mend="make the ids unique, for example by adding the split or the dialogue",
            )

    def chunks(self, wanted: Callable[[int], bool]) -> Iterator[tuple[int, Iterable[Piece]]]:
        """See `Reader`."""
        count = self.samples or 0
        for number, start in enumerate(range(0, count, self._chunk)):
            if wanted(number):
                yield number, self._pieces(range(start, min(start + self._chunk, count)))

    def _pieces(self, places: range) -> Iterable[Piece]:
        loader: DataLoader[Any] = DataLoader(
            Subset(Guarded(self._data, self.ids), places),
            batch_size=self._batch_size,
            num_workers=self._workers,
            collate_fn=partial(collate_good, self._collate),
        )
        return loader


class Stream:
    """Batches that come one after another: chunks end where they hold enough samples."""

    def __init__(self, data: Iterable[Any], chunk: int) -> None:
        self._data, self._chunk = data, chunk
        self.samples: int | None = None
        self.ids: list[str] | None = None

    def chunks(self, wanted: Callable[[int], bool]) -> Iterator[tuple[int, Iterable[Piece]]]:
        """See `Reader`; what is not wanted is read all the same, because it has no place."""
        number, held, first = 0, list[Piece](), 0
        for batch in self._data:
            if not isinstance(batch, dict) or "ids" not in batch:
                raise InputError(
                    "an iterable that yields no batches",
                    expected="what model.collate makes of samples",
                    got=type(batch).__name__,
                    mend="DataLoader(..., collate_fn=model.collate), or give a list of samples",
                )
            batch = Batch(batch)
            places = list(range(first, first + len(batch.ids)))
            held.append(Piece(batch, places))
            first += len(places)
            if sum(len(piece.places) for piece in held) >= self._chunk:
                if wanted(number):
                    yield number, held
                number, held = number + 1, []
        if held and wanted(number):
            yield number, held


class Guarded(Dataset[Any]):
    """A dataset whose samples come with their place; an error is handed on as a value."""

    def __init__(self, data: Any, ids: list[str] | None) -> None:
        self._data, self._ids = data, ids

    def __getitem__(self, place: int) -> tuple[int, Any]:
        """The place, and the sample, or what was wrong with it."""
        try:
            sample = self._data[place]
        except Exception as error:
            return place, blame(place, self._ids and self._ids[place], "read", error)
        if isinstance(sample, dict) and sample.get("id") is None:
            sample = {**sample, "id": f"#{place}"}
        return place, sample


def collate_good(collate: CollateFn, rows: list[tuple[int, Any]]) -> Piece:
    """A batch of the samples that can be collated, one by one where together they cannot."""
    bad = [row for _, row in rows if isinstance(row, Quarantined)]
    good = [(place, row) for place, row in rows if not isinstance(row, Quarantined)]
    try:
        made = collate([row for _, row in good]) if good else None
    except Exception:
        fine = []
        for place, row in good:
            try:
                collate([row])
            except Exception as error:
                bad.append(blame(place, row, "collate", error))
            else:
                fine.append((place, row))
        if len(fine) == len(good):
            raise  # each is good, together they are not: two share an id, say
        good, made = fine, collate([row for _, row in fine]) if fine else None
    return Piece(made, [place for place, _ in good], sorted(bad, key=lambda one: one.index))


def blame(place: int, sample: Any, stage: str, error: BaseException | str) -> Quarantined:
    """The record of one bad sample."""
    name = sample.get("id") if isinstance(sample, dict) else sample
    if isinstance(error, ModalxaiError):
        reason = f"{error.wrong}; expected {error.expected}; got {error.got}; {error.mend}"
    else:
        reason = str(error)
    kind = "InputError" if isinstance(error, str) else type(error).__name__
    named = None if name is None else str(name)
    return Quarantined(place, named, stage, kind, masked(reason)[:1000])


def _ids(data: Any) -> list[str] | None:
    """All names, where they are known without reading a recording."""
    if hasattr(data, "column"):
        try:
            return [str(name) for name in data.column("id")]
        except (InputError, TypeError):
            return None
    if isinstance(data, list | tuple) and all(isinstance(sample, dict) for sample in data):
        return [str(sample.get("id", f"#{place}")) for place, sample in enumerate(data)]
    return None

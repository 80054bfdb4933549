"""Whatever holds samples, as batches: one sample, a list, a dataset, a batch, a loader."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils.data import IterableDataset

from modalxai.collate import SampleCollate
from modalxai.errors import InputError
from modalxai.protocols import Samples
from modalxai.types import Batch, Sample

Data = Batch | Sample | Samples | Iterable[Batch]
"""What can be explained: a batch, a sample, samples (a list or a Dataset), a loader of batches."""

Part = TypeVar("Part")


def batches(collate: SampleCollate, data: Data, batch_size: int) -> Iterator[Batch]:
    """Any `Data` as batches; samples without an id get their place in the whole as one.

    Raises
    ------
    InputError
        A batch size below 1, data that is none, or an id that occurs twice.
    """
    seen: set[str] = set()
    for batch in _made(collate, data, batch_size):
        ids = tuple(batch.get("ids", ()))
        if twice := sorted(seen.intersection(ids)):
            raise InputError(
                "two samples share an id",
                expected="different ids over all batches",
                got=f"{twice[:5]} twice or more",
                mend='give every sample its own "id" (a loader names those without one per batch)',
            )
        seen.update(ids)
        yield batch


def _made(collate: SampleCollate, data: Data, batch_size: int) -> Iterator[Batch]:
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise InputError(
            "batch_size out of range",
            expected="a whole number from 1",
            got=repr(batch_size),
            mend="16 is a good start; the result does not depend on it",
        )
    if isinstance(data, Mapping):
        whole = isinstance(data, Batch) or "ids" in data
        yield Batch(data) if whole else collate([_named(data, 0)])
        return
    pending: list[Sample] = []
    for index, item in enumerate(each_of(data)):
        if isinstance(item, Batch) or (isinstance(item, Mapping) and "ids" in item):
            yield Batch(item)
            continue
        pending.append(_named(item, index))
        if len(pending) == batch_size:
            yield collate(pending)
            pending = []
    if pending:
        yield collate(pending)


def one_batch(collate: SampleCollate, data: Data) -> tuple[Batch, list[Sample] | None]:
    """`Data` as a single batch, and the samples it was made of where they are known.

    Raises
    ------
    InputError
        A loader of several batches, or no sample.
    """
    items = [data] if isinstance(data, Mapping) else list(each_of(data))
    found = list(batches(collate, items, sys.maxsize))
    if len(found) != 1:
        raise InputError(
            "a game is of one batch",
            expected="a batch, a sample or samples",
            got=f"{len(found)} batches",
            mend="make a game for each batch, or use mx.explain for all of them",
        )
    whole = any(isinstance(item, Batch) or "ids" in item for item in items)
    return found[0], None if whole else cast("list[Sample]", items)


def in_halves(batch: Batch, run: Callable[[Batch], Part]) -> list[Part]:
    """``run`` on a batch; on its halves, in order, where CUDA has no memory for all of it.

    Rows do not see each other, so this does not change what comes out.

    Raises
    ------
    torch.OutOfMemoryError
        One row alone is too much.
    """
    try:
        return [run(batch)]
    except torch.OutOfMemoryError:
        if len(batch.get("ids", ())) < 2:
            raise
    # Outside the handler, whose traceback keeps the failed batch's tensors alive.
    torch.cuda.empty_cache()
    return [part for half in halves(batch) for part in in_halves(half, run)]


def halves(batch: Batch) -> list[Batch]:
    """The first and the second half of the rows of a batch that has ids."""
    middle = len(batch.ids) // 2
    return [_rows(batch, cut) for cut in (slice(None, middle), slice(middle, None))]


def _rows(batch: Batch, cut: slice) -> Batch:
    """Some rows of a batch: of its tensors, its columns and its ids."""

    def of(leaf: Any) -> Any:
        return leaf[cut] if isinstance(leaf, Tensor) else leaf

    part = Batch({key: pytree.tree_map(of, value) for key, value in batch.items()})
    if "columns" in batch:
        part["columns"] = {name: values[cut] for name, values in batch["columns"].items()}
    part["ids"] = tuple(batch["ids"])[cut]
    return part


def each_of(data: Any) -> Iterator[Any]:
    """What a list, a dataset or a loader holds, in order."""
    iterates = isinstance(data, IterableDataset)  # torch gives it a __getitem__ that only raises
    if hasattr(data, "__getitem__") and hasattr(data, "__len__") and not iterates:
        # A map-style Dataset need not stop its own iteration, so it is indexed.
        return (data[index] for index in range(len(data)))
    if not isinstance(data, Iterable):
        raise InputError(
            "data that cannot be read",
            expected="a sample, samples, a batch or a loader",
            got=type(data).__name__,
            mend="give a list of samples, for example",
        )
    return iter(data)


def _named(sample: Any, index: int) -> Sample:
    if isinstance(sample, Mapping) and sample.get("id") is None:
        return {**sample, "id": f"#{index}"}
    return cast("Sample", sample)

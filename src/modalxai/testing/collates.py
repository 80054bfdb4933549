"""What an encoder's ``collate`` promises."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

from torch import Tensor, nn

from modalxai.testing.compare import clone, equal, require_close, require_equal
from modalxai.testing.conformance import promise, require
from modalxai.testing.encoder_case import EncoderCase


@promise("return a dict of tensors, each [B, ...]; None is a missing value, also when all are")
def collate_gives_a_row_for_every_value(case: EncoderCase) -> None:
    """Tensors by name, whose first axis is B, for one value, several, and missing ones alone."""
    names = set(case.inputs())
    require(bool(names), "collate returned nothing")
    for raws in (case.batch, case.raws[:1], [None], [None, None]):
        for name, value in case.collate(raws).items():
            tensor = isinstance(value, Tensor) and value.dim() > 0
            require(tensor, f"{name!r} is {type(value).__name__}, no tensor with an axis B")
            require(len(value) == len(raws), f"{name!r} has {len(value)} rows of {len(raws)}")
        require(set(case.collate(raws)) == names, f"other names for {len(raws)} values")


@promise("make it an object of a module-level class, without lambdas or open files")
def collate_is_picklable(case: EncoderCase) -> None:
    """So that loader workers can have it; unpickled, it gives the same."""
    again = pickle.loads(pickle.dumps(case.part.collate))
    require_equal(
        dict(again(copy.deepcopy(case.batch))), case.inputs(), "an unpickled collate's tensors"
    )


@promise(
    "keep no weights in it: they would travel to every loader worker", needs=[collate_is_picklable]
)
def collate_is_weightless(case: EncoderCase) -> None:
    """It holds no module and no parameter."""
    found: list[str] = []

    class Looking(pickle.Pickler):
        def persistent_id(self, value: Any) -> None:
            if isinstance(value, nn.Module | nn.Parameter):
                found.append(type(value).__name__)

    Looking(io.BytesIO()).dump(case.part.collate)
    require(not found, f"it holds {sorted(set(found))[:4]}")


@promise("convert and pad copies of what it is given")
def collate_leaves_its_raw_values(case: EncoderCase) -> None:
    """The raw values, and the list of them, stay what they were."""
    raws = copy.deepcopy(case.batch)
    case.part.collate(raws)
    require(equal(raws, case.batch), "a raw value is not what it was")


@promise("normalise each value by itself, before padding, and pad on the right")
def a_collated_row_is_what_it_is_alone(case: EncoderCase) -> None:
    """Collated with others, a row begins with what it is alone; the rest is padding."""
    inputs = clone(case.inputs())
    for row, own in enumerate(case.alone):
        if case.batch[row] is None:
            continue
        for name, value in own.items():
            block = inputs[name][row][tuple(slice(0, size) for size in value[0].shape)]
            if block.is_floating_point():
                require_close(block, value[0], f"{name!r}, row {row}", 1e-6)
            else:
                require(equal(block, value[0]), f"{name!r}, row {row}: other values in a batch")


COLLATE = (
    collate_gives_a_row_for_every_value,
    collate_leaves_its_raw_values,
    collate_is_picklable,
    collate_is_weightless,
    a_collated_row_is_what_it_is_alone,
)

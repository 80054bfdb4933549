"""What the features of an encoder promise: shapes, masks, spans, and independence of neighbours."""

from __future__ import annotations

import copy
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from modalxai.testing.compare import require_close, require_equal, require_finite, tensors
from modalxai.testing.conformance import NotApplicable, PromiseError, promise, require
from modalxai.testing.encoder_case import EncoderCase, real, rows_of
from modalxai.testing.examples import extent
from modalxai.types import Features, Spans

UNITS = ("seconds", "characters", "index")
ROUNDING = 1e-4
"""How far a span may reach beyond its input, in its own unit."""


@promise("return Features(values [B, T, D], mask [B, T], spans [B, T]), D being encoder.dim")
def features_fit(case: EncoderCase) -> None:
    """Shapes that fit each other, for several values, for one, and for missing ones alone."""
    for raws in (case.batch, case.raws[:1], [None, None]):
        features = case.encode(raws)
        require(isinstance(features, Features), f"it returned {type(features).__name__}")
        values = features.values
        fits = values.dim() == 3 and len(values) == len(raws) and values.shape[2] == case.part.dim
        require(fits, f"values {list(values.shape)}, not [{len(raws)}, T, {case.part.dim}]")
        require(values.is_floating_point(), f"values of {values.dtype}")
        require(values.shape[1] > 0, "no axis T: make it 1 where everything is missing")
        shape = values.shape[:2]
        require(features.mask.shape == shape, f"mask {list(features.mask.shape)}")
        _require_spans(features.spans, shape)


def _require_spans(spans: Spans, shape: torch.Size) -> None:
    require(isinstance(spans, Spans), f"spans of {type(spans).__name__}")
    require(spans.unit in UNITS, f"spans in {spans.unit!r}, none of {UNITS}")
    for name in ("start", "end", "low", "high"):
        edge = getattr(spans, name)
        if edge is None and name in ("low", "high"):
            continue
        require(edge.shape == shape, f"spans.{name} {list(edge.shape)}, not {list(shape)}")
        require(edge.is_floating_point(), f"spans.{name} of {edge.dtype}")


@promise("make it by a comparison, or with .bool()", needs=[features_fit])
def the_mask_is_bool(case: EncoderCase) -> None:
    """True or False, not numbers."""
    require(case.features.mask.dtype == torch.bool, f"a mask of {case.features.mask.dtype}")


@promise("True is for what is real; a missing value is a row of False", needs=[the_mask_is_bool])
def the_mask_says_what_is_there(case: EncoderCase) -> None:
    """A value that is there has a real vector, a missing one has none."""
    found = case.features.mask.any(1).tolist()
    expected = [raw is not None for raw in case.batch]
    require(found == expected, f"rows with a real vector: {found}, rows that are there: {expected}")


@promise("blank what is undefined: masking.blank(values, mask)", needs=[the_mask_is_bool])
def everything_is_finite(case: EncoderCase) -> None:
    """Also where a value is missing, and where all are."""
    require_finite(case.features, "a batch with a missing value")
    require_finite(case.encode([None, None]), "a batch of missing values")


@promise(
    "return masking.blank(values, mask)", needs=[the_mask_says_what_is_there, everything_is_finite]
)
def padding_is_zero(case: EncoderCase) -> None:
    """Where the mask is False the values are exactly 0."""
    for features in (case.features, case.encode([None])):
        left = int(features.values[~features.mask].ne(0).any(-1).sum())
        require(left == 0, f"{left} vectors that are not real are not 0")


@promise(
    "give start and end in order, end == start on padding", needs=[the_mask_says_what_is_there]
)
def spans_lie_in_the_input(case: EncoderCase) -> None:
    """In order and within the raw value; a real row has some, padding has none."""
    features = case.features
    spans = features.spans
    padded = int((spans.end - spans.start)[~features.mask].ne(0).sum())
    require(padded == 0, f"{padded} spans of padding have an extent")
    for row, raw in enumerate(case.batch):
        if raw is None:
            continue
        extended = features.mask[row] & spans.mask[row]
        require(bool(extended.any()), f"row {row}: no vector has an extent")
        start, end = spans.start[row][features.mask[row]], spans.end[row][features.mask[row]]
        require(bool((end >= start).all()), f"row {row}: a span ends before it starts")
        start, end = spans.start[row][extended], spans.end[row][extended]
        ordered = bool((start.diff() >= 0).all()) and bool((end.diff() >= 0).all())
        require(ordered, f"row {row}: spans are not in order")
        last = extent(raw, spans.unit)
        reach = f"{float(start.min()):g} to {float(end.max()):g} {spans.unit}"
        within = float(start.min()) >= 0 and (last is None or float(end.max()) <= last + ROUNDING)
        require(within, f"row {row}: spans {reach}, the input is 0 to {last}")


@promise("take means and norms over real positions, and mask attention", needs=[padding_is_zero])
def more_padding_changes_nothing(case: EncoderCase) -> None:
    """A batch padded for a longer value, which is then taken away, gives what it gives without."""
    longest = case.longest()
    shorter = [raw for place, raw in enumerate(case.raws) if place != longest]
    padded = case.collate([*shorter, case.raws[longest]])
    found = case.outputs(rows_of(padded, range(len(shorter))))
    expected = case.encode(shorter)
    for row in range(len(shorter)):
        _require_same_row(case, found, row, expected, row, f"row {row} under more padding")


@promise("never mix rows: no norm, mean or maximum over B", needs=[more_padding_changes_nothing])
def a_row_alone_is_its_row_of_a_batch(case: EncoderCase) -> None:
    """A batch of one gives what the value gives among others."""
    for row, raw in enumerate(case.batch):
        alone = case.encode([raw])
        _require_same_row(case, case.features, row, alone, 0, f"row {row} among others")


@promise("never use a row's place in the batch", needs=[a_row_alone_is_its_row_of_a_batch])
def the_order_of_the_rows_does_not_matter(case: EncoderCase) -> None:
    """Rows in another order give the same features in that order."""
    count = len(case.batch)
    turned = case.encode(case.batch[::-1])
    for row in range(count):
        place = count - 1 - row
        _require_same_row(case, turned, place, case.features, row, f"row {row} at place {place}")


def _require_same_row(
    case: EncoderCase, found: Features, at: int, expected: Features, row: int, what: str
) -> None:
    own, other = real(found, at), real(expected, row)
    require(len(own) == len(other), f"{what}: {len(own)} real vectors instead of {len(other)}")
    require_close(own, other, what, case.tolerance)
    for name in ("start", "end"):
        edges = [
            getattr(features.spans, name)[place][features.mask[place]]
            for features, place in ((found, at), (expected, row))
        ]
        require_close(edges[0], edges[1], f"{what}, spans.{name}", 1e-6)


@promise("mask before whatever looks beyond one position", needs=[more_padding_changes_nothing])
def padding_gets_no_gradient(case: EncoderCase) -> None:
    """Not the padding of a floating input, nor the vectors of padded ids: exactly 0."""
    part, inputs = copy.deepcopy(case.part), case.inputs()
    watched: list[tuple[str, Tensor, list[Tensor]]] = []
    for name, value in inputs.items():
        if value.is_floating_point():
            inputs[name] = value.requires_grad_()
            pads = [case.padding(name, row) for row in range(len(value))]
            watched.append((f"input {name!r}", inputs[name], pads))
    with ExitStack() as hooks:
        for name, module in part.named_modules():
            watch = _watching(case, name, inputs, watched)
            hooks.callback(module.register_forward_hook(watch, with_kwargs=True).remove)
        values = part(inputs).values
    if not values.requires_grad:
        raise NotApplicable("no gradient reaches the input")
    draw = torch.Generator().manual_seed(0)
    (values * torch.randn(values.shape, generator=draw)).sum().backward()
    reached = False
    for name, value, pads in watched:
        if value.grad is None:
            continue
        for row, padding in enumerate(pads):
            gradient = value.grad[row]
            reached |= bool(gradient[~padding].ne(0).any())
            leaked = float(gradient[padding].abs().max()) if padding.any() else 0.0
            if leaked != 0:
                raise PromiseError(f"{name}, row {row}: a gradient of {leaked:.2g} at its padding")
    if not reached:
        raise NotApplicable("no gradient reaches the input")


def _watching(
    case: EncoderCase,
    name: str,
    inputs: dict[str, Tensor],
    watched: list[tuple[str, Tensor, list[Tensor]]],
) -> Any:
    """A hook that notes the vectors [B, T, ...] which a module makes of whole numbers alone."""

    def watch(
        _module: nn.Module, args: tuple[Any, ...], named: dict[str, Any], output: Any
    ) -> Tensor | None:
        if not isinstance(output, Tensor) or not output.is_floating_point():
            return None
        if any(value.is_floating_point() for value in tensors((args, named))):
            return None
        for key, value in inputs.items():
            if value.dim() == 2 and value.shape == output.shape[:2]:
                leaf = output.detach().requires_grad_()
                pads = [case.padding(key, row) for row in range(len(value))]
                watched.append((f"vectors of {name!r}", leaf, pads))
                return leaf
        return None

    return watch


@promise("use nothing but the tensors in inputs", needs=[a_row_alone_is_its_row_of_a_batch])
def a_batch_of_rows_can_be_taken_apart(case: EncoderCase) -> None:
    """Any rows of an input, one of them twice, are an input: explanations gather so."""
    rows = [2, 0, 0, 1]
    found = case.outputs(rows_of(case.inputs(), rows))
    for place, row in enumerate(rows):
        _require_same_row(case, found, place, case.features, row, f"row {row}, taken out")
    again = rows_of(case.inputs(), range(len(case.batch)))
    require_equal(case.outputs(again).mask, case.features.mask, "the mask of a copied input")


SHAPES = (
    features_fit,
    the_mask_is_bool,
    the_mask_says_what_is_there,
    everything_is_finite,
    padding_is_zero,
    spans_lie_in_the_input,
)
INDEPENDENCE = (
    more_padding_changes_nothing,
    a_row_alone_is_its_row_of_a_batch,
    the_order_of_the_rows_does_not_matter,
    a_batch_of_rows_can_be_taken_apart,
    padding_gets_no_gradient,
)

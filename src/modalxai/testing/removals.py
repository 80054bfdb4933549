"""What a `modalxai.protocols.Removable` encoder promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from modalxai.errors import ModalxaiError
from modalxai.protocols import Removable
from modalxai.testing.compare import (
    clone,
    equal,
    mapped,
    require_close,
    require_equal,
    require_finite,
)
from modalxai.testing.conformance import NotApplicable, PromiseError, after, promise, require
from modalxai.testing.encoder_case import EncoderCase, real, rows_of
from modalxai.testing.examples import altered, extent
from modalxai.testing.features import ROUNDING
from modalxai.types import Spans

WHOLE = 1e9
"""End of a span over everything, as the games use it."""
Inputs = dict[str, Tensor]


@promise("have them, or implement neither units nor remove")
def removals_and_kinds_are_named(case: EncoderCase) -> None:
    """An encoder with `units` and `remove` offers names for both; one without offers nothing."""
    if not isinstance(case.part, Removable):
        raise NotApplicable("the encoder does not remove units")
    for name in ("removals", "kinds"):
        offered = getattr(case.part, name)
        strings = isinstance(offered, tuple) and all(isinstance(one, str) for one in offered)
        require(strings and len(offered) > 0, f"{name} is {offered!r}, no tuple of names")


def _units(case: EncoderCase) -> Iterator[tuple[str, Inputs, Spans]]:
    """Of every kind: its name, the batch, and its units."""
    if not isinstance(case.part, Removable):
        raise NotApplicable("the encoder does not remove units")
    for kind in case.part.kinds:
        inputs = case.inputs()
        yield kind, inputs, case.part.units(inputs, kind)


def _every(case: EncoderCase) -> Iterator[tuple[str, str, Inputs, Spans]]:
    """Of every kind and every removal: both in words, how, the batch, and its units."""
    for kind, _, _ in _units(case):
        for how in case.part.removals:
            inputs = case.inputs()
            yield f"{kind}, {how}", how, inputs, case.part.units(inputs, kind)


def _seeds(count: int) -> list[int]:
    return [11 * row + 5 for row in range(count)]


def _remove(case: EncoderCase, inputs: Inputs, units: Spans, keep: Tensor, how: str) -> Inputs:
    return dict(case.part.remove(inputs, units, keep, how, _seeds(len(keep))))


@promise("give spans [B, U] in order and apart, in the unit of the features' own")
def units_lie_apart_in_the_input(case: EncoderCase) -> None:
    """Ordered, without overlap, within the raw value; a missing value has none."""
    for kind, _, units in _units(case):
        require(units.unit == case.features.spans.unit, f"{kind}: units in {units.unit}")
        fits = units.start.dim() == 2 and len(units.start) == len(case.batch)
        require(fits, f"{kind}: units {list(units.start.shape)}, not [{len(case.batch)}, U]")
        backwards = int((units.end < units.start).sum())
        require(backwards == 0, f"{kind}: {backwards} units end before they start")
        for row, raw in enumerate(case.batch):
            start, end = (edge[row][units.mask[row]] for edge in (units.start, units.end))
            require((len(start) > 0) == (raw is not None), f"{kind}: row {row} has {len(start)}")
            apart = start[1:] >= end[:-1] - ROUNDING
            if units.low is not None and units.high is not None:  # tiles of one moment
                low, high = (edge[row][units.mask[row]] for edge in (units.low, units.high))
                together = (start[1:] == start[:-1]) & (end[1:] == end[:-1])
                apart |= together & (low[1:] >= high[:-1] - ROUNDING)
            require(bool(apart.all()), f"{kind}: units of row {row} overlap, or are out of order")
            last = extent(raw, units.unit)
            within = raw is None or bool((start >= 0).all())
            within &= last is None or bool((end <= last + ROUNDING).all())
            require(within, f"{kind}: a unit of row {row} lies outside the input, 0 to {last}")


@promise("let the units of a kind cover whatever the vectors stand for")
def units_cover_the_input(case: EncoderCase) -> None:
    """The middle of every vector's span lies in a unit; whitespace in a text may lie in none."""
    spans = case.features.spans
    for kind, _, units in _units(case):
        for row, raw in enumerate(case.batch):
            for place in (case.features.mask[row] & spans.mask[row]).nonzero().flatten().tolist():
                first, last = float(spans.start[row, place]), float(spans.end[row, place])
                if isinstance(raw, str) and not raw[int(first) : int(last)].strip():
                    continue
                middle = (first + last) / 2
                inside = (units.start[row] <= middle) & (middle < units.end[row])
                require(bool(inside.any()), f"{kind}: {middle:g} of row {row} lies in no unit")


@promise("keep is True for what stays, everywhere")
def keeping_everything_changes_nothing(case: EncoderCase) -> None:
    """To the bit."""
    for what, how, inputs, units in _every(case):
        found = _remove(case, inputs, units, torch.ones_like(units.mask), how)
        require(set(found) == set(inputs), f"{what}: other tensors, {sorted(found)}")
        require_equal([found[name] for name in inputs], list(inputs.values()), what)


@promise("work on copies of the tensors")
def removing_leaves_what_it_was_given(case: EncoderCase) -> None:
    """Neither the inputs nor the units nor the mask are written to."""
    for what, how, inputs, units in _every(case):
        given = (inputs, units, torch.zeros_like(units.mask))
        before = clone(given)
        _remove(case, *given, how)
        require_equal(given, before, what)


@promise("apply every removal that is named to every kind that is named")
def every_removal_removes(case: EncoderCase) -> None:
    """Every name works with every kind: the input and its features change, and stay finite."""
    for what, how, inputs, units in _every(case):
        found = _remove(case, inputs, units, torch.zeros_like(units.mask), how)
        alike = all(
            found[name].dtype == value.dtype and found[name].shape[:1] == value.shape[:1]
            for name, value in inputs.items()
        )
        require(set(found) == set(inputs) and alike, f"{what}: tensors of another kind")
        features = case.outputs(found)
        require_finite(features, what)
        for row, raw in enumerate(case.batch):
            same = equal(real(features, row), real(case.features, row))
            require(same == (raw is None), f"{what}: row {row} is {'the same' if same else 'new'}")


@promise("where the mask goes from True to False, write padding into every other tensor")
def data_and_mask_change_together(case: EncoderCase) -> None:
    """What a removal takes out of the mask, it takes out of the data."""
    for what, how, inputs, units in _every(case):
        found = _remove(case, inputs, units, torch.zeros_like(units.mask), how)
        for name in _masks(case, inputs):
            gone = inputs[name] & ~found[name]
            for other, value in inputs.items():
                if value.shape[:2] != gone.shape or other == name:
                    continue
                # The second row is missing, so all of it is padding.
                pad = value[1, 0].expand_as(found[other][gone])
                same = equal(found[other][gone], pad)
                require(same, f"{what}: {other!r} still holds what {name!r} says is gone")


def _masks(case: EncoderCase, inputs: Inputs) -> list[str]:
    """Names of the inputs that are masks: bool [B, T], True on all that is a row's own."""
    found = []
    for name, value in inputs.items():
        if value.dtype != torch.bool or value.dim() != 2:
            continue
        own = [~case.padding(name, row) for row in range(len(value))]
        if all(equal(value[row], expected) for row, expected in enumerate(own)):
            found.append(name)
    return found


@promise("overwrite all of it, in every tensor that is read", needs=[units_cover_the_input])
def what_is_removed_has_no_influence(case: EncoderCase) -> None:
    """Two inputs of one length and division, all removed, give the same features."""
    told = False
    for what, how, inputs, units in _every(case):
        keep = torch.zeros_like(units.mask)
        if _is_random(case, inputs, units, keep, how):
            continue  # noise may be as loud as what it replaces
        kind = what.split(", ")[0]
        expected = case.outputs(_remove(case, inputs, units, keep, how))
        for row, raw in enumerate(case.batch):
            other = None if raw is None else altered(raw)
            if other is None:
                continue
            turned = case.collate([other])
            spans = case.part.units(turned, kind)
            own = units.mask[row].sum(), case.features.mask[row].sum()
            if own != (spans.mask.sum(), case.outputs(clone(turned)).mask.sum()):
                continue
            gone = _remove(case, turned, spans, torch.zeros_like(spans.mask), how)
            told = True
            found = case.outputs(gone)
            require_close(real(found, 0), real(expected, row), f"{what}: row {row}", case.tolerance)
    if not told:
        raise NotApplicable("no other input of the same length is known to the kit")


def _is_random(case: EncoderCase, inputs: Inputs, units: Spans, keep: Tensor, how: str) -> bool:
    first, second = (case.part.remove(inputs, units, keep, how, seed) for seed in (1, 2))
    return not equal(dict(first), dict(second))


@promise("look at keep row by row, unit by unit")
def only_what_is_named_is_removed(case: EncoderCase) -> None:
    """Other rows stay, and the other units of its own row."""
    for what, how, inputs, units in _every(case):
        keep = torch.ones_like(units.mask)
        keep[0, 0] = False
        found = _remove(case, inputs, units, keep, how)
        rows = range(1, len(keep))
        others = [rows_of(one, rows) for one in (found, inputs)]
        require_equal(list(others[0].values()), list(others[1].values()), f"{what}: other rows")
        if int(units.mask[0].sum()) > 1:
            every = _remove(case, inputs, units, torch.zeros_like(keep), how)
            same = equal(rows_of(found, [0]), rows_of(every, [0]))
            require(not same, f"{what}: to remove one unit is to remove all")


@promise(
    "compare spans with positions; do not rely on your own units", needs=[units_cover_the_input]
)
def any_spans_will_do(case: EncoderCase) -> None:
    """One over everything removes what all units do; one of no extent, or far out, nothing."""
    for what, how, inputs, units in _every(case):
        expected = _remove(case, inputs, units, torch.zeros_like(units.mask), how)
        edge = units.start.new_zeros(len(units.start), 1)
        whole = Spans(edge, edge + WHOLE, units.unit)
        found = _remove(case, inputs, whole, torch.zeros(len(edge), 1, dtype=torch.bool), how)
        require_equal([found[name] for name in expected], list(expected.values()), what)
        far = torch.full_like(edge, WHOLE)
        foreign = Spans(torch.cat([edge, far], 1), torch.cat([edge, far * 2], 1), units.unit)
        found = _remove(case, inputs, foreign, torch.zeros(len(edge), 2, dtype=torch.bool), how)
        outside = f"{what}: a span of nothing and one beyond the input"
        require_equal([found[name] for name in inputs], list(inputs.values()), outside)


@promise("draw from torch.Generator().manual_seed(seed of the row), for its own length only")
def a_removal_alone_is_its_row_of_a_batch(case: EncoderCase) -> None:
    """With its own seed, whatever else is in the batch, however much padding."""
    for what, how, inputs, units in _every(case):
        keep = torch.ones_like(units.mask)
        keep[:, ::2] = False
        together = case.outputs(_remove(case, inputs, units, keep, how))
        for row, raw in enumerate(case.batch):
            single = rows_of(case.alone[row], [0])
            spans = case.part.units(single, what.split(", ")[0])
            own = keep[row : row + 1, : spans.start.shape[1]]
            seed = [_seeds(len(keep))[row]]
            alone = case.outputs(dict(case.part.remove(single, spans, own, how, seed)))
            if raw is not None:
                where = f"{what}: row {row}"
                require_close(real(together, row), real(alone, 0), where, case.tolerance)


@promise("seed a generator of your own, per row; never the global one")
def a_seed_decides_everything(case: EncoderCase) -> None:
    """One seed gives one result, one number is that number for every row, none is drawn outside."""
    for what, how, inputs, units in _every(case):
        keep, state = torch.zeros_like(units.mask), torch.get_rng_state()
        found = [
            dict(case.part.remove(inputs, units, keep, how, seed))
            for seed in (7, 7, [7] * len(keep))
        ]
        require(equal(found[0], found[1]), f"{what}: one seed, two results")
        require(equal(found[0], found[2]), f"{what}: seed=7 is not seed=[7, ...]")
        require(equal(torch.get_rng_state(), state), f"{what}: the global generator moved")


@promise("raise RemovalError for a name that is not offered, InputError for a mask that is none")
def what_is_not_offered_is_refused(case: EncoderCase) -> None:
    """Unknown kinds and removals, and masks that are not bool [B, U], with the mend."""
    for kind, inputs, units in _units(case):
        for what, call in _mistakes(case, inputs, units).items():
            try:
                call()
            except ModalxaiError:
                continue
            except Exception as error:
                name = type(error).__name__
                raise PromiseError(f"{kind}: {what} raises a bare {name}") from error
            raise PromiseError(f"{kind}: {what} is taken")


def _mistakes(case: EncoderCase, inputs: Inputs, units: Spans) -> dict[str, Callable[[], object]]:
    keep, how = torch.ones_like(units.mask), case.part.removals[0]
    foreign = replace(units, unit="seconds" if units.unit != "seconds" else "characters")
    return {
        "the kind 'no such'": lambda: case.part.units(inputs, "no such"),
        "the removal 'no such'": lambda: _remove(case, inputs, units, keep, "no such"),
        "keep of floats": lambda: _remove(case, inputs, units, keep.float(), how),
        "keep of another shape": lambda: _remove(case, inputs, units, keep[:, 1:], how),
        f"a span in {foreign.unit}": lambda: _remove(case, inputs, foreign, keep, how),
    }


@promise("make new tensors on the device of the inputs")
def removal_works_on_cuda(case: EncoderCase) -> None:
    """On a GPU it gives what it gives on the CPU, and there."""
    if not torch.cuda.is_available():
        raise NotApplicable("needs a CUDA device")
    for what, how, inputs, units in _every(case):
        keep = torch.zeros_like(units.mask)
        there = mapped(inputs, lambda leaf: leaf.cuda())
        found = _remove(case, there, units.to("cuda"), keep.cuda(), how)
        for name, value in _remove(case, inputs, units, keep, how).items():
            require(found[name].is_cuda, f"{what}: {name!r} is on {found[name].device}")
            if value.is_floating_point():
                require_close(found[name].cpu(), value, f"{what}: {name!r}")


REMOVALS = (
    removals_and_kinds_are_named,
    *after(
        [removals_and_kinds_are_named],
        [
            units_lie_apart_in_the_input,
            units_cover_the_input,
            removing_leaves_what_it_was_given,
            keeping_everything_changes_nothing,
            every_removal_removes,
            data_and_mask_change_together,
            *after(
                [
                    removing_leaves_what_it_was_given,
                    keeping_everything_changes_nothing,
                    every_removal_removes,
                ],
                [
                    what_is_removed_has_no_influence,
                    only_what_is_named_is_removed,
                    any_spans_will_do,
                ],
            ),
            a_seed_decides_everything,
            *after([a_seed_decides_everything], [a_removal_alone_is_its_row_of_a_batch]),
            what_is_not_offered_is_refused,
            removal_works_on_cuda,
        ],
    ),
)

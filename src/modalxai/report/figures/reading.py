"""What pictures read out of an `Attribution`: one sample, one label, its words and moments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

import torch

from modalxai.attribution.shares import unit_of
from modalxai.errors import InputError
from modalxai.types import Attribution, columns

Sort = Literal["words", "moments", "tiles", "players"]


@dataclass(frozen=True)
class Unit:
    """One player and what it contributes: to a label, of one sample.

    ``start`` and ``end`` are seconds or characters, ``low`` and ``high`` hertz; NaN without a
    place.
    """

    name: str
    value: float
    start: float
    end: float
    low: float
    high: float


@dataclass(frozen=True)
class Division:
    """The players of one modality, in order.

    Parameters
    ----------
    modality
        Whose they are.
    sort
        ``"words"`` (characters), ``"moments"`` (seconds), ``"tiles"`` (seconds and hertz) or
        ``"players"`` (without a place: prosodic features, say).
    unit
        Of their values, see `unit_at`.
    units
        The real ones.
    """

    modality: str
    sort: Sort
    unit: str
    units: tuple[Unit, ...]


def row_of(found: Attribution, sample: str | int) -> int:
    """The row of a sample, by its id or its place.

    Raises
    ------
    InputError
        No such sample.
    """
    ids = list(found.sample_ids)
    if isinstance(sample, int) and not isinstance(sample, bool) and 0 <= sample < len(ids):
        return sample
    if sample in ids:
        return ids.index(str(sample))
    raise InputError(
        "an unknown sample",
        expected=f"an id such as {ids[:3]}, or a place from 0 to {len(ids) - 1}",
        got=repr(sample),
        mend="name one that the result has",
    )


def column_of(found: Attribution, label: str) -> int:
    """The column of an explained label.

    Raises
    ------
    InputError
        It was not explained.
    """
    names = [one.name for one in found.labels]
    if label in names:
        return names.index(label)
    raise InputError(
        "a label that was not explained",
        expected=f"one of {names}",
        got=repr(label),
        mend="name one that the result has, or explain this one",
    )


def explained(found: Attribution) -> list[int]:
    """The column explained for each sample: of its predicted class, else of the most evidence.

    The predicted class is the categorical label with the highest prediction, on any scale.
    """
    if categorical := columns(found.labels, "categorical"):
        best = found.prediction[:, categorical].nan_to_num(-torch.inf).argmax(-1)
        return [categorical[int(one)] for one in best]
    return [int(one) for one in found.totals.abs().sum(-1).nan_to_num(0).argmax(-1)]


def unit_at(found: Attribution, row: int, column: int) -> str:
    """The unit of what contributes to one label of one sample.

    A method without a reference, Grad-CAM say, adds up to nothing: its numbers have no unit.
    """
    if bool(found.reference[row, column].isnan()):
        return "arbitrary units"
    return unit_of(found.labels[column].kind, found.provenance.scale)


def divisions(
    found: Attribution, sample: str | int, label: str, text: str | None = None
) -> tuple[Division, ...]:
    """What a sample's players contribute to a label, modality by modality.

    Parameters
    ----------
    text
        The transcript, of which words that have no names are cut.

    Raises
    ------
    InputError
        An unknown sample or label.
    """
    row, column = row_of(found, sample), column_of(found, label)
    unit = unit_at(found, row, column)
    result = []
    for modality, values in found.units.items():
        spans, real = found.spans[modality], found.mask[modality][row].cpu()
        sort = _sort(spans.unit, spans.low is not None)
        edges = [
            [float("nan")] * int(real.sum()) if edge is None else edge[row].cpu()[real].tolist()
            for edge in (spans.start, spans.end, spans.low, spans.high)
        ]
        named = list(spans.names[row]) if row < len(spans.names) else []
        places = zip(*edges, strict=True)
        contributions = values[row, column].detach().cpu()[real].tolist()
        units = tuple(
            Unit(_name(named, place, span, text, sort), float(value), *span)
            for place, (value, span) in enumerate(zip(contributions, places, strict=True))
        )
        if units:
            result.append(Division(modality, sort, unit, units))
    return tuple(result)


def largest(parts: Sequence[Division]) -> float:
    """The largest finite magnitude among players; 0 where there is none."""
    values = [abs(one.value) for part in parts for one in part.units if isfinite(one.value)]
    return max(values, default=0.0)


def _sort(unit: str, hertz: bool) -> Sort:
    if unit == "characters":
        return "words"
    if unit == "seconds":
        return "tiles" if hertz else "moments"
    return "players"


def _name(
    named: Sequence[str], place: int, span: tuple[float, ...], text: str | None, sort: Sort
) -> str:
    if place < len(named) and named[place].strip():
        return named[place]
    start, end = span[:2]
    if sort == "words" and text is not None and 0 <= start < end <= len(text):
        return text[int(start) : int(end)]
    if sort in ("moments", "tiles"):
        return f"{start:.2f}–{end:.2f} s"
    return f"{place + 1}"

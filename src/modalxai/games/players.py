"""Who plays: the units an encoder offers, or spans of the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from modalxai.errors import InputError
from modalxai.protocols import Removable
from modalxai.types import Features, Inputs, Spans, SpanUnit


def offered_units(encoder: object, modality: str, inputs: Inputs, kind: str) -> Spans:
    """The units of one kind that an encoder finds in its input, [B, U].

    Raises
    ------
    InputError
        An encoder without units.
    RemovalError
        A kind that it does not offer.
    """
    if not isinstance(encoder, Removable):
        raise InputError(
            f"the encoder of {modality!r} knows no units",
            expected="spans of your own",
            got=repr(kind),
            mend="pass mx.Spans(start, end, unit)",
        )
    return encoder.units(inputs, kind)


def check_spans(spans: Any, modality: str, unit: SpanUnit, samples: int) -> Spans:
    """Refuse what cannot divide ``samples`` rows of a modality whose encoder counts in ``unit``.

    Raises
    ------
    InputError
        No spans, or spans that are not finite, of another unit or for other samples.
    """
    if not isinstance(spans, Spans):
        raise InputError(
            f"players of {modality!r} that are none",
            expected="a kind of unit that the encoder offers, or mx.Spans",
            got=type(spans).__name__,
            mend='write divide({"text": "word"}), for example',
        )
    if not (torch.isfinite(spans.start).all() and torch.isfinite(spans.end).all()):
        raise InputError(
            f"spans of {modality!r} that are not finite",
            expected="finite starts and ends",
            got="NaN or infinity",
            mend="give padding the same start and end, 0 say",
        )
    if spans.start.shape[1] == 0:
        raise InputError(
            f"no spans of {modality!r}",
            expected="one span or more for each sample",
            got=str(list(spans.start.shape)),
            mend="leave the modality undivided, it is one player then",
        )
    if spans.unit != unit or spans.start.shape[0] != samples:
        raise InputError(
            f"spans that do not fit {modality!r}",
            expected=f"{samples} rows in {unit}",
            got=f"{spans.start.shape[0]} rows in {spans.unit}",
            mend="one row per sample, in the encoder's unit",
        )
    return spans


def whole_if_none(spans: Spans, full: Features) -> Spans:
    """Spans of what is there: none of a missing modality, one over all of it where there was none.

    A modality without any player could not be removed, and would seem to contribute nothing: a
    recording without voiced segments, a text of punctuation alone.
    """
    present = full.mask.any(1)
    mask = spans.mask
    lost = mask.any(1) & ~present
    bare = present & ~mask.any(1)
    if not bool((lost | bare).any()):
        return spans
    if spans.start.shape[1] == 0:
        none = spans.start.new_zeros(len(present), 1)
        hertz = None if spans.low is None else none
        spans = replace(spans, start=none, end=none, low=hertz, high=hertz)
    start, end = spans.start, spans.end
    start = start.masked_fill((lost | bare)[:, None], 0)
    end = end.masked_fill((lost | bare)[:, None], 0)
    last = full.spans.end.masked_fill(~full.mask, 0).amax(1).to(end)
    end[:, 0] = torch.where(bare, last.clamp(min=torch.finfo(end.dtype).tiny), end[:, 0])
    names = tuple(
        () if gone else row
        for row, gone in zip(spans.names, (lost | bare).tolist(), strict=bool(spans.names))
    )
    return replace(spans, start=start, end=end, names=names)


def name_words(spans: Spans, texts: Sequence[Any] | None) -> Spans:
    """Spans of characters with the text of each, where the texts travelled with the batch."""
    if spans.names or spans.unit != "characters" or texts is None:
        return spans
    rows = zip(texts, spans.start.tolist(), spans.end.tolist(), strict=True)
    names = tuple(
        tuple(text[int(a) : int(b)] for a, b in zip(start, end, strict=True) if b > a)
        if isinstance(text, str)
        else ()
        for text, start, end in rows
    )
    return replace(spans, names=names)

"""Who plays: the units an encoder offers, or spans of the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from modalxai.errors import InputError
from modalxai.protocols import Removable
from modalxai.types import Inputs, Spans, SpanUnit


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
    if spans.unit != unit or spans.start.shape[0] != samples:
        raise InputError(
            f"spans that do not fit {modality!r}",
            expected=f"{samples} rows in {unit}",
            got=f"{spans.start.shape[0]} rows in {spans.unit}",
            mend="one row per sample, in the encoder's unit",
        )
    return spans


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

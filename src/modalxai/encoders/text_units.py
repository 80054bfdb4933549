"""What text encoders share: checked text, token rows, units, and their removal.

A text encoder's input has six tensors, each [B, T], and nothing else is needed to divide a text or
to remove from it:

``input_ids``
    int64, the vocabulary.
``attention_mask``
    bool, True where a token is real. A missing text is a row of False.
``start``, ``end``
    int64, the token's characters in the raw text, without whitespace at their ends. Special tokens
    ([CLS], [SEP], a begin mark) have none: both are 0.
``word``
    int64, the token's word: the raw text's whitespace-delimited words, counted from 0. -1 for
    special tokens and for whitespace that is a token of its own.
``special``
    bool, True for a token that stands for no text.

Padding is 0 or False, and the pad id among the ids.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from modalxai import masking
from modalxai.errors import InputError, RemovalError
from modalxai.types import Inputs, Spans

REMOVALS = ("mask", "empty")


def check(raw: object) -> str:
    """The text itself, or an InputError: not a string, blank, or half a surrogate pair."""
    if not isinstance(raw, str):
        raise InputError(
            "a text of the wrong type",
            expected="a str, or None where the text is missing",
            got=type(raw).__name__,
            mend="decode or convert it first",
        )
    if not raw.strip():
        raise InputError(
            "a blank text",
            expected="at least one character that is not whitespace",
            got=repr(raw[:20]),
            mend="give None where the text is missing",
        )
    try:
        raw.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            "a text that is no Unicode",
            expected="whole characters",
            got=str(error),
            mend='decode the file with its own encoding, without errors="surrogateescape"',
        ) from error
    return raw


def words(text: str) -> list[int]:
    """Per character its whitespace-delimited word, counted from 0; -1 for whitespace."""
    indices, count, inside = [], -1, False
    for character in text:
        space = character.isspace()
        count += not space and not inside
        inside = not space
        indices.append(-1 if space else count)
    return indices


def row(
    text: str, ids: Sequence[int], offsets: Sequence[tuple[int, int]], special: Sequence[bool]
) -> dict[str, Tensor]:
    """One text's tensors, each [T], from its tokens and their places in ``text``."""
    if all(special):
        raise InputError(
            "a text without a single token",
            expected="at least one character that the tokenizer knows",
            got=repr(text[:20]),
            mend="give None where the text is missing",
        )
    word_of = words(text)
    found: list[tuple[int, int, int]] = []
    for (start, end), alone in zip(offsets, special, strict=True):
        # Some tokenizers count the space before a word as the token's (GPT-2, SentencePiece).
        inner = [place for place in range(start, end) if word_of[place] >= 0]
        if alone:
            found.append((0, 0, -1))
        elif inner:
            found.append((inner[0], inner[-1] + 1, word_of[inner[0]]))
        else:
            found.append((start, end, -1))
    starts, ends, indices = zip(*found, strict=True)
    return {
        "input_ids": torch.tensor(ids, dtype=torch.long),
        "attention_mask": torch.ones(len(ids), dtype=torch.bool),
        "start": torch.tensor(starts, dtype=torch.long),
        "end": torch.tensor(ends, dtype=torch.long),
        "word": torch.tensor(indices, dtype=torch.long),
        "special": torch.tensor(special, dtype=torch.bool),
    }


_DTYPES = {
    "input_ids": torch.long,
    "attention_mask": torch.bool,
    "start": torch.long,
    "end": torch.long,
    "word": torch.long,
    "special": torch.bool,
}


def pad_rows(rows: Sequence[dict[str, Tensor] | None], pad_id: int) -> Inputs:
    """Rows to one input, each tensor [B, T], padded on the right; ``None`` is a missing text."""
    if not rows:
        raise InputError(
            "an empty batch", expected="one text or more", got="none", mend="give None if missing"
        )
    return {
        key: masking.pad(
            [torch.zeros(0, dtype=dtype) if found is None else found[key] for found in rows],
            value=pad_id if key == "input_ids" else 0,
        )[0]
        for key, dtype in _DTYPES.items()
    }


def spans(inputs: Inputs) -> Spans:
    """The characters of every token, [B, T]; special tokens and padding have no extent."""
    return Spans(inputs["start"].float(), inputs["end"].float(), "characters")


def units(inputs: Inputs, kind: str, kinds: Sequence[str]) -> Spans:
    """The units of each text, [B, U], in order and without overlap.

    Parameters
    ----------
    inputs
        A text encoder's input.
    kind
        ``"word"`` joins the tokens of a word. Any other of ``kinds`` gives every token that is
        not special a unit. Tokens that share a character (the bytes of a Korean syllable) are
        always one unit, since a span cannot tell them apart.
    kinds
        The names the encoder offers.

    Raises
    ------
    RemovalError
        An unknown ``kind``.
    """
    _require("unit", kind, kinds)
    start, end, word = inputs["start"], inputs["end"], inputs["word"]
    counted = inputs["attention_mask"] & ~inputs["special"] & (end > start)
    counted &= (word >= 0) | (kind != "word")
    new = counted & (start >= _highest_before(end, counted, 0))
    if kind == "word":
        new &= word > _highest_before(word, counted, -1)
    rank = new.long().cumsum(1) - 1
    count = max(1, int(rank.max()) + 1)
    place = torch.where(counted, rank, count)  # one column more, dropped below
    empty = start.new_zeros(start.shape[0], count + 1)
    first = empty.scatter_reduce(1, place, start, "amin", include_self=False)[:, :count]
    last = empty.scatter_reduce(1, place, end, "amax", include_self=False)[:, :count]
    return Spans(first.float(), last.float(), "characters")


def _highest_before(values: Tensor, counted: Tensor, floor: int) -> Tensor:
    """The highest counted value at earlier positions, [B, T]; ``floor`` where there is none."""
    highest = values.masked_fill(~counted, floor).cummax(1).values
    return torch.cat([torch.full_like(highest[:, :1], floor), highest[:, :-1]], dim=1)


def remove(
    inputs: Inputs,
    units: Spans,
    keep: Tensor,
    how: str,
    removals: Sequence[str],
    mask_id: int,
    pad_id: int,
) -> Inputs:
    """The input without the tokens that share a character with a removed unit.

    ``"mask"`` puts ``mask_id`` in their place; ``"empty"`` deletes them, and the rest moves left.
    Special tokens stay, and so does what no removed unit touches, with one exception: whitespace
    alone is no text, so it goes once every other token has, as `check` would have it.

    Parameters
    ----------
    inputs
        A text encoder's input; it is not modified.
    units
        Any spans [B, U] in characters. One without an extent removes nothing.
    keep
        Bool [B, U], True for what stays.
    how
        One of ``removals``.
    removals
        The names the encoder offers.
    mask_id, pad_id
        The vocabulary's.

    Raises
    ------
    RemovalError
        An unknown ``how``.
    InputError
        ``keep`` or ``units`` of the wrong type, shape or unit.
    """
    _require("removal", how, removals)
    _check_keep(inputs, units, keep)
    mask, start, end = inputs["attention_mask"], inputs["start"], inputs["end"]
    left, right = units.start.to(start.device), units.end.to(start.device)
    removed = (right > left) & ~keep.to(start.device)
    touched = (left[:, None] < end[:, :, None]) & (right[:, None] > start[:, :, None])
    content = mask & ~inputs["special"]
    gone = (touched & removed[:, None]).any(-1) & content & (end > start)
    stays = (content & (inputs["word"] >= 0) & ~gone).any(1)
    gone |= content & (gone.any(1) & ~stays)[:, None]
    if how == "mask":
        return {**inputs, "input_ids": inputs["input_ids"].masked_fill(gone, mask_id)}
    # A stable sort moves what is left to the front and keeps its order.
    order = (gone | ~mask).long().argsort(dim=1, stable=True)
    shifted = {key: value.gather(1, order) for key, value in inputs.items()}
    left_over = masking.from_lengths((mask & ~gone).sum(1), mask.shape[1])
    shifted = {key: masking.blank(value, left_over) for key, value in shifted.items()}
    shifted["input_ids"] = shifted["input_ids"].masked_fill(~left_over, pad_id)
    return shifted


def _require(what: str, name: str, offered: Sequence[str]) -> None:
    if name not in offered:
        raise RemovalError(
            f"unknown {what}",
            expected=f"one of {list(offered)}",
            got=repr(name),
            mend=f"choose a {what} that this encoder offers",
        )


def _check_keep(inputs: Inputs, units: Spans, keep: Tensor) -> None:
    shape = tuple(units.start.shape)
    if units.unit != "characters":
        raise InputError(
            "spans of the wrong unit",
            expected="characters of the raw text",
            got=units.unit,
            mend="take the spans from this encoder's units(), or convert them",
        )
    if not isinstance(keep, Tensor) or keep.dtype != torch.bool:
        raise InputError(
            "a mask of the wrong type",
            expected="keep as a bool tensor [B, U], True for what stays",
            got=str(keep.dtype) if isinstance(keep, Tensor) else type(keep).__name__,
            mend="compare first: keep = weights > 0.5",
        )
    if tuple(keep.shape) != shape or shape[0] != inputs["input_ids"].shape[0]:
        raise InputError(
            "a mask of the wrong shape",
            expected=f"[{inputs['input_ids'].shape[0]}, {shape[-1]}], a row per sample and a "
            "column per unit",
            got=f"keep {list(keep.shape)}, units {list(shape)}",
            mend="make keep like units.start, one row per sample",
        )

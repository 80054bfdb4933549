"""Coalitions of several modalities: where each one's rows lie, and the fusion over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from modalxai.games.bank import row_bytes, take
from modalxai.games.encodings import Encodings
from modalxai.pieces import in_pieces
from modalxai.protocols import Fusion, Split

JOIN_BYTES = 1 << 28
"""Bytes of gathered rows that one call of the fusion may read."""


def score(
    fusion: Fusion,
    encodings: Mapping[str, Encodings],
    keep: Mapping[str, Tensor],
    lead: tuple[int, ...],
) -> Tensor:
    """Scores [R, *lead, B, K] of the coalitions ``keep``, by modality bool [..., B, U].

    A question that needs more rows at once than memory has room for is halved, along the axis
    that needs them.
    """
    axis = _too_long(encodings, keep, lead)
    if axis is None:
        places = {name: encodings[name].place(mask) for name, mask in keep.items()}
        draws = max(place.shape[0] for place in places.values())
        samples = next(iter(places.values())).shape[-1]
        shape = (draws, *lead, samples)
        flat = {name: _spread(place, shape).reshape(-1) for name, place in places.items()}
        rows = {name: encodings[name].source.bank.rows for name in keep}
        return _join(fusion, rows, flat).reshape(*shape, len(fusion.labels))
    half = lead[axis] // 2
    parts = [
        score(
            fusion,
            encodings,
            {name: _narrow(mask, axis - len(lead), start, stop) for name, mask in keep.items()},
            (*lead[:axis], stop - start, *lead[axis + 1 :]),
        )
        for start, stop in ((0, half), (half, lead[axis]))
    ]
    # A half that asks for nothing random has one draw, which holds for all of them.
    draws = max(part.shape[0] for part in parts)
    return torch.cat([part.expand(draws, *part.shape[1:]) for part in parts], dim=1 + axis)


def _too_long(
    encodings: Mapping[str, Encodings], keep: Mapping[str, Tensor], lead: tuple[int, ...]
) -> int | None:
    """The axis along which to halve a question whose rows would not fit, if there is one."""
    for name, mask in keep.items():
        sizes = mask.shape[:-2]
        if encodings[name].fits(prod(sizes)):
            continue
        longest = max(range(len(sizes)), key=lambda at: sizes[at], default=None)
        if longest is not None and sizes[longest] > 1:
            return len(lead) - len(sizes) + longest
    return None


def _narrow(mask: Tensor, axis: int, start: int, stop: int) -> Tensor:
    """Part of one coalition axis, counted from the right; a mask that has not got it as it is."""
    place = axis - 2  # before B and U
    if mask.dim() < -place or mask.shape[place] == 1:
        return mask
    return mask.narrow(place, start, stop - start)


def _join(fusion: Fusion, rows: Mapping[str, Any], places: Mapping[str, Tensor]) -> Tensor:
    """Scores [N, K] of rows of the banks, in pieces."""
    first = next(iter(places.values()))

    def piece(start: int, stop: int) -> Tensor:
        chosen = {name: take(rows[name], at[start:stop]) for name, at in places.items()}
        joined = fusion.join(chosen) if isinstance(fusion, Split) else fusion(chosen)
        scores: Tensor = joined.scores
        return scores.to(torch.promote_types(scores.dtype, torch.float32))

    size = JOIN_BYTES // max(1, sum(row_bytes(bank) for bank in rows.values()))
    nothing = first.new_zeros(0, len(fusion.labels), dtype=torch.float32)
    return torch.cat([nothing, *in_pieces(len(first), size, piece)])


def _spread(place: Tensor, shape: Sequence[int]) -> Tensor:
    """[R_m, ..., B] to [R, ..., B], coalition axes aligned from the right."""
    lead = (1,) * (len(shape) - place.dim())
    aligned = place.reshape(place.shape[0], *lead, *place.shape[1:])
    return aligned.expand(*shape)

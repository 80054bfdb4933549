"""Coalitions of several modalities: where each one's rows lie, and the fusion over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from modalxai.games.bank import row_bytes, take
from modalxai.games.encodings import Encodings
from modalxai.pieces import in_pieces
from modalxai.protocols import Fusion, Split
from modalxai.types import Features

JOIN_BYTES = 1 << 28
"""Bytes of gathered rows that one call of the fusion may read."""


def score(
    fusion: Fusion,
    encodings: Mapping[str, Encodings],
    keep: Mapping[str, Tensor],
    lead: tuple[int, ...],
    whole: Tensor | None = None,
    max_bytes: int | None = None,
) -> Tensor:
    """Scores [R, *lead, B, K] of the coalitions ``keep``, by modality bool [..., B, U].

    Where nothing is removed they are ``whole`` [B, K], if that is known already. A question that
    needs more rows at once than memory has room for is halved, along the axis that needs them. One
    call of the fusion reads ``max_bytes``, `JOIN_BYTES` for ``None``.
    """
    axis = _too_long(encodings, keep, lead)
    if axis is None:
        places = {name: encodings[name].place(mask) for name, mask in keep.items()}
        draws = max(place.shape[0] for place in places.values())
        samples = next(iter(places.values())).shape[-1]
        shape = (draws, *lead, samples)
        flat = {name: _spread(place, shape).reshape(-1) for name, place in places.items()}
        rows = {name: encodings[name].source.bank.rows for name in keep}
        limit = JOIN_BYTES if max_bytes is None else max_bytes
        if whole is None:
            return _join(fusion, rows, flat, limit).reshape(*shape, len(fusion.labels))
        count = prod(shape[:-1])
        wide = torch.promote_types(whole.dtype, torch.float32)
        scores = whole.to(wide).repeat(count, 1)
        changed = [at != encodings[name].originals.repeat(count) for name, at in flat.items()]
        left = torch.stack(changed).any(0).nonzero().flatten()
        joined = _join(fusion, rows, {name: at[left] for name, at in flat.items()}, limit)
        scores[left] = joined.to(scores)
        return scores.reshape(*shape, len(fusion.labels))
    half = lead[axis] // 2
    parts = [
        score(
            fusion,
            encodings,
            {name: _narrow(mask, axis - len(lead), start, stop) for name, mask in keep.items()},
            (*lead[:axis], stop - start, *lead[axis + 1 :]),
            whole,
            max_bytes,
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


def _join(
    fusion: Fusion, rows: Mapping[str, Any], places: Mapping[str, Tensor], limit: int
) -> Tensor:
    """Scores [N, K] of rows of the banks, in pieces of ``limit`` bytes."""
    first = next(iter(places.values()))
    size = limit // max(1, sum(row_bytes(bank) for bank in rows.values()))

    def joined(chosen: Mapping[str, Tensor], lengths: Mapping[str, int]) -> Tensor:
        def piece(start: int, stop: int) -> Tensor:
            parts = {
                name: _cut(take(rows[name], at[start:stop]), lengths.get(name))
                for name, at in chosen.items()
            }
            found = fusion.join(parts) if isinstance(fusion, Split) else fusion(parts)
            scores: Tensor = found.scores
            return scores.to(torch.promote_types(scores.dtype, torch.float32))

        nothing = first.new_zeros(0, len(fusion.labels), dtype=torch.float32)
        count = len(next(iter(chosen.values())))
        return torch.cat([nothing, *in_pieces(count, size, piece)])

    groups = _alike(rows, places)
    if len(groups) == 1:
        return joined(places, groups[0][1])
    parts = [
        joined({name: at[group] for name, at in places.items()}, lengths)
        for group, lengths in groups
    ]
    order = torch.cat([group for group, _ in groups]).argsort()
    return torch.cat(parts)[order]


def _alike(
    rows: Mapping[str, Any], places: Mapping[str, Tensor]
) -> list[tuple[Tensor, dict[str, int]]]:
    """Which of N coalitions go together, and how long each modality's vectors are there.

    To a fusion over sequences an absent modality is one vector. Beside whole recordings it would
    be padded to their length, and cost as much. So those go together in which the same modalities
    are one vector: as many groups whatever the recordings are. Padding changes no score.
    """
    first = next(iter(places.values()))
    banks = {name: bank.mask for name, bank in rows.items() if isinstance(bank, Features)}
    if not banks or not len(first):
        return [(first, {})]
    lengths = {name: _lengths(mask)[places[name]] for name, mask in banks.items()}
    many = torch.stack([one > 1 for one in lengths.values()], dim=-1)
    kinds, kind = torch.unique(many, dim=0, return_inverse=True)
    groups = [(kind == which).nonzero().flatten() for which in range(len(kinds))]
    return [
        (group, {name: int(one[group].max()) for name, one in lengths.items()}) for group in groups
    ]


def _lengths(mask: Tensor) -> Tensor:
    """Up to the last real vector of each row of [B, T], at least 1."""
    places = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    longest: Tensor = (mask * places).amax(1).clamp(min=1)
    return longest


def _cut(rows: Any, length: int | None) -> Any:
    """Features without the padding beyond a length; other rows as they are."""
    if length is None:
        return rows
    return pytree.tree_map(lambda one: one[:, :length], rows)


def _spread(place: Tensor, shape: Sequence[int]) -> Tensor:
    """[R_m, ..., B] to [R, ..., B], coalition axes aligned from the right."""
    lead = (1,) * (len(shape) - place.dim())
    aligned = place.reshape(place.shape[0], *lead, *place.shape[1:])
    return aligned.expand(*shape)

"""The only padding code: every mask and every masked mean of the library is made here."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def pad(
    rows: Sequence[Tensor], length: int | None = None, value: float = 0
) -> tuple[Tensor, Tensor]:
    """Rows [T_i, ...] to one tensor [B, T, ...] and its mask [B, T], padded on the right.

    ``length`` is the padded length T, the longest row's (at least 1) when ``None``.
    """
    longest = max([1, *(len(row) for row in rows)]) if length is None else length
    padded = rows[0].new_full((len(rows), longest, *rows[0].shape[1:]), value)
    mask = torch.zeros(len(rows), longest, dtype=torch.bool, device=rows[0].device)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = row
        mask[index, : len(row)] = True
    return padded, mask


def from_lengths(lengths: Tensor, longest: int) -> Tensor:
    """Integer lengths [B] to a mask, bool [B, longest]."""
    return torch.arange(longest, device=lengths.device) < lengths[:, None]


def lengthen(values: Tensor, length: int) -> Tensor:
    """[B, T, ...] with zeros (False) appended to axis 1 up to ``length``."""
    missing = length - values.shape[1]
    if missing <= 0:
        return values
    return torch.cat([values, values.new_zeros(values.shape[0], missing, *values.shape[2:])], dim=1)


def concatenate(parts: Sequence[Tensor]) -> Tensor:
    """Join [B_i, T_i, ...] along B, each padded to the longest T. [B_i] needs no padding."""
    if parts[0].dim() < 2:
        return torch.cat(list(parts))
    longest = max(part.shape[1] for part in parts)
    return torch.cat([lengthen(part, longest) for part in parts])


def blank(values: Tensor, mask: Tensor) -> Tensor:
    """[B, T, ...] with exact zeros, and no gradient, where the mask [B, T] is False."""
    return values.masked_fill(~mask.reshape(mask.shape + (1,) * (values.dim() - mask.dim())), 0)


def attendable(mask: Tensor) -> Tensor:
    """The mask with the first position of an all-False row set, so that softmax stays finite.

    The output of such a row means nothing and must be blanked with the true mask.
    """
    first = torch.zeros_like(mask)
    first[:, 0] = True
    return mask | (first & ~mask.any(dim=1, keepdim=True))


def mean(values: Tensor, mask: Tensor, missing: Tensor | None = None) -> Tensor:
    """Mean over the real vectors, [B, T, D] to [B, D]; ``missing`` [D] (or 0) for a row of none."""
    count = mask.sum(dim=1, keepdim=True).to(values.dtype)
    pooled = blank(values, mask).sum(dim=1) / count.clamp(min=1)
    return pooled if missing is None else torch.where(mask.any(1)[:, None], pooled, missing)


def first(values: Tensor, mask: Tensor, missing: Tensor | None = None) -> Tensor:
    """The first vector, [B, T, D] to [B, D]; ``missing`` [D] (or 0) where there is none."""
    pooled = blank(values, mask)[:, 0]
    return pooled if missing is None else torch.where(mask.any(1)[:, None], pooled, missing)

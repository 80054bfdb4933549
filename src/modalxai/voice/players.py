"""What every `Division` of this package shares: named players, and which of them are kept."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modalxai.errors import InputError
from modalxai.types import Spans


def indexed(names: tuple[str, ...]) -> Spans:
    """Players without a place, [1, U]: player u lies at u to u + 1."""
    start = torch.arange(len(names), dtype=torch.float32)[None]
    return Spans(start, start + 1, "index", names=(names,))


def kept(keep: Any, players: int) -> list[bool]:
    """A mask of players, bool [U], as a list.

    Raises
    ------
    InputError
        Another shape or type.
    """
    fits = isinstance(keep, Tensor) and keep.dtype == torch.bool and keep.shape == (players,)
    if not fits:
        raise InputError(
            "a mask that does not fit the players",
            expected=f"a bool tensor [{players}], True for what is left",
            got=f"{keep.dtype} {list(keep.shape)}" if isinstance(keep, Tensor) else repr(keep),
            mend="render one raw value, with one row of the mask",
        )
    return [bool(one) for one in keep.tolist()]

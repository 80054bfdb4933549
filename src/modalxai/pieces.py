"""Work in pieces that fit into memory; where CUDA has too little, smaller pieces."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

Part = TypeVar("Part")


def in_pieces(count: int, size: int, run: Callable[[int, int], Part]) -> list[Part]:
    """``run(start, stop)`` over 0..count, at most ``size`` at once, in order.

    A piece that CUDA has no memory for is halved, and the rest goes on at that size. Rows do not
    see each other, so the size does not change what comes out.

    Raises
    ------
    torch.OutOfMemoryError
        One row alone is too much.
    """
    parts: list[Part] = []
    start, size = 0, max(1, size)
    while start < count:
        stop = min(start + size, count)
        try:
            parts.append(run(start, stop))
        except torch.OutOfMemoryError:
            if stop - start == 1:
                raise
            size = (stop - start) // 2
        else:
            start = stop
            continue
        # Outside the handler, whose traceback keeps the failed piece's tensors alive.
        torch.cuda.empty_cache()
    return parts

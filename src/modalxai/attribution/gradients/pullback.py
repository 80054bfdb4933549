"""Gradients of all labels at once, in pieces that fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from modalxai.pieces import in_pieces

CPU_BYTES = 7 << 19
CUDA_BYTES = 1 << 28
"""Bytes of gradients held at once. On a CPU several labels at once take a third to four fifths of
the time while their gradients stay in its cache, and up to twice the time beyond."""

Reduce = Callable[[str, Tensor], Tensor]


def budget(device: torch.device) -> int:
    """Bytes of gradients that are held at once on this device."""
    return CPU_BYTES if device.type == "cpu" else CUDA_BYTES


def pull_back(
    scores: Tensor, leaves: Mapping[str, Tensor], reduce: Reduce, balanced: bool = False
) -> dict[str, Tensor]:
    """What ``reduce`` makes of every label's gradient.

    Parameters
    ----------
    scores
        [N, L]. Rows do not see each other, so the gradient of their sum is each row's own.
    leaves
        What to differentiate by, each [N, ...], by name.
    reduce
        Takes a name and gradients [l, N, ...] of l labels, in the dtype of the scores; returns
        [l, B, ...]. It is called for a few labels at a time, so that the gradients of all of them
        never exist at once.
    balanced
        Whether the L scores of a row sum to a constant, as those of all labels do on the clr scale.
        Then the last label's gradient is minus the sum of the others', and needs no pass of its
        own.

    Returns
    -------
    dict
        By name [B, L, ...].
    """
    with torch.enable_grad():
        sums = scores.sum(0)
    inputs = tuple(leaves.values())
    directions = torch.eye(len(sums), dtype=sums.dtype, device=sums.device)
    size = max(1, sum(leaf.numel() * scores.element_size() for leaf in inputs))

    follows = balanced and len(sums) > 1
    rest = {name: torch.zeros_like(leaf, dtype=scores.dtype) for name, leaf in leaves.items()}

    def piece(start: int, stop: int) -> dict[str, Tensor]:
        found = _gradients(sums, inputs, directions[start:stop])
        gradients = {
            name: gradient.to(scores.dtype) for name, gradient in zip(leaves, found, strict=True)
        }
        made = {name: reduce(name, gradient) for name, gradient in gradients.items()}
        if follows:  # last, because a piece without memory is run again
            less = {name: gradient.sum(0) for name, gradient in gradients.items()}
            for name, gradient in less.items():
                rest[name] -= gradient
        return made

    parts = in_pieces(len(sums) - follows, budget(scores.device) // size, piece)
    if follows:
        parts.append({name: reduce(name, gradient[None]) for name, gradient in rest.items()})
    return {name: torch.cat([part[name] for part in parts]).transpose(0, 1) for name in leaves}


def _gradients(sums: Tensor, inputs: Sequence[Tensor], directions: Tensor) -> list[Tensor]:
    """Gradients [l, N, ...] of ``directions @ sums`` by each input, 0 where nothing reads it."""
    count = len(directions)
    if not sums.requires_grad:
        found: Sequence[Tensor | None] = [None] * len(inputs)
    elif count == 1:
        found = [None if g is None else g[None] for g in _pulled(sums, inputs, directions[0])]
    else:
        try:
            found = _pulled(sums, inputs, directions, batched=True)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            # Some operators (custom kernels, mostly) have no batching rule, and raise no error of
            # their own kind. One label at a time gives the same, or the error that was meant.
            each = [_gradients(sums, inputs, one[None]) for one in directions]
            return [torch.cat(labels) for labels in zip(*each, strict=True)]
    return [
        leaf.new_zeros(count, *leaf.shape) if gradient is None else gradient
        for leaf, gradient in zip(inputs, found, strict=True)
    ]


def _pulled(
    sums: Tensor, inputs: Sequence[Tensor], directions: Tensor, batched: bool = False
) -> Sequence[Tensor | None]:
    return torch.autograd.grad(
        sums, inputs, directions, retain_graph=True, allow_unused=True, is_grads_batched=batched
    )

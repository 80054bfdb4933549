"""Comparisons that checks are made of: to the bit, or relative to the size of the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from modalxai.testing.conformance import PromiseError, require

CLOSE = 1e-5
"""Relative difference that rounding in float32 may make."""


def tensors(tree: Any) -> list[Tensor]:
    """The tensors of a pytree, in order."""
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


def clone(tree: Any) -> Any:
    """A pytree with every tensor copied, and none of its history."""
    return mapped(tree, lambda leaf: leaf.detach().clone())


def mapped(tree: Any, change: Any) -> Any:
    """A pytree with ``change`` applied to every tensor."""
    return pytree.tree_map(lambda leaf: change(leaf) if isinstance(leaf, Tensor) else leaf, tree)


def cast(tree: Any, dtype: torch.dtype) -> Any:
    """A pytree whose floating tensors have another dtype."""
    return mapped(tree, lambda leaf: leaf.to(dtype) if leaf.is_floating_point() else leaf)


def equal(first: Any, second: Any) -> bool:
    """The same to the bit, NaN counting as itself: tensors, arrays, and what holds them."""
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        same = first.dtype == second.dtype and first.shape == second.shape
        return same and bool(((first == second) | (first != first) & (second != second)).all())
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        exact = first.dtype.kind not in "fc"
        return first.dtype == second.dtype and np.array_equal(first, second, equal_nan=not exact)
    if type(first) is not type(second):
        return False
    if isinstance(first, Mapping):
        return set(first) == set(second) and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, str | bytes):
        return bool(first == second)
    if isinstance(first, Sequence):
        pairs = len(first) == len(second)
        return pairs and all(equal(a, b) for a, b in zip(first, second, strict=True))
    if is_dataclass(first):
        names = [field.name for field in fields(first)]
        return all(equal(getattr(first, name), getattr(second, name)) for name in names)
    if isinstance(first, float) and first != first:
        return bool(second != second)
    return bool(first == second)


def require_equal(found: Any, expected: Any, what: str) -> None:
    """Two pytrees the same to the bit, or `PromiseError`."""
    left, right = tensors(found), tensors(expected)
    require(len(left) == len(right), f"{what}: {len(left)} tensors instead of {len(right)}")
    for one, other in zip(left, right, strict=True):
        if not equal(one, other):
            raise PromiseError(f"{what}: {_difference(one, other)}")


def require_close(found: Tensor, expected: Tensor, what: str, tolerance: float = CLOSE) -> None:
    """The largest difference within ``tolerance`` of the largest number, or `PromiseError`."""
    if found.shape != expected.shape:
        raise PromiseError(f"{what}: {_difference(found, expected)}")
    if not found.numel():
        return
    found, expected = found.detach().double(), expected.detach().double()
    require(bool(found.isfinite().all()), f"{what}: NaN or infinite")
    gap, size = float((found - expected).abs().max()), float(expected.abs().max())
    require(
        gap <= tolerance * max(size, 1e-6),
        f"{what}: differs by {gap:.2g} where the numbers are up to {size:.2g} "
        f"(allowed: {tolerance:g} of that)",
    )


def require_near(found: Tensor, expected: Tensor, what: str, share: float) -> None:
    """The difference no longer than ``share`` of the whole, as vectors, or `PromiseError`."""
    require(found.shape == expected.shape, f"{what}: {list(found.shape)}")
    gap = float((found.detach().double() - expected.detach().double()).norm())
    size = float(expected.detach().double().norm())
    ratio = gap / max(size, 1e-12)
    require(ratio <= share, f"{what}: {ratio:.2g} of it differs (allowed: {share:g})")


def require_finite(tree: Any, what: str) -> None:
    """No NaN and no infinity in any tensor, or `PromiseError`."""
    for one in tensors(tree):
        if one.is_floating_point():
            require(bool(one.isfinite().all()), f"{what}: NaN or infinite")


def _difference(one: Tensor, other: Tensor) -> str:
    if one.shape != other.shape or one.dtype != other.dtype:
        return f"{one.dtype} {list(one.shape)} instead of {other.dtype} {list(other.shape)}"
    if one.dtype == torch.bool:
        return f"{int((one != other).sum())} of {one.numel()} flags differ"
    return f"differs by up to {float((one.double() - other.double()).abs().max()):.2g}"

"""Encoded rows of one modality, each kept once, gathered for any coalition."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from modalxai import masking
from modalxai.types import Features


class Bank:
    """Rows of a pytree of tensors whose first axis is B, found by key.

    Appended parts are padded to the longest on axis 1, which changes nothing (masks travel along).
    """

    def __init__(self) -> None:
        self._places: dict[Hashable, int] = {}
        self._parts: list[Any] = []
        self._size = 0

    def __contains__(self, key: Hashable) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return self._size

    def place(self, key: Hashable) -> int:
        """The number of the row that ``key`` names."""
        return self._places[key]

    def alias(self, key: Hashable, other: Hashable) -> None:
        """Let ``key`` name the row that ``other`` names."""
        self._places[key] = self._places[other]

    def add(self, keys: Sequence[Hashable], rows: Any) -> None:
        """Append rows, one key each."""
        for key in keys:
            self._places[key] = self._size
            self._size += 1
        self._parts.append(rows)

    def keep(self, keys: Iterable[Hashable]) -> None:
        """Drop every row that none of ``keys`` names; unknown keys are no matter."""
        wanted = {key: self._places[key] for key in keys if key in self._places}
        if len(set(wanted.values())) == self._size:
            return
        kept = sorted(set(wanted.values()))
        if kept:
            device = pytree.tree_leaves(self.rows)[0].device
            self._parts = [take(self.rows, torch.tensor(kept, device=device))]
        else:
            self._parts = []
        moved = {place: index for index, place in enumerate(kept)}
        self._places = {key: moved[place] for key, place in wanted.items()}
        self._size = len(kept)

    @property
    def rows(self) -> Any:
        """All rows as one pytree."""
        if len(self._parts) > 1:
            self._parts = [join_rows(self._parts)]
        return self._parts[0]

    @property
    def bytes(self) -> int:
        """What the rows take, padded as they are."""
        return sum(
            leaf.numel() * leaf.element_size()
            for part in self._parts
            for leaf in pytree.tree_leaves(part)
            if isinstance(leaf, Tensor)
        )


def take(rows: Any, index: Tensor) -> Any:
    """Rows of a pytree by an integer index [N]."""
    return pytree.tree_map(lambda leaf: leaf[index] if isinstance(leaf, Tensor) else leaf, rows)


def join_rows(parts: Sequence[Any]) -> Any:
    """Pytrees of one structure, joined along B."""
    flat = [pytree.tree_flatten(part) for part in parts]
    leaves = [
        masking.concatenate(column) for column in zip(*(leaves for leaves, _ in flat), strict=True)
    ]
    return pytree.tree_unflatten(leaves, flat[0][1])


def row_bytes(rows: Any) -> int:
    """Bytes of one row."""
    leaves = [leaf for leaf in pytree.tree_leaves(rows) if isinstance(leaf, Tensor)]
    return sum(leaf[:1].numel() * leaf.element_size() for leaf in leaves)


def digest(inputs: Mapping[str, Tensor], row: int) -> bytes:
    """Equal for rows that an encoder cannot tell apart: what is left without trailing zeros.

    Padding changes nothing (design contract 2) and is zero, or else is told by a mask or a length,
    which are part of the row; so at worst two equal rows are taken for different.
    """
    state = hashlib.blake2b(digest_size=16)
    for name in sorted(inputs):
        values = inputs[name][row].detach().cpu()
        if values.dim():
            used = values.reshape(len(values), -1).ne(0).any(1).nonzero()
            values = values[: int(used[-1]) + 1 if len(used) else 0]
        state.update(f"{name}{values.dtype}{tuple(values.shape[1:])}".encode())
        state.update(values.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return state.digest()


class References:
    """Encodings of wholly removed inputs, shared by the games of a corpus; the oldest make room.

    Parameters
    ----------
    limit
        Rows kept per modality: silences of one length, masked texts of one length.
    """

    def __init__(self, limit: int = 512) -> None:
        self._limit = limit
        self._rows: dict[str, dict[bytes, Features]] = {}

    def get(self, modality: str, mark: bytes) -> Features | None:
        """The row of one digest, values [1, T, D], if it is known."""
        return self._rows.get(modality, {}).get(mark)

    def put(self, modality: str, mark: bytes, features: Features) -> None:
        """Keep one row."""
        rows = self._rows.setdefault(modality, {})
        rows[mark] = features
        if len(rows) > self._limit:
            del rows[next(iter(rows))]

"""Random choices from a given generator, never from global state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Generator

from modalxai.errors import InputError

Item = TypeVar("Item")


def whole(below: int, generator: Generator) -> int:
    """A whole number, 0 to ``below - 1``."""
    return int(torch.randint(below, (), generator=generator))


def between(low: float, high: float, generator: Generator) -> float:
    """A number from ``low`` to ``high``."""
    return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64))


def choose(items: Sequence[Item], generator: Generator) -> Item:
    """One of them."""
    return items[whole(len(items), generator)]


def check_range(name: str, ends: tuple[float, float], unit: str) -> None:
    """Refuse a range whose ends are not finite or out of order."""
    low, high = ends
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise InputError(
            f"{name} out of range",
            expected=f"two finite numbers of {unit}, the lower one first",
            got=f"{low} to {high}",
            mend="exchange or correct them",
        )


def check_share(name: str, fits: bool) -> None:
    """Refuse a setting that does not fit."""
    if not fits:
        raise InputError(
            f"{name} out of range",
            expected="more than 0, and for parts of a whole at most 1",
            got="another number",
            mend="correct the setting",
        )

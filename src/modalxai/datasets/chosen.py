"""Settings of recognisers and translators, checked where they are given."""

from __future__ import annotations

import math
from typing import Any

from modalxai.errors import InputError


def number(name: str, value: Any, low: float, high: float = math.inf, whole: bool = False) -> None:
    """Refuse what is no finite number from ``low`` to ``high``."""
    kind = int if whole else int | float
    fits = isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value)
    if not fits or not low <= value <= high:
        raise InputError(
            f"{name} cannot be {value!r}",
            expected=f"a {'whole ' if whole else ''}number from {low:g}"
            + ("" if high == math.inf else f" to {high:g}"),
            got=repr(value),
            mend="correct it, or leave it out for the default, if it has one",
        )


def word(name: str, value: Any, optional: bool = False) -> None:
    """Refuse what is no text."""
    if not (optional and value is None) and not (isinstance(value, str) and value.strip()):
        raise InputError(
            f"{name} cannot be {value!r}",
            expected="a text" + (" or None" if optional else ""),
            got=repr(value),
            mend="correct it" + (", or leave it out" if optional else ""),
        )


def device(name: str) -> Any:
    """The device of torch, refused if this machine has no such."""
    import torch

    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        raise InputError(
            f"device cannot be {name!r}",
            expected="cpu, or a device that torch finds here",
            got=str(error).splitlines()[0],
            mend='write device="cpu"',
        ) from error

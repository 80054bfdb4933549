"""Settings of a file, compared with what their class says before it is made."""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from modalxai.errors import CheckpointError

DEEPEST = 1000
"""Layers: no model has as many, and a file that asks for millions would be built for hours."""


def check(settings: Mapping[str, Any], made: type, path: Path) -> None:
    """Refuse values of other types than the annotations of a constructor.

    Python would take them: a stride of NaN or a truth value in letters fails at the first sample
    or, worse, does not.

    Parameters
    ----------
    settings
        As json holds them.
    made
        The class. Arguments that it annotates with classes of its own are left to it, and what is
        its own default is right, whatever its annotation says (``dim: int = None``).
    path
        The file, for the message.

    Raises
    ------
    CheckpointError
        Names the first wrong one.
    """
    try:
        hints = get_type_hints(made.__init__)  # type: ignore[misc]  # of a class, not an object
    except (
        NameError,
        AttributeError,
        SyntaxError,
        TypeError,
    ):  # for readers, or type checkers only
        hints = {}
    arguments = inspect.signature(made.__init__).parameters  # type: ignore[misc]  # as above
    for name, value in settings.items():
        default = arguments[name].default if name in arguments else inspect.Parameter.empty
        usual = type(value) is type(default) and value == default
        if name in hints and not usual and not fits(value, hints[name]):
            raise CheckpointError(
                f"{path}: {name} cannot be {value!r:.80}",
                expected=str(hints[name]).replace("<class '", "").replace("'>", ""),
                got=type(value).__name__,
                mend="write the file again with save_pretrained",
            )
    check_depth(settings, path)


def check_depth(settings: Mapping[str, Any], place: str | Path) -> None:
    """Refuse numbers of layers that nobody could build.

    Raises
    ------
    CheckpointError
        More than `DEEPEST`.
    """
    for name, value in settings.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if "layers" in name and number and not value <= DEEPEST:
            raise CheckpointError(
                f"{place}: {name} out of range",
                expected=f"at most {DEEPEST} layers",
                got=f"{value!r:.40}",
                mend="take the config that was saved with the weights",
            )


def fits(value: Any, hint: Any) -> bool:
    """Whether a value of json is one of an annotated type; true for classes json cannot tell.

    A mapping may be written as pairs, which keep their order.
    """
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in inner)
    if origin is Literal:
        return (value is None or isinstance(value, str | int)) and value in inner
    if hint is None or hint is type(None):
        return value is None
    if hint in (bool, str):
        return isinstance(value, hint)
    if hint in (int, float):
        whole = isinstance(value, int) and not isinstance(value, bool)
        return whole or (hint is float and isinstance(value, float) and math.isfinite(value))
    if origin is not None and isinstance(origin, type):
        if issubclass(origin, Mapping):
            pairs = list(value.items()) if isinstance(value, Mapping) else value
            return _listed(pairs) and all(
                _listed(pair) and len(pair) == 2 and all(map(fits, pair, inner)) for pair in pairs
            )
        if issubclass(origin, tuple) and Ellipsis not in inner:
            return _listed(value) and len(value) == len(inner) and all(map(fits, value, inner))
        if issubclass(origin, Sequence):
            return _listed(value) and all(fits(one, inner[0]) for one in value)
    return True


def _listed(value: Any) -> bool:
    return isinstance(value, list | tuple)

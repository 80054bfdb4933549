"""What a plugin is, as plain data: for ``modalxai plugins show`` and for whoever lists plugins."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modalxai.plugins.discovery import PluginInfo


@dataclass(frozen=True)
class Option:
    """One option of a plugin.

    Parameters
    ----------
    name
        As `create` takes it.
    kind
        Its annotation, empty where there is none.
    default
        ``repr`` of its default, ``None`` where it must be given.
    """

    name: str
    kind: str
    default: str | None

    def __str__(self) -> str:
        kind = f": {self.kind}" if self.kind else ""
        return self.name + kind + ("" if self.default is None else f" = {self.default}")


@dataclass(frozen=True)
class Description:
    """What is known of a plugin once it is imported.

    Parameters
    ----------
    info
        What its package says of it.
    api
        The version of the protocol that it keeps.
    summary
        First line of its docstring; empty without one.
    options
        What `create` takes, in order.
    checkpoints
        Whether `create` takes a checkpoint.
    offers
        Names of what it can do besides: removals and kinds of units of an encoder, axioms of an
        attributor. Empty where they are only known of an instance.
    """

    info: PluginInfo
    api: int
    summary: str
    options: tuple[Option, ...]
    checkpoints: bool
    offers: dict[str, tuple[str, ...]]


OFFERS = ("removals", "kinds", "axioms")


def describe(info: PluginInfo, api: int, found: Callable[..., Any]) -> Description:
    """What a plugin is, from its class or function."""
    offers = {
        name: tuple(map(str, value))
        for name in OFFERS
        if isinstance(value := getattr(found, name, None), tuple | list)
    }
    return Description(
        info=info,
        api=api,
        # Not inspect.getdoc: what a base class says of itself is not about the plugin.
        summary=inspect.cleandoc(found.__doc__ or "").split("\n")[0],
        options=_options(found),
        checkpoints=callable(getattr(found, "from_pretrained", None)),
        offers=offers,
    )


def _options(found: Callable[..., Any]) -> tuple[Option, ...]:
    try:
        parameters = inspect.signature(found).parameters.values()
    except ValueError:  # written in C, without a signature
        return ()
    return tuple(
        Option(
            one.name if one.kind is not one.VAR_KEYWORD else f"**{one.name}",
            ""
            if one.annotation is one.empty
            else inspect.formatannotation(one.annotation).strip("'"),
            None if one.default is one.empty else repr(one.default),
        )
        for one in parameters
        if one.kind is not one.VAR_POSITIONAL
    )

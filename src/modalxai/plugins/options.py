"""Options compared with a signature before the call."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from inspect import Parameter, signature
from typing import Any

from modalxai.errors import InputError


def check_options(
    name: str, build: Callable[..., Any], given: tuple[Any, ...], options: dict[str, Any]
) -> None:
    """Compare options with a signature, so that a typo is told from an error inside the part."""
    try:
        parameters = signature(build).parameters
    except ValueError:  # written in C, without a signature: its own TypeError must do
        return
    by_name = [
        parameter
        for parameter in list(parameters.values())[len(given) :]
        if parameter.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    ]
    takes = [parameter.name for parameter in by_name]
    needs = [parameter.name for parameter in by_name if parameter.default is Parameter.empty]
    swallows = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values())
    unknown = [] if swallows else [option for option in options if option not in takes]
    missing = [option for option in needs if option not in options]
    if unknown:
        near = difflib.get_close_matches(unknown[0], takes, n=1)
        raise InputError(
            f"the plugin {name!r} does not take {', '.join(map(repr, unknown))}",
            expected=f"some of {takes}" if takes else "no options",
            got=repr(sorted(options)),
            mend=f"did you mean {near[0]!r}?" if near else "drop or rename what it does not take",
        )
    if missing:
        raise InputError(
            f"the plugin {name!r} needs {', '.join(map(repr, missing))}",
            expected=f"at least {needs}",
            got=repr(sorted(options)),
            mend=f"give {', '.join(f'{option}=...' for option in missing)}",
        )

"""`check_plugin`: the kit that fits a plugin, by the plugin's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from modalxai import plugins
from modalxai.errors import InputError
from modalxai.protocols import Game
from modalxai.testing.attributors import check_attributor
from modalxai.testing.conformance import Conformance, spared
from modalxai.testing.encoders import check_encoder
from modalxai.testing.fusions import check_fusion
from modalxai.testing.small import small_options
from modalxai.testing.venues import fits

CHECKED = ("encoders", "fusion", "attribution")
"""The groups of plugins that there are kits for."""


def check_plugin(
    group: str,
    name: str,
    *,
    checkpoint: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    expected: Mapping[str, str] | None = None,
    game: Callable[[], Game] | None = None,
    raws: Sequence[Any] | None = None,
) -> Conformance:
    """Make a plugin by its name, and check what was made.

    Parameters
    ----------
    group, name
        See `modalxai.plugins.available`.
    checkpoint, options
        For `modalxai.plugins.create`. A fusion gets its ``dims`` and ``labels`` from the kit,
        unless it comes from a checkpoint. Without either, a built-in part is made at its smallest,
        and an encoder whose class has ``small()`` is what that returns: checks run it some two
        hundred times.
    expected
        By the name of a check that will fail, the reason.
    game
        Makes a game for an attributor that takes none of the kit's.
    raws
        Raw values for an encoder that takes none of the kit's, see `check_encoder`.

    Returns
    -------
    Conformance

    Raises
    ------
    InputError
        A group that there is no kit for; options that the plugin does not take; or a part that
        needs something to be tried on, see the kit's own function.
    PluginError
        See `modalxai.plugins.load`.

    Examples
    --------
    >>> check_plugin("attribution", "modality-shapley").passed
    True
    """
    info = plugins.inspect(group, name)
    if group not in CHECKED:
        raise InputError(
            f"there are no checks for {group}",
            expected=f"one of {list(CHECKED)}",
            got=f"{name!r} in {group!r}",
            mend="test it by hand: see its protocol in modalxai.protocols",
        )
    chosen = dict(options or {})
    smallest = False
    if not chosen and checkpoint is None and info.package == "modalxai":
        options_of_small = small_options(group, name)
        chosen, smallest = options_of_small or {}, options_of_small is not None
    small = getattr(plugins.load(group, name), "small", None)
    with spared():  # the same random weights every time
        if group == "fusion" and checkpoint is None:

            def part(dims: Mapping[str, int], labels: Any) -> Any:
                return plugins.create(group, name, **{"dims": dims, "labels": labels, **chosen})

        elif group == "encoders" and callable(small) and checkpoint is None and not chosen:
            part, smallest = small(), True
        else:
            part = plugins.create(group, name, checkpoint=checkpoint, **chosen)
        report = _checked(group, part, expected, game, raws)
    size = ", at its smallest" if smallest else ""
    return replace(report, subject=f"{name} ({report.subject}{size})")


def _checked(
    group: str,
    part: Any,
    expected: Mapping[str, str] | None,
    game: Callable[[], Game] | None,
    raws: Sequence[Any] | None,
) -> Conformance:
    if group == "encoders":
        return check_encoder(part, raws=raws, expected=expected)
    if group == "fusion":
        return check_fusion(part, expected=expected)
    own = None if game is None or fits(part) else game()
    if own is not None:
        part.attribute(own)  # what it refuses here, it refuses everywhere
    return check_attributor(part, own, expected=expected)

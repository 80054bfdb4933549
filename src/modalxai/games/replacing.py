"""What stands in for a removed raw value: nothing, a constant, an edit of it, or a donor's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modalxai.errors import InputError, RemovalError
from modalxai.games.removal import ABSENT, MARGINAL

MISSING = "missing"
"""The key is set to None."""
NAMES = (MISSING, *MARGINAL)

RawRemoval = str | tuple[str, Any]
"""One of `NAMES`, or a name of your own with a constant raw value, or a function raw -> raw."""


@dataclass(frozen=True, eq=False)
class Replacement:
    """What one modality is replaced by.

    Parameters
    ----------
    name
        For the provenance.
    value
        The raw value, or a function that makes it from the sample's own. Not read where a donor
        lends it.
    """

    name: str
    value: Any = None

    def of(self, raw: Any) -> Any:
        """What stands in for ``raw``; ``None`` is a missing modality."""
        return self.value(raw) if callable(self.value) else self.value


def resolve_raw(
    modalities: Sequence[str],
    removal: RawRemoval | Mapping[str, RawRemoval] | None,
    background: bool,
) -> dict[str, Replacement]:
    """A replacement for every modality, "missing" where none is named.

    Raises
    ------
    RemovalError
        What is neither a known name nor a (name, value) pair, a pair with the name of another
        removal, or a marginal removal without a background.
    InputError
        An unknown modality.
    """
    named = removal if isinstance(removal, Mapping) else dict.fromkeys(modalities, removal)
    if unknown := [name for name in named if name not in modalities]:
        raise InputError(
            f"a removal for the unknown modality {unknown[0]!r}",
            expected=f"some of {list(modalities)}",
            got=str(list(named)),
            mend="use the names in modalities=",
        )
    chosen = {name: _replacement(name, named.get(name)) for name in modalities}
    lent = [name for name, one in chosen.items() if one.name in MARGINAL]
    if lent and not background:
        raise RemovalError(
            f"the removal {chosen[lent[0]].name!r} of {lent[0]!r} needs other samples",
            expected="a background",
            got="none",
            mend="pass background=samples of the same corpus",
        )
    return chosen


def _replacement(modality: str, asked: Any) -> Replacement:
    if asked is None:
        return Replacement(MISSING)
    if isinstance(asked, str) and asked in NAMES:
        return Replacement(asked)
    pair = isinstance(asked, tuple) and len(asked) == 2 and isinstance(asked[0], str)
    if not pair or not asked[0].strip() or asked[0] in (*NAMES, ABSENT):
        raise RemovalError(
            f"{modality!r} cannot be removed by {asked!r}",
            expected=f"one of {list(NAMES)}, or a name of your own and what stands in",
            got=f"a name that is taken, {asked[0]!r}" if pair else type(asked).__name__,
            mend='write ("empty", "") for a constant, ("silence", function) for an edit',
        )
    return Replacement(*asked)

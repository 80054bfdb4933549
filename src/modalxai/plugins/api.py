"""Which version of its protocol a plugin was written for, and whether this modalxai knows it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from modalxai.errors import PluginError

STATED = "modalxai_api"
"""Name by which a class, its module or a package around it states its version."""


class Versions(NamedTuple):
    """The versions of one protocol that this modalxai works with."""

    oldest: int
    newest: int


API: Mapping[str, Versions] = MappingProxyType(
    {
        "encoders": Versions(1, 1),
        "fusion": Versions(1, 1),
        "attribution": Versions(1, 1),
        "transcribers": Versions(1, 1),
        "translators": Versions(1, 1),
    }
)
"""By group. A version is raised when a part that kept the protocol would no longer do."""


def stated(found: Any) -> int | None:
    """The version that a class or function was written for; ``None`` where nothing says so.

    The nearest statement counts: its own (a base class's is not), its module's, then that of each
    package around the module. Without one, the newest version is taken for granted.
    """
    own = vars(found).get(STATED) if hasattr(found, "__dict__") else None
    if own is not None:
        return _number(found, own)
    module = getattr(found, "__module__", None)
    while module:
        said = getattr(sys.modules.get(module), STATED, None)
        if said is not None:
            return _number(found, said)
        module = module.rpartition(".")[0]
    return None


def check_api(group: str, name: str, package: str, found: Any) -> int:
    """The version of the protocol that a plugin keeps.

    Raises
    ------
    PluginError
        It was written for a version that this modalxai does not know, or no longer.
    """
    oldest, newest = API[group]
    version = stated(found)
    if version is None:
        return newest
    if oldest <= version <= newest:
        return version
    later = version > newest
    raise PluginError(
        f"the plugin {name!r} of {package} was written for "
        f"{'a later' if later else 'an earlier'} version of {group}",
        expected=f"{STATED} {oldest}" + (f" to {newest}" if newest > oldest else ""),
        got=f"{STATED} = {version}",
        mend="update modalxai" if later else f"update {package}, or use an earlier modalxai",
    )


def _number(found: Any, said: Any) -> int:
    if isinstance(said, bool) or not isinstance(said, int) or said < 1:
        raise PluginError(
            f"{getattr(found, '__qualname__', found)} states no version of a protocol",
            expected=f"{STATED} = 1, a whole number",
            got=repr(said),
            mend="write the version of the protocol that it keeps, not the package's own version",
        )
    return said

"""What installed packages offer, read from their metadata one by one; nothing is imported."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, DistributionFinder
from pathlib import Path
from typing import Any, NamedTuple

GROUPS = ("encoders", "fusion", "attribution", "transcribers", "translators")
"""Short names of the groups of entry points, ``modalxai.encoders`` and so on."""
REGISTERED = "(registered)"
"""Stands for the package of a plugin that the running process registered."""

_TARGET = re.compile(r"(?P<module>\w[\w.]*)\s*:\s*(?P<attr>\w[\w.]*)\s*(\[.*\])?\s*")


@dataclass(frozen=True)
class PluginInfo:
    """What is known of a plugin before it is imported.

    Parameters
    ----------
    group
        One of `GROUPS`: ``"encoders"``, say.
    name
        The name that `create` takes.
    package, version
        The distribution that offers it; ``"(registered)"`` and ``""`` for one of this process.
    target
        ``"module:attribute"`` of the class or factory.
    """

    group: str
    name: str
    package: str
    version: str
    target: str

    def __str__(self) -> str:
        return f"{self.package} {self.version}".strip() + f" ({self.target})"


class Scan(NamedTuple):
    """What the installed packages offer, and what was wrong with those that were left out."""

    plugins: tuple[PluginInfo, ...]
    problems: tuple[str, ...]


def installed() -> Iterator[Distribution]:
    """Every installed distribution, in the order of ``sys.path``; one broken finder is skipped."""
    for finder in sys.meta_path:
        find = getattr(finder, "find_distributions", None)
        if find is None:
            continue
        try:
            yield from find(DistributionFinder.Context())
        except Exception as error:
            warnings.warn(f"{finder!r} cannot list its packages: {error}", stacklevel=2)


def scan(distributions: Iterable[Distribution]) -> Scan:
    """Read distributions one by one, so that one that cannot be read costs its own plugins only.

    A distribution that is found twice (an editable install and a wheel, say) counts once: the
    first, which is the one Python would import.
    """
    plugins: list[PluginInfo] = []
    problems: list[str] = []
    places: dict[str, Path] = {}  # by normalised name, where the distribution that counts lies
    for dist in distributions:
        # Only distributions in a folder or an archive have this; others name themselves.
        place = Path(str(getattr(dist, "_path", dist)))
        package, version = _identity(dist)
        if package is not None:
            key = re.sub(r"[-_.]+", "-", package).lower()
            if key in places:
                first = places[key]
                # Two in one folder are an update that went wrong, and their order is chance.
                if first != place and first.parent == place.parent != Path():
                    problems.append(
                        f"{package} is installed twice in {str(place.parent)!r}, "
                        f"{first.name!r} is read: reinstall it"
                    )
                continue
            places[key] = place
        try:
            entries = [entry for entry in dist.entry_points if entry.group in _FULL_NAMES]
        except Exception as error:
            problems.append(f"the entry points in {str(place)!r} cannot be read: {error}")
            continue
        if entries and (package is None or version is None):
            problems.append(
                f"the plugins in {str(place)!r} are left out: no readable name and version"
            )
            continue
        for entry in entries:
            if match := _TARGET.fullmatch(entry.value):
                target = f"{match['module']}:{match['attr']}"
                group = _FULL_NAMES[entry.group]
                plugins.append(PluginInfo(group, entry.name, str(package), str(version), target))
            else:
                problems.append(
                    f"{package} {version} offers {entry.name!r} as {entry.value!r}, "
                    "which is not of the form module:attribute"
                )
    # The set: the same line twice in one file is one claim.
    ordered = sorted(set(plugins), key=lambda info: (info.name, str(info)))
    return Scan(tuple(ordered), tuple(problems))


_FULL_NAMES = {f"modalxai.{group}": group for group in GROUPS}


def _identity(dist: Distribution) -> tuple[str | None, str | None]:
    """Name and version, ``None`` where the metadata lacks them or cannot be read."""
    try:
        # get: from Python 3.12 on, indexing with a key that is not there warns.
        metadata: Any = dist.metadata
        return metadata.get("Name"), metadata.get("Version")
    except Exception:  # missing, not UTF-8, not a file: every Python raises its own
        return None, None

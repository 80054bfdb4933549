"""Parts by name, from every installed package.

A package offers a part by an entry point in a group named ``modalxai.encoders``,
``modalxai.fusion``, ``modalxai.attribution``, ``modalxai.transcribers`` or
``modalxai.translators``; the built-in parts use the same mechanism. A process can add its own
with `register`. Listing reads package metadata and imports nothing.
"""

from __future__ import annotations

from modalxai.plugins.discovery import GROUPS, PluginInfo
from modalxai.plugins.registry import Registry

__all__ = [
    "GROUPS",
    "PluginInfo",
    "Registry",
    "available",
    "create",
    "infos",
    "inspect",
    "load",
    "origin",
    "problems",
    "refresh",
    "register",
]

_registry = Registry()

available = _registry.available
infos = _registry.infos
inspect = _registry.inspect
load = _registry.load
create = _registry.create
register = _registry.register
refresh = _registry.refresh
problems = _registry.problems
origin = _registry.origin

"""Parts by name, from every installed package.

A package offers a part by an entry point in a group named ``modalxai.encoders``,
``modalxai.fusion``, ``modalxai.attribution``, ``modalxai.transcribers`` or
``modalxai.translators``; the built-in parts use the same mechanism. A process can add its own
with `register`. Listing reads package metadata and imports nothing.

A plugin may say which version of its protocol it was written for: ``modalxai_api = 1`` in its
class, its module or its package. `API` has the versions that this modalxai works with, by group;
another one is refused at load. A plugin that says nothing is taken to keep the newest.
"""

from __future__ import annotations

from modalxai.plugins.api import API, Versions
from modalxai.plugins.description import Description, Option
from modalxai.plugins.discovery import GROUPS, PluginInfo
from modalxai.plugins.registry import Registry

__all__ = [
    "API",
    "GROUPS",
    "Description",
    "Option",
    "PluginInfo",
    "Registry",
    "Versions",
    "available",
    "create",
    "describe",
    "find",
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
describe = _registry.describe
find = _registry.find
create = _registry.create
register = _registry.register
refresh = _registry.refresh
problems = _registry.problems
origin = _registry.origin

"""Corpora: a manifest reader for yours, and ToneBench, synthetic speech with planted truth."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modalxai.datasets import tonebench
    from modalxai.datasets.manifest import ManifestCorpus

__all__ = ["ManifestCorpus", "tonebench"]


def __getattr__(name: str) -> Any:
    if name == "tonebench":
        return importlib.import_module("modalxai.datasets.tonebench")
    if name == "ManifestCorpus":
        return importlib.import_module("modalxai.datasets.manifest").ManifestCorpus
    raise AttributeError(f"module 'modalxai.datasets' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

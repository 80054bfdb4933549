"""Corpora of the field, a manifest reader for yours, and ToneBench, speech with planted truth."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modalxai.datasets import tonebench, transcribers, translators
    from modalxai.datasets.aihub import AIHubMultimodalVideo
    from modalxai.datasets.corpus import Context, Corpus, Turn
    from modalxai.datasets.findings import CorpusReport, Count, Finding
    from modalxai.datasets.kemdy19 import KEMDy19
    from modalxai.datasets.kemdy20 import KEMDy20
    from modalxai.datasets.manifest import ManifestCorpus
    from modalxai.datasets.meld import MELD
    from modalxai.datasets.splits import Split, folds, random_split, split
    from modalxai.datasets.transcribers import transcribe_corpus
    from modalxai.datasets.translators import translate_corpus

_HOMES = {
    "AIHubMultimodalVideo": "aihub",
    "Context": "corpus",
    "Corpus": "corpus",
    "CorpusReport": "findings",
    "Count": "findings",
    "Finding": "findings",
    "KEMDy19": "kemdy19",
    "KEMDy20": "kemdy20",
    "MELD": "meld",
    "ManifestCorpus": "manifest",
    "Split": "splits",
    "Turn": "corpus",
    "folds": "splits",
    "random_split": "splits",
    "split": "splits",
    "transcribe_corpus": "transcribers",
    "translate_corpus": "translators",
}
"""The module of each public name, imported when the name is first used."""

__all__ = [
    "MELD",
    "AIHubMultimodalVideo",
    "Context",
    "Corpus",
    "CorpusReport",
    "Count",
    "Finding",
    "KEMDy19",
    "KEMDy20",
    "ManifestCorpus",
    "Split",
    "Turn",
    "folds",
    "random_split",
    "split",
    "tonebench",
    "transcribe_corpus",
    "transcribers",
    "translate_corpus",
    "translators",
]


def __getattr__(name: str) -> Any:
    if name in ("tonebench", "transcribers", "translators"):
        return importlib.import_module(f"modalxai.datasets.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"modalxai.datasets.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'modalxai.datasets' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

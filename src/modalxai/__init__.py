"""What a multimodal emotion model listens to: the words or the voice.

Names are imported where they are first used (PEP 562): ``import modalxai`` loads neither torch
nor transformers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from modalxai.errors import ModalxaiError

if TYPE_CHECKING:
    from modalxai import (
        attribution,
        corpus_run,
        datasets,
        encoders,
        evaluation,
        fusion,
        hub,
        interop,
        metrics,
        plugins,
        report,
        testing,
        training,
        voice,
    )
    from modalxai.attribution import Explanation
    from modalxai.corpus_run import CorpusRun, explain_corpus
    from modalxai.games import CallableGame, ModelGame, explain
    from modalxai.model import EmotionModel
    from modalxai.report import Report
    from modalxai.types import (
        Attribution,
        Audio,
        Batch,
        Features,
        Label,
        Prediction,
        Provenance,
        Spans,
        labels,
    )

_MODULES = (
    "attribution",
    "corpus_run",
    "datasets",
    "encoders",
    "evaluation",
    "fusion",
    "hub",
    "interop",
    "metrics",
    "plugins",
    "report",
    "testing",
    "training",
    "voice",
)
_NAMES = {
    "Explanation": "modalxai.attribution",
    "CorpusRun": "modalxai.corpus_run",
    "explain_corpus": "modalxai.corpus_run",
    "CallableGame": "modalxai.games",
    "ModelGame": "modalxai.games",
    "explain": "modalxai.games",
    "EmotionModel": "modalxai.model",
    "Report": "modalxai.report",
    **dict.fromkeys(
        (
            "Attribution",
            "Audio",
            "Batch",
            "Features",
            "Label",
            "Prediction",
            "Provenance",
            "Spans",
            "labels",
        ),
        "modalxai.types",
    ),
}

__all__ = [
    "Attribution",
    "Audio",
    "Batch",
    "CallableGame",
    "CorpusRun",
    "EmotionModel",
    "Explanation",
    "Features",
    "Label",
    "ModalxaiError",
    "ModelGame",
    "Prediction",
    "Provenance",
    "Report",
    "Spans",
    "attribution",
    "corpus_run",
    "datasets",
    "encoders",
    "evaluation",
    "explain",
    "explain_corpus",
    "fusion",
    "hub",
    "interop",
    "labels",
    "metrics",
    "plugins",
    "report",
    "testing",
    "training",
    "voice",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"modalxai.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'modalxai' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

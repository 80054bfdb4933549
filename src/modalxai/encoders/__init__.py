"""Encoders: one modality to vectors. Names are imported where they are first used (PEP 562)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modalxai.encoders.byte_text import ByteTextEncoder
    from modalxai.encoders.mel_cnn import MelCnnEncoder
    from modalxai.encoders.text import DistilBertEncoder, TransformersTextEncoder
    from modalxai.encoders.wav2vec2 import Wav2Vec2Encoder

_NAMES = {
    "ByteTextEncoder": "modalxai.encoders.byte_text",
    "DistilBertEncoder": "modalxai.encoders.text",
    "MelCnnEncoder": "modalxai.encoders.mel_cnn",
    "TransformersTextEncoder": "modalxai.encoders.text",
    "Wav2Vec2Encoder": "modalxai.encoders.wav2vec2",
}

__all__ = [
    "ByteTextEncoder",
    "DistilBertEncoder",
    "MelCnnEncoder",
    "TransformersTextEncoder",
    "Wav2Vec2Encoder",
]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'modalxai.encoders' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

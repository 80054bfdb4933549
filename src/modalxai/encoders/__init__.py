"""Encoders: one modality to vectors. Names are imported where they are first used (PEP 562)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modalxai.encoders.biosignal import BiosignalEncoder
    from modalxai.encoders.byte_text import ByteTextEncoder
    from modalxai.encoders.fasttext import FastTextEncoder
    from modalxai.encoders.korean import HanBertEncoder, KlueEncoder, KoBertEncoder
    from modalxai.encoders.lora import Lora
    from modalxai.encoders.mel_cnn import MelCnnEncoder
    from modalxai.encoders.mfcc import MfccEncoder
    from modalxai.encoders.sequence_encoder import SequenceEncoder
    from modalxai.encoders.shortening import shorten
    from modalxai.encoders.speecht5 import SpeechT5SpeechEncoder, SpeechT5TextEncoder
    from modalxai.encoders.text import DistilBertEncoder, TransformersTextEncoder
    from modalxai.encoders.vectors import VectorEncoder
    from modalxai.encoders.wav2vec2 import Wav2Vec2Encoder
    from modalxai.encoders.waveform_cnn import WaveformCnnEncoder

_NAMES = {
    "BiosignalEncoder": "modalxai.encoders.biosignal",
    "ByteTextEncoder": "modalxai.encoders.byte_text",
    "DistilBertEncoder": "modalxai.encoders.text",
    "FastTextEncoder": "modalxai.encoders.fasttext",
    "HanBertEncoder": "modalxai.encoders.korean",
    "KlueEncoder": "modalxai.encoders.korean",
    "KoBertEncoder": "modalxai.encoders.korean",
    "Lora": "modalxai.encoders.lora",
    "MelCnnEncoder": "modalxai.encoders.mel_cnn",
    "MfccEncoder": "modalxai.encoders.mfcc",
    "SequenceEncoder": "modalxai.encoders.sequence_encoder",
    "SpeechT5SpeechEncoder": "modalxai.encoders.speecht5",
    "SpeechT5TextEncoder": "modalxai.encoders.speecht5",
    "TransformersTextEncoder": "modalxai.encoders.text",
    "VectorEncoder": "modalxai.encoders.vectors",
    "Wav2Vec2Encoder": "modalxai.encoders.wav2vec2",
    "WaveformCnnEncoder": "modalxai.encoders.waveform_cnn",
    "shorten": "modalxai.encoders.shortening",
}

modalxai_api = 1
"""See `modalxai.plugins.API`."""

__all__ = [
    "BiosignalEncoder",
    "ByteTextEncoder",
    "DistilBertEncoder",
    "FastTextEncoder",
    "HanBertEncoder",
    "KlueEncoder",
    "KoBertEncoder",
    "Lora",
    "MelCnnEncoder",
    "MfccEncoder",
    "SequenceEncoder",
    "SpeechT5SpeechEncoder",
    "SpeechT5TextEncoder",
    "TransformersTextEncoder",
    "VectorEncoder",
    "Wav2Vec2Encoder",
    "WaveformCnnEncoder",
    "shorten",
]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'modalxai.encoders' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

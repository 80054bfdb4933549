"""Built-in parts at their smallest: promises do not depend on size, the time of checks does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_TRANSFORMER: Mapping[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
_FRONT_END: Mapping[str, Any] = {
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


def _bert() -> dict[str, Any]:
    from transformers import BertConfig

    return {"config": BertConfig(**_TRANSFORMER, vocab_size=300, max_position_embeddings=48)}


def _distilbert() -> dict[str, Any]:
    from transformers import DistilBertConfig

    sizes: dict[str, Any] = {"dim": 8, "hidden_dim": 16, "n_layers": 2, "n_heads": 2}
    return {"config": DistilBertConfig(**sizes, vocab_size=300, max_position_embeddings=48)}


def _wav2vec2() -> dict[str, Any]:
    from transformers import Wav2Vec2Config

    return {"config": Wav2Vec2Config(**_TRANSFORMER, **_FRONT_END)}


def _speecht5() -> dict[str, Any]:
    from transformers import SpeechT5Config

    sizes: dict[str, Any] = {
        f"{side}_{what}": number
        for side in ("encoder", "decoder")
        for what, number in (("layers", 2), ("attention_heads", 2), ("ffn_dim", 16))
    }
    rest: dict[str, Any] = {
        "hidden_size": 16,
        "speech_decoder_prenet_units": 8,
        "speech_decoder_postnet_units": 8,
        "speaker_embedding_dim": 8,
        "max_text_positions": 40,
    }
    return {"config": SpeechT5Config(**sizes, **rest, **_FRONT_END)}


def _plain(**options: Any) -> Callable[[], dict[str, Any]]:
    return lambda: dict(options)


_MEL = {"dim": 8, "mels": 8, "channels": 8, "layers": 2, "strides": (2, 2), "heads": 2}
_OPTIONS: Mapping[tuple[str, str], Callable[[], dict[str, Any]]] = {
    ("encoders", "biosignal"): _plain(dim=8, hidden=8),
    ("encoders", "byte-text"): _plain(dim=8, layers=1, heads=2),
    ("encoders", "distilbert"): _distilbert,
    ("encoders", "fasttext"): _plain(dim=8, width=6, buckets=97),
    ("encoders", "hanbert"): _bert,
    ("encoders", "klue"): _bert,
    ("encoders", "kobert"): _bert,
    ("encoders", "mel-cnn"): _plain(**_MEL, segment_seconds=0.1),
    ("encoders", "mfcc"): _plain(dim=8, coefficients=6, mels=8, segment_seconds=0.1),
    ("encoders", "speecht5-speech"): _speecht5,
    ("encoders", "speecht5-text"): _speecht5,
    ("encoders", "transformers-text"): _bert,
    ("encoders", "vectors"): _plain(dim=3),
    ("encoders", "wav2vec2"): _wav2vec2,
    ("encoders", "waveform-cnn"): _plain(dim=8, channels=4, segment_seconds=0.1),
    ("fusion", "crossmodal-transformer"): _plain(width=4, heads=2),
    ("fusion", "fusion-transformer"): _plain(width=4, heads=2),
    ("fusion", "meta-attention"): _plain(width=4),
    ("fusion", "shallow"): _plain(hidden=6),
}


def small_options(group: str, name: str) -> dict[str, Any] | None:
    """Options of `modalxai.plugins.create` for a small built-in; ``None`` where it is small."""
    make = _OPTIONS.get((group, name))
    return None if make is None else make()

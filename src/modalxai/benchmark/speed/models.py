"""The models and inputs that everybody is asked about: random weights, nothing to download."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from modalxai.biosignals import Biosignal
from modalxai.encoders import BiosignalEncoder, DistilBertEncoder, Wav2Vec2Encoder
from modalxai.fusion import FusionTransformer, ShallowFusion
from modalxai.model import EmotionModel
from modalxai.types import Audio, labels

Size = Literal["base", "small", "tiny"]
FusionName = Literal["pooled", "transformer", "wide transformer"]

RATE = 16_000
EMOTIONS = labels("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
BODY = ("heart", "skin", "breath")
"""Modalities beside audio and text, in the order in which they are added."""
TEXT = "that was not what I meant"
"""26 tokens: bytes, and a begin mark."""
SMALL_SPEECH: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "conv_dim": (48,) * 7,
    "num_conv_pos_embeddings": 32,
    "num_conv_pos_embedding_groups": 4,
}
SMALL_TEXT: dict[str, Any] = {"dim": 64, "hidden_dim": 256, "n_layers": 2, "n_heads": 4}
TINY_SPEECH = SMALL_SPEECH | {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "intermediate_size": 16,
    "conv_dim": (8,) * 7,
}
TINY_TEXT = SMALL_TEXT | {"dim": 16, "hidden_dim": 16, "n_layers": 1}
SPEECH: dict[Size, dict[str, Any]] = {"base": {}, "small": SMALL_SPEECH, "tiny": TINY_SPEECH}
WRITTEN: dict[Size, dict[str, Any]] = {"base": {}, "small": SMALL_TEXT, "tiny": TINY_TEXT}


@dataclass(frozen=True)
class Shape:
    """Which model.

    Parameters
    ----------
    size
        ``"base"``: wav2vec2-base and DistilBERT. ``"small"``: the same at a width of 64.
        ``"tiny"``: for counting rows.
    fusion
        ``"pooled"``: mean and [CLS], one hidden layer. ``"transformer"``: two layers over all
        vectors of all modalities, 256 wide (64 between small encoders). ``"wide transformer"``:
        as wide as the encoders, 768 at the published sizes, nothing in between.
    modalities
        M, from 2 to 5: audio and text, then signals of the body in three dense layers.
    columns
        K, how many labels.
    segment
        Seconds of a segment.
    """

    size: Size = "small"
    fusion: FusionName = "pooled"
    modalities: int = 2
    columns: int = len(EMOTIONS)
    segment: float = 0.5


def speech_config(size: Size) -> Any:
    """A wav2vec 2.0 with a group norm, as wav2vec2-base has one."""
    from transformers import Wav2Vec2Config

    return Wav2Vec2Config(**SPEECH[size])


def text_config(size: Size) -> Any:
    """A DistilBERT."""
    from transformers import DistilBertConfig

    return DistilBertConfig(**WRITTEN[size])


def make(shape: Shape, seed: int = 0, device: str = "cpu") -> EmotionModel:
    """The model, in eval mode; the weights are random and hang on the seed alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        audio = Wav2Vec2Encoder(speech_config(shape.size), segment_seconds=shape.segment)
        encoders: dict[str, Any] = {
            "audio": audio,
            "text": DistilBertEncoder(text_config(shape.size)),
        }
        for name in BODY[: shape.modalities - 2]:
            encoders[name] = BiosignalEncoder(dim=audio.dim, channels=2, window=0.5)
        dims = {name: encoder.dim for name, encoder in encoders.items()}
        if shape.columns == len(EMOTIONS):
            named = EMOTIONS
        else:
            named = labels(*(f"emotion {column}" for column in range(shape.columns)))
        fusion: Any
        if shape.fusion == "pooled":
            pool: Any = {name: "first" if name == "text" else "mean" for name in dims}
            fusion = ShallowFusion(dims, named, pool=pool)
        else:
            wide = shape.fusion == "wide transformer"
            fusion = FusionTransformer(
                dims,
                named,
                width=audio.dim if wide else min(256, audio.dim),
                layers=2,
                projection="identity" if wide else "convolution",
            )
        model = EmotionModel(encoders, fusion)
    return model.to(device).eval().requires_grad_(False)


def samples(
    count: int,
    seconds: float | Sequence[float],
    modalities: int = 2,
    text: str = TEXT,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Noise, a sentence, and signals of the body with a resting value."""
    draw = torch.Generator().manual_seed(seed)
    made = []
    for number in range(count):
        length = seconds if isinstance(seconds, int | float) else seconds[number]
        clip = 0.1 * torch.randn(round(length * RATE), generator=draw)
        sample: dict[str, Any] = {"id": f"u{number}", "audio": Audio(clip, RATE), "text": text}
        for name in BODY[: modalities - 2]:
            signal = torch.randn(2, 12, generator=draw).numpy()
            sample[name] = Biosignal(signal, 4.0, baseline=[0.5, -0.5])
        made.append(sample)
    return made


def spoken(words: int, seconds: float, seed: int = 0) -> dict[str, Any]:
    """One sample with so many short words."""
    return samples(1, seconds, text=" ".join("abcdefghijklmnop"[:words]), seed=seed)[0]


ABSENT = "absent"
REPLACED = {
    "audio": "silence",
    "text": "mask",
    **dict.fromkeys(BODY, "baseline"),
}
"""What is put in the place of a removed modality, encoded like everything else."""


def removal_for(model: EmotionModel, name: str) -> dict[str, str]:
    """By modality of the model; ``name`` is "absent" or "replaced"."""
    return {m: ABSENT if name == ABSENT else REPLACED[m] for m in model.modalities}

"""Settings and shapes of the SpeechT5 system: encoders tuned alone, then meta-attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch

import modalxai as mx
from modalxai.datasets.ratings import EMOTIONS
from modalxai.encoders.wav2vec2 import SpeechTuning
from modalxai.errors import CheckpointError
from modalxai.recipes.options import Options
from modalxai.recipes.speecht5.data import DIMENSIONS
from modalxai.training import FitSettings
from modalxai.types import Labels

Siamese = Literal["architecture", "weights"]


@dataclass(frozen=True)
class Settings:
    """Everything that decides the figures; the defaults are the paper's, where it tells them.

    It tells the encoders, the fusion, the losses and the 30 epochs. Not told, and so ours: the
    split (here nobody is heard in two parts), widths, how models are optimised, and how long the
    encoders are tuned alone.

    Parameters
    ----------
    parts
        Sizes of training and test: of the corpora, or utterances of synthetic speech.
    siamese
        Siamese initialisation is two copies of one architecture. ``"architecture"``: the speech and
        the text encoder start as their own checkpoints have them, both the one transformer of
        SpeechT5, so that "VC only" and "TTS only" are what they are called; ``"weights"``: the text
        encoder's transformer starts as a copy of the speech encoder's, each with its own prenet.
    trainable
        What learns of an encoder while it is tuned alone; nothing does afterwards.
        ``"transformer"`` is all but the convolutional front end of speech; of a text encoder, which
        has none, it is everything.
    speech, text, joint
        How an encoder of speech and one of text is tuned alone, with a linear head of its own; how
        the fusion and its heads are trained.
    width, dropout
        Of the meta-attention.
    dimension_weight
        Of the squared error of valence and arousal beside the mean cross-entropy of the emotions:
        1/7 makes the loss a sum over seven classifiers and one linear layer, seven times as small.
    tokens
        Characters of a text, longer ones are cut; ``None`` for as many as the encoder can read.
    seeds
        Splits (or synthetic corpora) and weights to repeat everything with.
    """

    parts: tuple[float, float] = (8, 2)
    siamese: Siamese = "architecture"
    trainable: SpeechTuning = "all"
    speech: FitSettings = field(default_factory=lambda: FitSettings(10, 5e-5, 16))
    text: FitSettings = field(default_factory=lambda: FitSettings(10, 5e-5, 16))
    joint: FitSettings = field(default_factory=lambda: FitSettings(30, 1e-3, 32))
    width: int = 768
    dropout: float = 0.1
    dimension_weight: float = 1 / 7
    tokens: int | None = None
    seeds: int = 1


PUBLISHED = Settings()
TINY = Settings(
    parts=(1440, 360),
    trainable="transformer",
    speech=FitSettings(5, 3e-3, 32, optimizer="adamw", weight_decay=0.01, schedule="cosine"),
    text=FitSettings(8, 3e-3, 32, optimizer="adamw", weight_decay=0.01, schedule="cosine"),
    joint=FitSettings(30, 3e-3, 32, optimizer="adamw", weight_decay=0.01, schedule="cosine"),
    width=64,
    dropout=0.0,
    seeds=3,
)
"""For synthetic speech and tiny checkpoints."""
QUICK = replace(
    TINY,
    parts=(80, 40),
    speech=replace(TINY.speech, epochs=2),
    text=replace(TINY.text, epochs=2),
    seeds=1,
)


def settings_for(options: Options) -> Settings:
    """The paper's settings, or those for tiny checkpoints."""
    chosen = QUICK if options.quick else TINY if options.checkpoints == "tiny" else PUBLISHED
    if options.data is not None:
        chosen = replace(chosen, parts=PUBLISHED.parts)
    elif options.checkpoints != "tiny" and not options.quick:
        chosen = replace(chosen, parts=TINY.parts)
    return replace(chosen, seeds=options.seeds or chosen.seeds)


def labels_for(dimensions: bool) -> Labels:
    """A binary label for each emotion; with valence and arousal or without."""
    emotions = mx.labels(*EMOTIONS, kind="binary")
    return emotions + mx.labels(*DIMENSIONS, kind="dimensional") if dimensions else emotions


def siamese(speech: Any, text: Any, start: Siamese) -> None:
    """Make sure that both are one architecture; with ``"weights"``, start the text from the speech.

    Raises
    ------
    CheckpointError
        Two transformers of other shapes.
    """
    theirs = speech.model.wrapped_encoder.state_dict()
    ours = text.model.wrapped_encoder.state_dict()
    shapes = [{name: tuple(one.shape) for name, one in side.items()} for side in (theirs, ours)]
    if shapes[0] != shapes[1]:
        differ = [name for name in shapes[0] | shapes[1] if _get(shapes, name)]
        raise CheckpointError(
            "the speech and the text encoder are no siamese twins",
            expected="one transformer behind two prenets, as in SpeechT5's checkpoints",
            got=f"{len(differ)} weights of other shapes, {differ[0]} first",
            mend="take checkpoints of one size",
        )
    if start == "weights":
        text.model.wrapped_encoder.load_state_dict(theirs)


def _get(shapes: Sequence[dict[str, tuple[int, ...]]], name: str) -> bool:
    return shapes[0].get(name) != shapes[1].get(name)


def build(encoders: dict[str, Any], labels: Labels, settings: Settings) -> mx.EmotionModel:
    """Encoders and meta-attention; one linear classifier per emotion, one layer for dimensions.

    Parameters
    ----------
    encoders
        By modality; one alone is its linear head on the mean over time.
    labels
        From `labels_for`.
    settings
        Width and dropout of the fusion. No modality is dropped in training, as in the paper.
    """
    fusion = mx.fusion.MetaAttention(
        {name: one.dim for name, one in encoders.items()},
        labels,
        width=settings.width,
        dropout=settings.dropout,
    )
    return mx.EmotionModel(encoders, fusion, modality_dropout=0.0)


def start_at(fusion: Any, means: Sequence[float]) -> None:
    """Let the heads start at the mean of each label: log-odds of a binary one, else the value."""
    for column, (label, mean) in enumerate(zip(fusion.labels, means, strict=True)):
        if label.kind == "binary":
            mean = float(torch.logit(torch.tensor(min(max(mean, 0.01), 0.99))))
        fusion.head.bias.data[column] = mean

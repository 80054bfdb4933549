"""The settings of recipe S1: the published ones, and those of the tiny form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import modalxai as mx
from modalxai.recipes.checkpoints import Checkpoints
from modalxai.recipes.options import Options
from modalxai.training import FitSettings
from modalxai.types import Labels

BODY = ("ecg", "eda", "temp")
"""Signals of the body, in the order of their features in the network for all."""
COMBINATIONS: Mapping[str, tuple[str, ...]] = {
    "audio": ("audio",),
    "text": ("text",),
    "biosignals": ("bio",),
    "audio + text": ("audio", "text"),
    "all": ("audio", "text", "bio"),
}
"""As the source has them: one network for all biosignals."""
SPLIT: Mapping[str, tuple[str, ...]] = {
    "heart (ECG)": ("ecg",),
    "skin conductance (EDA)": ("eda",),
    "skin temperature": ("temp",),
    "all five": ("audio", "text", *BODY),
}
"""The variant: each biosignal is a modality with a network of its own."""

SPEECH = FitSettings(epochs=50, lr=1e-3, batch_size=32, clip=None)
BIOSIGNALS = FitSettings(epochs=50, lr=1e-3, batch_size=4, clip=None)
"""Published, but for the optimiser, which the source does not name: Adam."""
TEXT = FitSettings(epochs=5, lr=5e-5, batch_size=32)
"""Usual for a BERT; the source says nothing of it."""


@dataclass(frozen=True)
class Settings:
    """Everything that decides the figures; the defaults are the published values.

    Parameters
    ----------
    parts
        Sizes of the training and the test part.
    dealt
        ``"random"``: utterances at random, as the source does not say otherwise; speakers are then
        in both parts, and every table and report says so. ``"speaker"``: whole speakers.
    speech_training, body_training
        Batch 32 and batch 4, learning rate 1e-3, 50 epochs each.
    text_training
        Of KoBERT.
    speech
        Settings of the ``waveform-cnn``. Its layer after the convolutions goes over each frame, and
        the frames are averaged; the source flattens clips of one length instead.
    body_layers, body_width
        Fully connected layers, ReLU between them; the source gives three, and no width. The last
        one and the head have no ReLU between them: together they are the third.
    text_trainable, text_pool
        What learns of KoBERT; the vector that stands for the sentence.
    combine
        How the unimodal models' log-probabilities are combined; open in the source: their mean.
    average
        Over which the F1 of the classes is averaged; open in the source: the classes (macro).
    modality_dropout
        Of the unimodal models. 0, as in the source. Above 0, a departure, each learns what to say
        of a sample without its modality; else see `late_fusion.REFERENCE`.
    donors
        Draws of the marginal removal.
    samples, speakers
        Of the synthetic corpus.
    most
        Utterances of a real corpus that are used at most, ``None`` for all; the quick form's.
    """

    parts: tuple[float, float] = (80, 20)
    dealt: Literal["random", "speaker"] = "random"
    speech_training: FitSettings = SPEECH
    body_training: FitSettings = BIOSIGNALS
    text_training: FitSettings = TEXT
    speech: Mapping[str, Any] = field(default_factory=dict)
    body_layers: int = 3
    body_width: int = 64
    text_trainable: Literal["all", "none"] = "all"
    text_pool: Literal["mean", "first"] = "first"
    combine: Literal["mean", "learned"] = "mean"
    average: Literal["macro", "weighted"] = "macro"
    modality_dropout: float = 0.0
    donors: int = 64
    samples: int = 1800
    speakers: int = 50
    most: int | None = None

    def training(self, modality: str) -> FitSettings:
        """Of one unimodal model."""
        own = {"audio": self.speech_training, "text": self.text_training}
        return own.get(modality, self.body_training)


PUBLISHED = Settings()
TINY = replace(
    PUBLISHED,
    dealt="speaker",
    # Fewer epochs, as there is less to learn; a first convolution of 8 ms every 2 ms.
    speech={"dim": 64, "channels": 32, "kernels": (128, 8, 4), "strides": (32, 4, 2)},
    speech_training=replace(PUBLISHED.speech_training, epochs=6, lr=3e-3, schedule="cosine"),
    body_training=replace(PUBLISHED.body_training, epochs=6, schedule="cosine"),
    text_training=FitSettings(epochs=4, lr=2e-3, batch_size=32, schedule="cosine"),
    text_pool="mean",
)
"""For tiny checkpoints and synthetic speech. Whole speakers are kept apart."""


def settings_for(options: Options) -> Settings:
    """The settings of a run."""
    chosen = TINY if options.checkpoints == "tiny" else PUBLISHED
    if options.data is not None:
        chosen = replace(chosen, dealt=PUBLISHED.dealt)
    if options.encoder_size == "small":
        width = 16 if options.checkpoints == "tiny" else 32
        chosen = replace(chosen, speech={**chosen.speech, "channels": width})
    if options.quick:
        chosen = replace(
            chosen,
            speech_training=replace(chosen.speech_training, epochs=1),
            body_training=replace(chosen.body_training, epochs=1),
            text_training=replace(chosen.text_training, epochs=1),
            donors=4,
            samples=180,
            speakers=5,
            most=64,
        )
    return chosen


def unimodal(
    modality: str,
    settings: Settings,
    checkpoints: Checkpoints,
    labels: Labels,
    standards: tuple[Sequence[float], Sequence[float]] | None = None,
) -> mx.EmotionModel:
    """One modality's model, untrained; ``standards`` are those of a biosignal's features."""
    encoder: Any
    pool: Literal["mean", "first"] = "mean"
    if modality == "audio":
        encoder = mx.plugins.create("encoders", "waveform-cnn", **settings.speech)
    elif modality == "text":
        encoder = checkpoints.encoder("kobert", trainable=settings.text_trainable)
        pool = settings.text_pool
    else:
        centre, spread = standards or ((), ())
        encoder = mx.plugins.create(
            "encoders",
            "biosignal",
            dim=settings.body_width,
            hidden=settings.body_width,
            layers=settings.body_layers,
            channels=len(centre),
            centre=centre,
            spread=spread,
            dropout=0.0,
        )
    fusion = mx.plugins.create(
        "fusion", "late", dims={modality: encoder.dim}, labels=labels, pool=pool
    )
    return mx.EmotionModel({modality: encoder}, fusion, settings.modality_dropout)

"""Settings and shapes of the valence and arousal system: two regressors, and the emotion model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import modalxai as mx
from modalxai.recipes.options import Options
from modalxai.training import FitSettings
from modalxai.types import Labels

Depths = tuple[int, int]
"""Self-attention layers of the audio and of the text block."""


@dataclass(frozen=True)
class Settings:
    """Everything that decides the figures; the defaults are the paper's, where it tells them.

    Not told, and so ours: windows, kernels, strides, heads, dropout, the widths between 128 and
    768, how models are optimised, and the split (here nobody is heard in two parts).

    Parameters
    ----------
    parts
        Sizes of training, validation and test: of the corpus, or clips of synthetic speech.
    fewest
        Samples that an emotion needs to be kept.
    bodies, clusters
        Samples whose biosignals are looked at; numbers of clusters to choose among.
    mels, fmin, fmax, window, hop, frames
        The spectrogram, [2, frames, mels]: bands, hertz, seconds. Longer recordings are cut,
        shorter ones padded and masked.
    channels, strides, kernel, axis
        Of the convolutions, whose kernels run along time or along the mel bands (the source only
        says that the order of time is kept); the last of them gives ``width``.
    tokens
        Of a text, special ones counted; longer ones are cut.
    width, heads, dropout
        Of both blocks and of the fusion.
    arousal_depths, valence_depths
        Self-attention layers of the regressors that are tried.
    pairs
        Those of the blocks that emotion models are made of.
    rare_below
        Labels with fewer samples than this part of the most frequent one get augmented copies,
        half of them changed in their audio, half in their text, half in both.
    modality_dropout
        None in the paper. Without it, audio is removed as silence and text as mask tokens; with it
        "absent" is something that the model has seen, and the planted truth can be compared.
    regression, emotion, few
        How regressors, emotion models, and emotion models on few labels are trained.
    few_labels, seeds
        Clips with an emotion label in the comparison of transfer with training from scratch, and
        how often it is made.
    seed
        Of the split, or of all that is drawn of synthetic speech.
    """

    parts: tuple[float, float, float] = (8, 1, 1)
    fewest: int = 100
    bodies: int = 400
    clusters: tuple[int, ...] = (2, 3, 4, 5, 6, 7, 8)
    mels: int = 128
    fmin: float = 100.0
    fmax: float = 8000.0
    window: float = 0.032
    hop: float = 0.010
    frames: int = 512
    channels: tuple[int, ...] = (128, 256, 512)
    strides: tuple[int, ...] = (1, 1, 1, 1)
    kernel: int = 5
    axis: Literal["time", "mel"] = "time"
    tokens: int = 64
    width: int = 768
    heads: int = 8
    dropout: float = 0.1
    arousal_depths: tuple[int, ...] = (5, 6, 7, 8)
    valence_depths: tuple[int, ...] = (4, 5, 6, 7)
    pairs: tuple[Depths, ...] = ((6, 6), (7, 6), (7, 5))
    rare_below: float = 1.0
    modality_dropout: float = 0.0
    regression: FitSettings = field(default_factory=lambda: FitSettings(20, 1e-4))
    emotion: FitSettings = field(default_factory=lambda: FitSettings(20, 5e-5))
    few: FitSettings = field(default_factory=lambda: FitSettings(20, 5e-5))
    few_labels: int = 500
    seeds: int = 6
    seed: int = 0


PUBLISHED = Settings()
TINY = Settings(
    parts=(2640, 264, 528),
    bodies=150,
    clusters=(2, 3, 4, 5, 6),
    hop=0.016,
    channels=(48, 48, 48),
    strides=(2, 2, 1, 1),
    width=48,
    heads=4,
    dropout=0.0,
    arousal_depths=(6, 7),
    valence_depths=(5, 6),
    rare_below=0.6,
    modality_dropout=0.3,
    regression=FitSettings(6, 1e-3, optimizer="adamw", weight_decay=0.01, schedule="cosine"),
    emotion=FitSettings(6, 1e-3, optimizer="adamw", weight_decay=0.01, schedule="cosine"),
    few=FitSettings(10, 1e-3, optimizer="adamw", weight_decay=0.01, schedule="cosine"),
    few_labels=88,
)
"""The same depths, narrow, for synthetic speech; with the dropout that its truth supposes."""
QUICK = replace(
    TINY,
    parts=(132, 44, 88),
    fewest=12,
    bodies=30,
    clusters=(2, 3),
    width=16,
    channels=(16, 16, 16),
    arousal_depths=(2,),
    valence_depths=(1,),
    pairs=((2, 1),),
    rare_below=1.0,
    regression=replace(TINY.regression, epochs=2),
    emotion=replace(TINY.emotion, epochs=2),
    few=replace(TINY.few, epochs=2),
    few_labels=22,
    seeds=2,
)


def settings_for(options: Options) -> Settings:
    """The paper's settings, or narrow ones for tiny checkpoints; half as deep if small."""
    chosen = PUBLISHED if options.checkpoints != "tiny" else TINY
    if options.quick:
        sizes = QUICK.parts if options.data is None else PUBLISHED.parts
        chosen = replace(QUICK, parts=sizes, fewest=QUICK.fewest if options.data is None else 2)
    elif options.data is not None:
        chosen = replace(chosen, parts=PUBLISHED.parts)
    elif options.checkpoints != "tiny":
        chosen = replace(chosen, parts=TINY.parts)
    if options.encoder_size == "small":
        chosen = replace(
            chosen,
            arousal_depths=tuple(sorted({half(n) for n in chosen.arousal_depths})),
            valence_depths=tuple(sorted({half(n) for n in chosen.valence_depths})),
            pairs=tuple(dict.fromkeys((half(a), half(t)) for a, t in chosen.pairs)),
        )
    return replace(chosen, seeds=options.seeds or chosen.seeds)


def half(depth: int) -> int:
    """Half as many layers, rounded up."""
    return -(-depth // 2)


def audio_block(settings: Settings, depth: int) -> mx.encoders.MelCnnEncoder:
    """Mel and first difference [2, 512, 128], four convolutions, self-attention: [512, 768]."""
    return mx.encoders.MelCnnEncoder(
        dim=settings.width,
        mels=settings.mels,
        fmin=settings.fmin,
        fmax=settings.fmax,
        window=settings.window,
        hop=settings.hop,
        channels=settings.channels,
        layers=len(settings.strides),
        kernel=settings.kernel,
        axis=settings.axis,
        strides=settings.strides,
        attention_layers=depth,
        heads=settings.heads,
        dropout=settings.dropout,
        max_frames=settings.frames,
    )


def text_block(settings: Settings, depth: int, kobert: Any) -> mx.encoders.SequenceEncoder:
    """KoBERT's embeddings, self-attention, a gated recurrent unit: [64, 768]."""
    return mx.encoders.SequenceEncoder(
        mx.encoders.shorten(kobert, 0),
        "attention-gru",
        depth,
        settings.heads,
        settings.dropout,
        settings.width,
    )


def regressor(modality: str, block: Any, dimension: str, mean: float) -> mx.EmotionModel:
    """One block, the mean over time, one linear layer that starts at the mean of the values."""
    labels = mx.labels(dimension, kind="dimensional")
    fusion = mx.fusion.LateFusion({modality: block.dim}, labels)
    bias: Any = fusion.heads[modality].bias
    bias.data.fill_(mean)
    return mx.EmotionModel({modality: block}, fusion, modality_dropout=0.0)


def emotion_model(
    settings: Settings, audio: Any, text: Any, emotions: Sequence[str]
) -> mx.EmotionModel:
    """[B, 512, 768] and [B, 64, 768] concatenated in time, self-attention, one linear layer."""
    labels: Labels = mx.labels(*emotions)
    fusion = mx.fusion.FusionTransformer(
        {"audio": settings.width, "text": settings.width},
        labels,
        width=settings.width,
        layers=1,
        heads=settings.heads,
        dropout=settings.dropout,
        projection="identity",
    )
    return mx.EmotionModel({"audio": audio, "text": text}, fusion, settings.modality_dropout)

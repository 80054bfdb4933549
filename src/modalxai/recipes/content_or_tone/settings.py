"""The settings of recipe S0: those for the published checkpoints, and those of the tiny form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from modalxai.errors import InputError
from modalxai.recipes.options import Options
from modalxai.training import FitSettings

EMOTIONS = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
"""MELD's seven."""
TEXT_REMOVALS, AUDIO_REMOVALS = ("mask", "empty"), ("silence", "noise")
"""The masking experiment: [MASK] tokens or an empty sentence; silence or noise."""
SCRATCH = ("mel-cnn", "byte-text", "mfcc", "waveform-cnn")
"""Encoders that learn from nothing; all others come from `Checkpoints`."""

TRAINING = FitSettings(
    epochs=5, lr=2e-5, batch_size=32, micro_batch=8, optimizer="adamw", weight_decay=0.01
)
SCRATCH_TRAINING = FitSettings(
    epochs=20, lr=5e-4, batch_size=32, optimizer="adamw", weight_decay=0.01, schedule="cosine"
)
TUNING = FitSettings(epochs=2, lr=2e-5, optimizer="adamw", schedule="cosine")

Kind = Literal["synthetic", "meld", "manifest"]


@dataclass(frozen=True)
class Settings:
    """Everything that decides the figures; the defaults are for the published checkpoints.

    The source names the data, the encoders, the removals and the analyses. It gives no fusion, no
    schedule and no rates: those here are declared choices.

    Parameters
    ----------
    encoders
        Audio and text encoder, joined by ``+``; one alone for a model of one modality.
    alternative
        The other model, whose time-frequency maps are looked at; ``None`` for the first model's.
    scratch
        By encoder that learns from nothing its settings.
    trainable
        What learns of encoders from checkpoints: ``"all"`` or ``"none"``, by modality.
    hidden
        Of the fusion: pooled vectors, concatenated, one hidden layer.
    modality_dropout
        Departure from the source, which needs it: only a model that has seen "absent" can be held
        against a planted truth, or asked without a modality at all. 0 turns it off; then removals
        are those of the masking experiment alone.
    training, scratch_training
        Of models from checkpoints, and of those that learn from nothing. On data with a
        validation part the epoch with the highest macro F1 there is kept.
    tuning
        Of a corrected, and of a slimmer model: it goes on from the trained one.
    balance
        Weight of the penalty on shares, of `modalxai.training.BalancedEvidence`.
    bias
        On synthetic speech, how often the raters of the biased corpus write anger when they hear
        sarcasm, whatever is said.
    donors
        Draws of the marginal removal.
    explained
        Utterances whose words and segments are explained.
    budget
        Encodings for an utterance's words, and for its segments; exact up to nine of them.
    edited
        Utterances whose prosody is edited; 0 leaves it out.
    pictured
        Utterances whose spectrograms are explained.
    timed
        Utterances that are timed, one by one.
    train, test, phrase
        Samples of the synthetic parts, and of the Korean one.
    phrase_speakers
        Unseen voices that say the phrase in each tone.
    noise
        Decibels of signal over noise in the noisy half of the test part; a situation.
    most
        Samples of each part of a real corpus, ``None`` for all.
    memory
        Up to so many samples, inputs (and features of what does not learn) are kept in memory.
    seed
        Of the first weights, of the order of training, and of the data: other voices, or other
        speakers held out.
    """

    encoders: str = "wav2vec2+distilbert"
    alternative: str | None = "mel-cnn+distilbert"
    scratch: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    trainable: Mapping[str, str] = field(default_factory=lambda: {"audio": "all", "text": "all"})
    hidden: int = 256
    modality_dropout: float = 0.25
    training: FitSettings = TRAINING
    scratch_training: FitSettings = SCRATCH_TRAINING
    tuning: FitSettings = TUNING
    balance: float = 2.0
    bias: float = 0.8
    donors: int = 16
    explained: int = 64
    budget: int = 512
    edited: int = 24
    pictured: int = 64
    timed: int = 20
    train: int = 2000
    test: int = 480
    phrase: int = 640
    phrase_speakers: int = 12
    noise: float = 0.0
    most: int | None = None
    memory: int = 4000
    seed: int = 0


PUBLISHED = Settings()
TINY = replace(
    PUBLISHED,
    scratch={
        "mel-cnn": {"dim": 64, "channels": 64, "hop": 0.016, "attention_layers": 0, "dropout": 0.0},
        "byte-text": {"dim": 32, "layers": 1, "dropout": 0.0},
    },
    # Frozen, so that every recording and sentence is encoded once for all models.
    trainable={"audio": "none", "text": "none"},
    hidden=128,
    training=FitSettings(
        epochs=30, lr=1e-2, batch_size=32, optimizer="adamw", weight_decay=0.01, schedule="cosine"
    ),
    scratch_training=FitSettings(
        epochs=10, lr=2e-3, batch_size=32, optimizer="adamw", weight_decay=0.01, schedule="cosine"
    ),
    tuning=FitSettings(epochs=6, lr=5e-3, optimizer="adamw", weight_decay=0.01, schedule="cosine"),
)
"""For tiny checkpoints and synthetic speech: a rate for weights that are nearly new."""


def kind_of(data: Path | None) -> Kind:
    """What data those are.

    Raises
    ------
    InputError
        Neither MELD's csv files nor a ``manifest.csv`` are there.
    """
    if data is None:
        return "synthetic"
    if any(data.rglob("*_sent_emo.csv")):
        return "meld"
    if (data / "manifest.csv").is_file():
        return "manifest"
    raise InputError(
        f"{data} is no corpus that this recipe reads",
        expected="MELD as unpacked (train_sent_emo.csv and so on), or a folder with manifest.csv",
        got=str(sorted(one.name for one in data.iterdir())[:8]) if data.is_dir() else "a file",
        mend="give one of them, or no data for synthetic speech",
    )


def has_clips(data: Path) -> bool:
    """Whether a folder of MELD holds sound, not the csv files alone."""
    return any(data.rglob("*.mp4"))


def settings_for(options: Options) -> Settings:
    """The settings of a run: by checkpoints, by data, and for the quick form less of all.

    MELD without clips is read as text. A manifest is small and of any language: its encoders
    learn from nothing, unless published checkpoints are asked for.

    Raises
    ------
    InputError
        No corpus that it reads.
    """
    chosen = PUBLISHED if options.checkpoints == "published" else TINY
    kind = kind_of(options.data)
    if kind == "meld" and options.data is not None and not has_clips(options.data):
        chosen = replace(chosen, encoders="distilbert", alternative=None)
    if kind == "meld" and chosen is not PUBLISHED:
        chosen = replace(
            chosen,
            trainable={"audio": "none", "text": "all"},
            training=replace(chosen.training, epochs=5, lr=1e-3),
            tuning=replace(chosen.tuning, epochs=1, lr=1e-3),
        )
    if kind == "manifest" and options.checkpoints != "published":
        chosen = replace(
            chosen,
            encoders="mel-cnn+byte-text",
            alternative=None,
            scratch={
                "mel-cnn": {"dim": 64, "channels": 64, "hop": 0.016, "attention_layers": 0},
                "byte-text": {"dim": 64},
            },
            # Small batches: on so few recordings large ones stay at chance for long.
            scratch_training=replace(chosen.scratch_training, epochs=30, lr=1e-3, batch_size=4),
            tuning=replace(chosen.tuning, epochs=4, lr=3e-4, batch_size=8),
            # Recordings of many seconds: each version of one takes as long as all the rest.
            explained=12,
            budget=128,
            edited=6,
        )
    if options.quick:
        chosen = replace(
            chosen,
            training=replace(chosen.training, epochs=1),
            scratch_training=replace(chosen.scratch_training, epochs=1),
            tuning=replace(chosen.tuning, epochs=1),
            donors=4,
            explained=3,
            edited=1,
            pictured=4,
            timed=2,
            train=160,
            test=60,
            phrase=64,
            phrase_speakers=2,
            most=120,
        )
    return chosen

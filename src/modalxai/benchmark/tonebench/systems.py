"""A small model for each family and seed: mel-cnn, byte-text, biosignals, a fusion that attends.

The encoders come from `teachers` and stay as they are; a body's is learnt with the fusion, which
learns the family's rule, with modality dropout. The fusion is ``fusion-transformer``: attention
over the vectors of all modalities, so that there is an attention mass to be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import modalxai as mx
from modalxai.benchmark.tonebench.settings import Settings
from modalxai.benchmark.tonebench.teachers import (
    HEARD,
    Clips,
    Stored,
    encoded,
    hearing,
    language,
    loaded,
    reading,
    train,
)
from modalxai.biosignals import Biosignal
from modalxai.datasets.tonebench import Family
from modalxai.datasets.tonebench.biosignals import Body, record
from modalxai.model import EmotionModel

Sample = Mapping[str, Any]

DROPOUT = 0.2
SEGMENT = {"SPUR": 0.2, "LOCAL": 0.4}
"""Seconds of a moment of the voice, 0.3 elsewhere."""
WINDOW, RATE = 4.0, 4.0
"""Seconds of a window of the skin conductance, and samples per second."""


def build(
    family: Family, settings: Settings, taught: Mapping[str, Path] | None = None
) -> EmotionModel:
    """A model whose fusion is untrained; draws from torch's global generator.

    Parameters
    ----------
    taught
        By modality the folder of its teacher.
    """
    dim, segment = settings.dim, SEGMENT.get(family.name, 0.3)
    encoders: dict[str, Any] = {"audio": hearing(settings, segment), "text": reading(settings)}
    for name, folder in (taught or {}).items():
        weights: Any = loaded(folder, name)
        encoders[name].load_state_dict(weights.state_dict())
    if "bio" in family.modalities:
        encoders["bio"] = mx.encoders.BiosignalEncoder(
            dim=dim, channels=1, window=WINDOW, sample_rate=RATE, spread=[0.2], hidden=dim,
            dropout=0.0,
        )  # fmt: skip
    encoders = {name: encoders[name] for name in family.modalities}
    fusion = mx.fusion.FusionTransformer(
        dict.fromkeys(encoders, dim),
        mx.labels(*family.rule().labels),
        width=dim,
        kernel=1,
        heads=2,
        dropout=0.0,
    )
    return EmotionModel(encoders, fusion, DROPOUT)


def learn(
    family: Family,
    seed: int,
    settings: Settings,
    taught: Mapping[str, Path],
    folder: Path,
) -> EmotionModel:
    """A family's model, in eval mode.

    Parameters
    ----------
    taught
        By modality the folder of its teacher.
    folder
        Where a killed training goes on.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(family, settings, taught)
    clips = Clips.load(taught["audio"])
    rows = samples_of(family, seed, settings)
    texts = encoded(model, "text", [one["text"] for one in rows])
    held: dict[str, Any] = {"audio": Stored(clips.features), "text": Stored(texts)}
    for name in model.modalities:
        held.setdefault(name, model.encoder(name))
    source = family.name if family.name in ("SPUR", "LOCAL") else "TONE"
    drawn = clips.drawn(source, rows, np.random.default_rng([seed, 17]))
    samples = [
        {"id": one["id"], "labels": one["labels"], "audio": clip, "text": row}
        | ({"bio": one["bio"]} if "bio" in one else {})
        for row, (one, clip) in enumerate(zip(rows, drawn, strict=True))
    ]
    known = EmotionModel(held, model.fusion, model.modality_dropout)
    hard = len(model.modalities) if family.interacts else 1
    train(known, samples, hard * settings.epochs, seed, folder)
    return model.eval()


def samples_of(family: Family, seed: int, settings: Settings) -> list[dict[str, Any]]:
    """Training samples without recordings: whose clip fits is drawn later."""
    corpus = family.corpus(
        settings.texts,
        train=True,
        speakers=HEARD,
        seed=seed,
        # Where there is nothing to learn, labels are one rater's, as they would be.
        soft=family.name != "NULL",
        language=language(seed),
    )
    rows = [corpus.row(row) for row in range(len(corpus))]
    if "bio" in family.modalities:
        for place, one in enumerate(rows):
            one["bio"] = _felt(one, np.random.default_rng([seed, 19, place]))
    return rows


def _felt(row: Sample, generator: np.random.Generator) -> Biosignal:
    """Skin conductance as the corpus has it, around the recording's mean."""
    felt = record("eda", row["eda_state"], Body.of(row["speaker"]), generator)
    level = np.nanmean(felt.values, axis=-1, keepdims=True)
    return Biosignal(felt.values - level, felt.rate, baseline=np.zeros(1))


def raws_of(samples: Sequence[Sample], modality: str) -> list[Any]:
    """Raw values of one modality."""
    return [one[modality] for one in samples]

"""The models of recipe S0: built, trained within a stage, and made smaller."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

import modalxai as mx
from modalxai.errors import InputError
from modalxai.metrics import macro_f1
from modalxai.recipes.checkpoints import Checkpoints
from modalxai.recipes.content_or_tone.data import Corpus
from modalxai.recipes.content_or_tone.settings import SCRATCH, Settings
from modalxai.recipes.memory import Remembered, Shelf
from modalxai.training import EmotionLoss, FitSettings, Objective, fit

BATCH = 32

Losing = Callable[[mx.EmotionModel], Objective]


def plain(model: mx.EmotionModel) -> Objective:
    """Cross-entropy."""
    return Objective(model, EmotionLoss())


def modalities(encoders: str) -> dict[str, str]:
    """Audio and text encoder of ``"wav2vec2+distilbert"``, or the only one, by modality.

    Raises
    ------
    InputError
        More than two, or one alone that is not for text.
    """
    names = encoders.split("+")
    if len(names) not in (1, 2) or not all(names):
        raise InputError(
            "encoders that make no model",
            expected="AUDIO+TEXT, or one text encoder",
            got=repr(encoders),
            mend="'wav2vec2+distilbert', say",
        )
    return {"text": names[0]} if len(names) == 1 else {"audio": names[0], "text": names[1]}


def build(
    encoders: str,
    emotions: Sequence[str],
    settings: Settings,
    checkpoints: Checkpoints,
    without: str | None = None,
) -> mx.EmotionModel:
    """A model with new weights wherever no checkpoint gives them.

    Parameters
    ----------
    encoders
        See `modalities`.
    without
        A modality that is left out.
    """
    # The caller's generators are as before.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        made: dict[str, Any] = {}
        for modality, name in modalities(encoders).items():
            if modality == without:
                continue
            if name in SCRATCH:
                made[modality] = mx.plugins.create(
                    "encoders", name, **settings.scratch.get(name, {})
                )
            else:
                learns: Any = settings.trainable[modality]
                made[modality] = checkpoints.encoder(name, trainable=learns)
        fusion = mx.fusion.ShallowFusion(
            {name: one.dim for name, one in made.items()},
            mx.labels(*emotions),
            hidden=settings.hidden,
            dropout=0.0,
        )
    # Of a single modality "absent" says how often each label occurs.
    return mx.EmotionModel(made, fusion, modality_dropout=settings.modality_dropout)


def training_of(encoders: str, settings: Settings) -> FitSettings:
    """Longer where the audio encoder, or all there is, learns from nothing."""
    first = next(iter(modalities(encoders).values()))
    return settings.scratch_training if first in SCRATCH else settings.training


def train(
    model: mx.EmotionModel,
    corpus: Corpus,
    training: FitSettings,
    folder: Path,
    *,
    losing: Losing = plain,
    memory: int = 0,
    title: str | None = None,
) -> mx.EmotionModel:
    """Train in place; a killed training in ``folder`` goes on.

    Parameters
    ----------
    losing
        The objective of a model.
    memory
        Up to so many samples are kept collated, and encoded where an encoder does not learn.
    """
    known, dev = within(corpus.train, model), within(corpus.dev, model)
    light = _in_memory(model, [*known, *dev]) if len(known) + len(dev) <= memory else model

    def score() -> float:
        said = light.predict(dev, BATCH).scores.argmax(-1).tolist()
        names = [next(iter(dev[row]["labels"])) for row in range(len(dev))]
        return macro_f1(names, [corpus.emotions[column] for column in said])

    step = losing(light).to(model.device)
    fit(
        step, known, light.collate, training,
        validate=score if len(dev) else None, folder=folder, title=title,
    )  # fmt: skip
    return model


def within(samples: Any, model: mx.EmotionModel) -> Any:
    """The samples without recordings, for a model that hears nothing."""
    return samples if "audio" in model.modalities or not len(samples) else _Read(samples)


class _Read(Dataset[Any]):
    def __init__(self, samples: Any) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(index)  # which ends a loop over it
        return {key: value for key, value in self.samples[index].items() if key != "audio"}


def _in_memory(model: mx.EmotionModel, samples: Sequence[Any]) -> mx.EmotionModel:
    """The same model, weights and all, over inputs that are made once."""
    encoders: dict[str, Any] = {}
    for name in model.modalities:
        encoder: Any = model.encoder(name)
        learns = any(weight.requires_grad for weight in encoder.parameters())
        raws = [sample.get(name) for sample in samples]
        shelf = Shelf(encoder.collate, raws, None if learns else encoder.eval())
        encoders[name] = Remembered(encoder, shelf)
    return mx.EmotionModel(encoders, model.fusion, model.modality_dropout)


def layers_of(model: mx.EmotionModel, modality: str) -> int:
    """How many numbered layers an encoder has; 0 where they cannot be taken away one by one."""
    inner = getattr(model.encoder(modality), "model", None)
    config = getattr(inner, "config", None)
    counts = [getattr(config, name, 0) for name in ("num_hidden_layers", "n_layers")]
    return int(max(counts)) if isinstance(inner, nn.Module) else 0


def shortened(model: mx.EmotionModel, modality: str, layers: int) -> mx.EmotionModel:
    """A copy whose encoder of a modality keeps its lowest layers."""
    made = copy.deepcopy(model)
    encoder: Any = made.encoder(modality)
    mx.encoders.shorten(encoder, layers)
    return made


def parameters(model: mx.EmotionModel) -> int:
    """How many numbers it holds."""
    return sum(weight.numel() for weight in model.parameters())


def halved(settings: FitSettings) -> FitSettings:
    """Half the epochs: what a model of one modality needs."""
    return replace(settings, epochs=max(1, settings.epochs // 2))

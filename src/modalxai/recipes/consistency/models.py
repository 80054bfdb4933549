"""The models that recipe S2 compares: which encoders, which fusion, which words in training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

import modalxai as mx
from modalxai import plugins
from modalxai.datasets.columns import column
from modalxai.protocols import Samples
from modalxai.recipes.checkpoints import Checkpoints
from modalxai.recipes.consistency.settings import Settings
from modalxai.recipes.memory import Remembered, Shelf
from modalxai.training import ConsistencyObjective, EmotionLoss, Objective

TRUE = "true text"
FUSIONS = {
    "shallow": "Shallow Fusion",
    "fusion-transformer": "Fusion Transformer",
    "crossmodal-transformer": "Multimodal Transformer",
}
"""By plugin, as the paper calls them."""


@dataclass(frozen=True)
class System:
    """One line of the comparison.

    Parameters
    ----------
    key
        Its folder.
    name
        As tables call it.
    audio, text
        Encoders; ``None`` where the modality is not used.
    fusion
        A plugin.
    words
        On which words it is trained, validated and tested: the true ones, or a recogniser's.
    consistency
        Trained on the true words with the consistency loss towards the recogniser's, on which it
        is then validated and tested.
    sequence
        Convolution and transformer over the encoders' vectors.
    """

    key: str
    name: str
    audio: str | None
    text: str | None
    fusion: str
    words: str = TRUE
    consistency: bool = False
    sequence: bool = False


BASELINES = (
    System("audio-mfcc", "Audio only, MFCC", "mfcc", None, "late", sequence=True),
    System("audio-wav2vec2", "Audio only, wav2vec 2.0", "wav2vec2", None, "late", sequence=True),
    System("text-fasttext", "Text only, FastText", None, "fasttext", "late", sequence=True),
    System("text-hanbert", "Text only, HanBERT", None, "hanbert", "late", sequence=True),
    System("mfcc-fasttext", "Shallow Fusion, MFCC + FastText", "mfcc", "fasttext", "shallow",
           sequence=True),
)  # fmt: skip


def fused(fusion: str, words: str = TRUE, consistency: bool = False) -> System:
    """wav2vec 2.0 and HanBERT in one of the three fusions."""
    where = words.replace(" ", "-")
    kind = "consistency" if consistency else "plain"
    key = f"{fusion}/{where}" if words == TRUE else f"{fusion}/{where}-{kind}"
    return System(key, FUSIONS[fusion], "wav2vec2", "hanbert", fusion, words, consistency)


SHALLOW = fused("shallow")
"""The model that the paper's contributions are of: Shallow Fusion on true text."""


def systems(settings: Settings) -> tuple[System, ...]:
    """Every model of one seed, in the order of the tables."""
    heard = [one.name for one in settings.recognisers]
    return (
        *BASELINES,
        *(fused(fusion) for fusion in FUSIONS),
        *(
            fused(fusion, name, consistency)
            for name in heard
            for consistency in (False, True)
            for fusion in FUSIONS
        ),
    )


class Maker:
    """Makes models; keeps in memory what several of them read.

    Parameters
    ----------
    settings
        Widths, layers, and what learns.
    checkpoints
        Where wav2vec 2.0, HanBERT and FastText come from.
    labels
        Of every model.
    samples
        Of the whole corpus: what is kept in memory.
    columns
        Where else texts are.
    """

    def __init__(
        self,
        settings: Settings,
        checkpoints: Checkpoints,
        labels: tuple[str, ...],
        samples: Samples,
        columns: Mapping[str, str],
    ) -> None:
        self.settings, self.checkpoints, self.labels = settings, checkpoints, labels
        self.samples, self.columns = samples, columns
        self._shelves: dict[str, Shelf] = {}
        self._frozen: dict[str, nn.Module] = {}

    def model(self, system: System, seed: int, dropout: float | None = None) -> mx.EmotionModel:
        """A model with new weights wherever no checkpoint gives them.

        Parameters
        ----------
        system
            Which.
        seed
            Of the new weights. The caller's generators are as before.
        dropout
            Modality dropout; the settings' for ``None``.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoders = {
                name: self._encoder(name, plugin, system.sequence)
                for name, plugin in (("audio", system.audio), ("text", system.text))
                if plugin is not None
            }
            fusion = self.fusion(system.fusion, {name: one.dim for name, one in encoders.items()})
        chosen = self.settings.modality_dropout if dropout is None else dropout
        return mx.EmotionModel(encoders, fusion, modality_dropout=chosen)

    def fusion(self, name: str, dims: Mapping[str, int]) -> Any:
        """One of the three, or the head of a single modality."""
        chosen = self.settings
        labels = mx.labels(*self.labels)
        if name == "late":
            return plugins.create("fusion", name, dims=dims, labels=labels)
        if name == "shallow":
            # Mean over time of the audio vectors, first token of the text.
            pool = {"audio": "mean", "text": "first"}
            return plugins.create(
                "fusion",
                name,
                dims=dims,
                labels=labels,
                pool=pool,
                hidden=chosen.width,
                dropout=chosen.dropout,
            )
        return plugins.create(
            "fusion",
            name,
            dims=dims,
            labels=labels,
            width=chosen.width,
            kernel=chosen.kernel,
            layers=chosen.layers,
            heads=chosen.heads,
            dropout=chosen.dropout,
        )

    def objective(self, model: mx.EmotionModel, column: str | None = None) -> Objective:
        """Cross-entropy; with the consistency loss where a recogniser's column is named."""
        if column is None:
            return Objective(model, EmotionLoss())
        chosen = self.settings
        return ConsistencyObjective(
            model,
            EmotionLoss(),
            weight=chosen.weight,
            direction=chosen.direction,
            stop_gradient=chosen.stop_gradient,
            recognised=column,
        )

    def _encoder(self, modality: str, name: str, sequence: bool) -> Any:
        chosen = self.settings
        if name == "mfcc":
            made = plugins.create(
                "encoders",
                name,
                dim=chosen.baseline_width,
                sequence="cnn-transformer",
                sequence_layers=chosen.sequence_layers,
                heads=chosen.heads,
                dropout=chosen.dropout,
            )
            return self._remembered(modality, name, made)
        made = self._checkpoint(modality, name)
        instead = modality == "audio" and chosen.audio_trainable == "none"
        if not sequence and not instead:
            return made
        return plugins.create(
            "encoders",
            "sequence",
            encoder=made,
            sequence="cnn-transformer",
            sequence_layers=chosen.sequence_layers,
            heads=chosen.heads,
            dropout=chosen.dropout,
            dim=chosen.baseline_width,
        )

    def _checkpoint(self, modality: str, name: str) -> Any:
        chosen = self.settings
        trainable = chosen.audio_trainable if modality == "audio" else chosen.text_trainable
        if trainable != "none":
            made = self.checkpoints.encoder(name, trainable=trainable)
            return self._remembered(modality, name, made)
        # One for all models: nobody changes it, and what it draws hangs on none of their seeds.
        if name not in self._frozen:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                made = self.checkpoints.encoder(name, trainable="none")
            self._frozen[name] = self._remembered(modality, name, made, frozen=True)
        return self._frozen[name]

    def _remembered(
        self, modality: str, name: str, encoder: Any, frozen: Literal[True, False] = False
    ) -> Any:
        if len(self.samples) > self.settings.memory:
            return encoder
        if name not in self._shelves:
            columns = [modality, *(self.columns.values() if modality == "text" else ())]
            raws = [raw for one in columns for raw in column(self.samples, one)]
            self._shelves[name] = Shelf(encoder.collate, raws, encoder.eval() if frozen else None)
        return Remembered(encoder, self._shelves[name])

"""Read by mypy only: lines marked ``# refused`` must be refused, all others must pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from torch import Tensor, nn

import modalxai as mx
from modalxai.encoders import (
    ByteTextEncoder,
    DistilBertEncoder,
    MelCnnEncoder,
    TransformersTextEncoder,
    Wav2Vec2Encoder,
)
from modalxai.fusion import LateFusion, ShallowFusion
from modalxai.games import ModelGame
from modalxai.protocols import (
    Attributor,
    Encoder,
    FactoredGame,
    Fusion,
    Game,
    Removable,
    Split,
    Staged,
)
from modalxai.testing.games import TableGame
from modalxai.types import Batch, Features, Inputs, Labels, Prediction


def encoders(
    a: MelCnnEncoder,
    b: ByteTextEncoder,
    c: Wav2Vec2Encoder,
    d: DistilBertEncoder,
    e: TransformersTextEncoder,
) -> list[Encoder[Any]]:
    removable: list[Removable] = [a, b, c, d, e]
    staged: Staged = c
    return [a, b, c, d, e]


def fusions(a: ShallowFusion, b: LateFusion) -> list[Fusion]:
    split: list[Split[Tensor]] = [a, b]
    return [a, b]


def games(a: ModelGame, b: TableGame) -> FactoredGame:
    either: list[Game] = [a, b]
    return a


def attributors() -> list[Attributor]:
    return [
        mx.attribution.ModalityShapley(),
        mx.attribution.ModalityAblation(),
        mx.attribution.GradCAM(),
        mx.attribution.FeatureDifference(),
    ]


def what_the_checker_sees(model: mx.EmotionModel, batch: Batch) -> Tensor:
    prediction: Prediction = model.fuse(model.encode(batch))
    features: Features = model.encoder("audio")(batch["audio"])
    return prediction.scores + features.values.sum()


class WrongForward(nn.Module):
    """An encoder whose ``forward`` returns a tensor: ``nn.Module.__call__`` alone would hide it."""

    dim = 3

    def collate(self, raws: Sequence[str | None]) -> Inputs:
        return {}

    def forward(self, inputs: Inputs) -> Tensor:
        return inputs["x"]

    def save_pretrained(self, folder: str | Path) -> None: ...

    @classmethod
    def from_pretrained(cls, checkpoint: str | Path) -> Self:
        return cls()


class WithoutJoin(nn.Module):
    """A fusion that reads a tensor where features come."""

    labels: Labels = ()
    dims: Mapping[str, int] = {}

    def forward(self, features: Tensor) -> Prediction:
        return Prediction(features, ())

    def save_pretrained(self, folder: str | Path) -> None: ...

    @classmethod
    def from_pretrained(cls, checkpoint: str | Path) -> Self:
        return cls()


class NoAttributor:
    def attribute(self, game: Game) -> Tensor:
        return game.present


encoder: Encoder[Any] = WrongForward()  # refused
fusion: Fusion = WithoutJoin()  # refused
attributor: Attributor = NoAttributor()  # refused
label: mx.Label = mx.Label("anger", "categorial")  # refused
audio: mx.Audio = mx.Audio([0.0], channel="left")  # refused

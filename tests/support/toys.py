"""The smallest parts that make a real model: vectors in, vectors out, every row countable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from modalxai import masking
from modalxai.encoders import ByteTextEncoder, MelCnnEncoder
from modalxai.errors import RemovalError
from modalxai.fusion import LateFusion, ShallowFusion
from modalxai.model import EmotionModel
from modalxai.types import Audio, Features, Label, Prediction, Spans, labels

MIXED = (
    labels("anger", "joy", "fear")
    + labels("tired", kind="binary")
    + labels("valence", kind="dimensional")
)


@dataclass(frozen=True)
class VectorCollate:
    """Rows of vectors [T, D], padded."""

    dim: int

    def __call__(self, raws: Sequence[Tensor | None]) -> dict[str, Tensor]:
        rows = [torch.zeros(0, self.dim) if raw is None else raw for raw in raws]
        values, mask = masking.pad(rows)
        return {"values": values, "mask": mask}


class VectorEncoder(nn.Module):
    """Each vector [D] by itself through one nonlinear layer; unit i lies at i..i+1."""

    removals = ("zero", "noise")
    kinds = ("item", "pair")

    def __init__(self, dim: int = 4, width: int = 3) -> None:
        super().__init__()
        self.dim = width
        self.collate = VectorCollate(dim)
        self.layer = nn.Linear(dim, width)

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        mask = inputs["mask"]
        values = masking.blank(self.layer(inputs["values"]).tanh(), mask)
        return Features(values, mask, _places(mask, 1))

    def units(self, inputs: dict[str, Tensor], kind: str) -> Spans:
        if kind not in self.kinds:
            raise RemovalError("unknown kind", expected=str(self.kinds), got=kind, mend="choose")
        return _places(inputs["mask"], 1 + (kind == "pair"))

    def remove(
        self, inputs: dict[str, Tensor], units: Spans, keep: Tensor, how: str, seed: Any
    ) -> dict[str, Tensor]:
        values, mask = inputs["values"].clone(), inputs["mask"]
        for row in range(len(values)):
            noise = torch.zeros_like(values[row])
            if how == "noise":
                draw = torch.Generator().manual_seed(seed[row])
                # Drawn vector by vector, so that padding does not change what a row gets.
                noise = torch.stack([torch.randn(values.shape[-1], generator=draw) for _ in noise])
            for at in range(values.shape[1]):
                gone = (units.start[row] < at + 1) & (units.end[row] > at) & ~keep[row]
                if mask[row, at] and gone.any():
                    values[row, at] = noise[at]
        return {**inputs, "values": values}


def _places(mask: Tensor, size: int) -> Spans:
    count = -(-mask.shape[1] // size)
    lengths = mask.sum(1, keepdim=True)
    start = (torch.arange(count) * size).expand(len(mask), count)
    start, end = start.minimum(lengths), (start + size).minimum(lengths)
    return Spans(start.float(), end.float(), "index")


class JointFusion(nn.Module):
    """No Split: every vector of every modality attends to a query, in one layer."""

    def __init__(self, dims: dict[str, int], found: Sequence[Label]) -> None:
        super().__init__()
        self.dims, self.labels = dims, tuple(found)
        self.maps = nn.ModuleDict({name: nn.Linear(dim, 6) for name, dim in dims.items()})
        self.query = nn.Parameter(torch.randn(6))
        self.empty = nn.Parameter(torch.randn(6))
        self.head = nn.Linear(6, len(self.labels))

    def forward(self, features: dict[str, Features]) -> Prediction:
        vectors = [self.maps[name](features[name].values) for name in self.dims]
        masks = [features[name].mask for name in self.dims]
        rows = len(masks[0])
        values = torch.cat([self.empty.expand(rows, 1, 6), *vectors], dim=1).tanh()
        mask = torch.cat([torch.ones(rows, 1).bool(), *masks], dim=1)
        weights = (values @ self.query).masked_fill(~mask, -torch.inf).softmax(1)
        return Prediction(self.head((weights[..., None] * values).sum(1)), self.labels)


FUSIONS = {"shallow": ShallowFusion, "late": LateFusion, "joint": JointFusion}


def randomize(module: nn.Module) -> None:
    """Every parameter random, so that nothing is right by being zero."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.7)


def vector_model(
    count: int = 2,
    fusion: str = "shallow",
    found: Sequence[Label] = MIXED,
    dropout: float = 0.1,
    **settings: Any,
) -> EmotionModel:
    """A model over ``count`` modalities of vectors, named a, b, c, ..."""
    names = "abcdef"[:count]
    encoders = {name: VectorEncoder(4, 3 + index) for index, name in enumerate(names)}
    dims = {name: encoder.dim for name, encoder in encoders.items()}
    model = EmotionModel(encoders, FUSIONS[fusion](dims, found, **settings), dropout)
    randomize(model)
    return model


def vector_samples(count: int = 4, names: str = "ab", missing: bool = False) -> list[dict]:
    """Samples of different lengths; with ``missing`` every third lacks a modality."""
    draw = torch.Generator().manual_seed(7)
    samples = []
    for index in range(count):
        sample: dict = {"id": f"u{index}"}
        for place, name in enumerate(names):
            length = 1 + (2 * index + 3 * place) % 5
            sample[name] = torch.randn(length, 4, generator=draw)
        if missing and index % 3 == 1:
            sample[names[(index // 3) % len(names)]] = None
        samples.append(sample)
    return samples


def speech_model(
    fusion: str = "shallow", audio: nn.Module | None = None, text: nn.Module | None = None
) -> EmotionModel:
    """mel-cnn and byte-text at their smallest, or other encoders."""
    small = {"dim": 8, "mels": 8, "channels": 8, "layers": 2, "strides": (2, 2), "heads": 2}
    audio = audio or MelCnnEncoder(**small, segment_seconds=0.1)
    text = text or ByteTextEncoder(dim=8, layers=1, heads=2)
    dims = {"audio": audio.dim, "text": text.dim}
    model = EmotionModel({"audio": audio, "text": text}, FUSIONS[fusion](dims, MIXED))
    randomize(model.fusion)
    return model


def speech_samples(count: int = 4, seconds: float = 0.2) -> list[dict]:
    """Noise that grows longer and texts that grow longer."""
    draw = torch.Generator().manual_seed(3)
    texts = ["so far", "참 잘했다.", "no", "what a lovely day", "well, well"]
    return [
        {
            "id": f"u{index}",
            "audio": Audio(
                torch.randn(int(16_000 * seconds * (1 + index)), generator=draw) * 0.1, 16_000
            ),
            "text": texts[index % len(texts)],
            "speaker": f"s{index % 2}",
        }
        for index in range(count)
    ]


class Rows:
    """Counts the rows that reach each encoder and the fusion's join, by hooks."""

    def __init__(self, model: EmotionModel) -> None:
        self.encoded = dict.fromkeys(model.modalities, 0)
        self.handles = [
            model.encoders[name].register_forward_pre_hook(self._counter(name))
            for name in model.modalities
        ]

    def _counter(self, name: str) -> Any:
        def count(_module: nn.Module, args: tuple[Any, ...]) -> None:
            self.encoded[name] += len(next(iter(args[0].values())))

        return count

    def __enter__(self) -> Rows:
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()


def with_values(features: Features, values: Tensor) -> Features:
    return replace(features, values=values)

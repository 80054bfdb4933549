"""The same model in other coordinates: an encoder's vectors changed, and the fusion's undone."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from modalxai import masking
from modalxai.errors import InputError
from modalxai.protocols import Removable, Split
from modalxai.types import Features, Inputs, Prediction, Spans

Model = TypeVar("Model", bound=nn.Module)
MEMORY_BYTES = 1 << 28
"""Bytes of encodings that are kept from one set of coordinates to the next."""


@dataclass(frozen=True, eq=False)
class Coordinates:
    """``h -> h A^T + b``, and back.

    Parameters
    ----------
    matrix, inverse
        Float64 [D, D], A and what undoes it.
    offset
        Float64 [D], b.
    """

    matrix: Tensor
    inverse: Tensor
    offset: Tensor

    def there(self, values: Tensor) -> Tensor:
        """[..., D] in the new coordinates."""
        return values @ self.matrix.to(values).T + self.offset.to(values)

    def back(self, values: Tensor) -> Tensor:
        """[..., D] in the old coordinates."""
        return (values - self.offset.to(values)) @ self.inverse.to(values).T


def plain(width: int) -> Coordinates:
    """Nothing changed."""
    one = torch.eye(width, dtype=torch.float64)
    return Coordinates(one, one, torch.zeros(width, dtype=torch.float64))


@dataclass(eq=False)
class Memory:
    """What encoders gave, by what they were given, up to `MEMORY_BYTES`.

    For explaining one state of the weights, in eval mode and without gradients.
    """

    features: dict[bytes, Features] = field(default_factory=dict)
    bytes: int = 0

    def get(self, name: str, encoder: nn.Module, inputs: Inputs) -> Features:
        """The encoder's features; every equal question is encoded once."""
        key = _digest(name, inputs)
        if key not in self.features:
            found: Features = encoder(inputs)
            size = found.values.numel() * found.values.element_size()
            if self.bytes + size > MEMORY_BYTES:
                return found
            self.features[key] = found
            self.bytes += size
        return self.features[key]


def reparametrised(
    model: Model, coordinates: Mapping[str, Coordinates], memory: Memory | None = None
) -> Model:
    """The same function of the samples, present or absent, from other vectors.

    Parameters
    ----------
    model
        An `EmotionModel`; it is not changed. Its encoders are shared, in whatever precision they
        have; the fusion is copied into float64, since adding and taking away a vector in float32
        costs as many digits as it is long.
    coordinates
        By modality. Padding stays zero, masks stay as they are, and a `Split` fusion's vector for
        an absent modality moves along.
    memory
        Shared between models that differ in coordinates alone, so that each input is encoded once;
        each time it is asked for where ``None``.

    Raises
    ------
    InputError
        Coordinates of other modalities or widths than the model's.
    """
    whole: Any = model
    widths = {name: len(to.offset) for name, to in coordinates.items()}
    if widths != dict(whole.fusion.dims):
        raise InputError(
            "coordinates that do not fit the model",
            expected=f"one for each of {dict(whole.fusion.dims)} (modality: width)",
            got=str(widths),
            mend="make them with the widths of model.fusion.dims",
        )
    encoders = nn.ModuleDict(
        {
            name: _encoder(name, encoder, coordinates[name], memory)
            for name, encoder in whole.encoders.items()
        }
    )
    inner = copy.deepcopy(whole.fusion).double()
    kind = _SplitFusion if isinstance(inner, Split) else _Fusion
    fusion = kind(inner, dict(coordinates))
    # What the memo holds is taken as copied already: parts of the user's are neither copied nor
    # changed.
    memo: dict[int, Any] = {id(whole.encoders): encoders, id(whole.fusion): fusion}
    return copy.deepcopy(model, memo)


def _encoder(name: str, encoder: nn.Module, to: Coordinates, memory: Memory | None) -> nn.Module:
    kind = _RemovableEncoder if isinstance(encoder, Removable) else _Encoder
    return kind(name, encoder, to, memory)


class _Encoder(nn.Module):
    """An encoder whose vectors are in other coordinates."""

    def __init__(self, name: str, encoder: Any, to: Coordinates, memory: Memory | None) -> None:
        super().__init__()
        self.encoder = encoder
        self.dim, self.collate = encoder.dim, encoder.collate
        self._name, self._to, self._memory = name, to, memory

    def forward(self, inputs: Inputs) -> Features:
        features: Features
        if self._memory is None:
            features = self.encoder(inputs)
        else:
            features = self._memory.get(self._name, self.encoder, inputs)
        values = masking.blank(self._to.there(features.values.double()), features.mask)
        return replace(features, values=values)


class _RemovableEncoder(_Encoder):
    """One that removes units of its input."""

    def __init__(self, name: str, encoder: Any, to: Coordinates, memory: Memory | None) -> None:
        super().__init__(name, encoder, to, memory)
        self.removals, self.kinds = tuple(encoder.removals), tuple(encoder.kinds)

    def units(self, inputs: Inputs, kind: str) -> Spans:
        found: Spans = self.encoder.units(inputs, kind)
        return found

    def remove(
        self, inputs: Inputs, units: Spans, keep: Tensor, how: str, seed: int | Sequence[int]
    ) -> Inputs:
        found: Inputs = self.encoder.remove(inputs, units, keep, how, seed)
        return found


class _Fusion(nn.Module):
    """A fusion that reads vectors in other coordinates."""

    def __init__(self, fusion: Any, to: Mapping[str, Coordinates]) -> None:
        super().__init__()
        self.fusion = fusion
        self.dims, self.labels = dict(fusion.dims), tuple(fusion.labels)
        self._to = dict(to)

    def _back(self, modality: str, features: Features) -> Features:
        values = self._to[modality].back(features.values.double())
        return replace(features, values=masking.blank(values, features.mask))

    def forward(self, features: Mapping[str, Features]) -> Prediction:
        found: Prediction = self.fusion(
            {name: self._back(name, features[name]) for name in features}
        )
        return found


class _SplitFusion(_Fusion):
    """One in two stages, that has a vector for an absent modality."""

    @property
    def missing(self) -> dict[str, Tensor]:
        return {name: to.there(self.fusion.missing[name].detach()) for name, to in self._to.items()}

    def project(self, modality: str, features: Features) -> Any:
        return self.fusion.project(modality, self._back(modality, features))

    def join(self, projected: Mapping[str, Any]) -> Prediction:
        found: Prediction = self.fusion.join(projected)
        return found


def _digest(name: str, inputs: Inputs) -> bytes:
    digest = hashlib.blake2b(name.encode(), digest_size=16)
    for part, value in sorted(inputs.items()):
        digest.update(f"{part} {value.dtype} {tuple(value.shape)}".encode())
        whole = value.detach().cpu().contiguous().reshape(-1)
        digest.update(whole.view(torch.uint8).numpy().tobytes())
    return digest.digest()

"""An encoder and raw values to try it with: what the checks of an encoder are called with."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from modalxai.errors import InputError
from modalxai.protocols import Removable
from modalxai.testing.compare import CLOSE, mapped
from modalxai.testing.conformance import NotApplicable
from modalxai.testing.examples import examples_for
from modalxai.testing.parts import PartCase
from modalxai.types import Features


@dataclass(frozen=True, eq=False)
class EncoderCase(PartCase):
    """See `modalxai.testing.check_encoder`."""

    original: Any
    raws: tuple[Any, ...]
    tolerance: float = CLOSE

    @classmethod
    def make(
        cls, encoder: Any, raws: Sequence[Any] | None = None, *, tolerance: float = CLOSE
    ) -> EncoderCase:
        """Check the arguments, and find raw values where none are given."""
        given = [] if raws is None else [raw for raw in raws if raw is not None]
        if raws is not None and len(given) < 2:
            raise InputError(
                "too few raw values to check an encoder with",
                expected="two or more, of different lengths, besides None",
                got=str(len(given)),
                mend="give three; what is missing the checks add themselves",
            )
        own = getattr(encoder, "examples", None)
        if not given and callable(own):
            given = list(own())
        found = tuple(given) if given else examples_for(encoder.collate, encoder.dim)
        return cls(encoder, found, tolerance)

    @property
    def batch(self) -> list[Any]:
        """The raw values, and a missing one in the second place."""
        return [self.raws[0], None, *self.raws[1:]]

    def collate(self, raws: Sequence[Any]) -> dict[str, Tensor]:
        """Copies of raw values, collated by the copy of the encoder."""
        return dict(self.part.collate(copy.deepcopy(list(raws))))

    def make_inputs(self) -> dict[str, Tensor]:
        """The batch, collated."""
        return self.collate(self.batch)

    def others(self) -> dict[str, Tensor]:
        """The last two raw values, collated the other way round."""
        return self.collate(self.raws[:-3:-1])

    def nothing(self) -> dict[str, Tensor]:
        """Two missing values, collated."""
        return self.collate([None, None])

    def result(self, output: Features) -> Tensor:
        """Values [B, T, D]."""
        return output.values

    def facts(self, part: Any) -> dict[str, Any]:
        """What must come back from a folder besides the weights."""
        inputs = dict(part.collate(copy.deepcopy(self.batch)))
        settings = getattr(part, "settings", dict)
        units = {}
        if isinstance(part, Removable):
            units = {kind: part.units(inputs, kind) for kind in part.kinds}
        return {
            "dim": part.dim,
            "settings": settings() if callable(settings) else {},
            "what collate gives": inputs,
            "the units": units,
            "which weights learn": {n: w.requires_grad for n, w in part.named_parameters()},
        }

    def encode(self, raws: Sequence[Any]) -> Features:
        """Features of raw values, in eval, without gradients."""
        found: Features = self.outputs(self.collate(raws))
        return found

    @property
    def features(self) -> Features:
        """Of the batch."""
        found: Features = self.output
        return found

    @cached_property
    def alone(self) -> list[dict[str, Tensor]]:
        """Each row of the batch collated by itself."""
        return [self.collate([raw]) for raw in self.batch]

    def longest(self) -> int:
        """The place among the raw values of the one with the largest input, the others shorter."""
        sizes = [sum(value.numel() for value in self.collate([raw]).values()) for raw in self.raws]
        place = max(range(len(sizes)), key=sizes.__getitem__)
        if min(sizes) == max(sizes):
            raise NotApplicable("the raw values are of one length, so nothing is ever padded")
        return place

    def padding(self, name: str, row: int) -> Tensor:
        """Bool, like row ``row`` of input ``name``: True where there is nothing of its own."""
        value = self._inputs[name][row]
        padding = torch.ones(value.shape, dtype=torch.bool)
        if self.batch[row] is not None:
            own = self.alone[row][name][0].shape
            padding[tuple(slice(0, size) for size in own)] = False
        return padding


def rows_of(inputs: Mapping[str, Tensor], rows: Sequence[int]) -> dict[str, Tensor]:
    """Some rows of an input, in the order asked for."""
    index = torch.tensor(rows)
    found: dict[str, Tensor] = mapped(dict(inputs), lambda leaf: leaf[index])
    return found


def real(features: Features, row: int) -> Tensor:
    """The real vectors of one row, [T_row, D]."""
    return features.values[row][features.mask[row]]

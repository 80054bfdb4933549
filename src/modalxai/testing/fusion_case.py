"""A fusion and features to try it with: what the checks of a fusion are called with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

import torch
from torch import Tensor

from modalxai import masking
from modalxai.errors import InputError
from modalxai.testing.compare import CLOSE, mapped
from modalxai.testing.parts import PartCase
from modalxai.types import Features, Prediction, Spans, labels

WIDTHS = {"audio": 5, "text": 3, "signal": 4}
LABELS = (
    labels("anger", "joy", "sad")
    + labels("tired", kind="binary")
    + labels("valence", kind="dimensional")
)
"""What a class of fusions is made with."""
LENGTHS = (5, 2, 1, 6, 3)
MOST = 4
"""Above so many modalities, not every subset is tried."""
Batch = dict[str, Features]


@dataclass(frozen=True, eq=False)
class FusionCase(PartCase):
    """See `modalxai.testing.check_fusion`."""

    original: Any
    tolerance: float = CLOSE

    @classmethod
    def make(cls, fusion: Any, *, tolerance: float = CLOSE) -> FusionCase:
        """A case of a fusion, or of what makes one from ``dims`` and ``labels``."""
        made = fusion
        if isinstance(fusion, type) or not hasattr(fusion, "forward"):
            if not callable(fusion):
                raise InputError(
                    "nothing that the kit can check",
                    expected="a fusion, or what makes one: fusion(dims, labels)",
                    got=type(fusion).__name__,
                    mend="write check_fusion(MyFusion), or check_fusion(MyFusion(dims, labels))",
                )
            made = fusion(dict(WIDTHS), LABELS)
        return cls(made, tolerance)

    @property
    def dims(self) -> dict[str, int]:
        """Width of each modality, in order."""
        return dict(self.original.dims)

    @cached_property
    def present(self) -> list[tuple[bool, ...]]:
        """Of each row, which modalities are there: every subset, all of them first."""
        count = len(self.dims)
        if count <= MOST:
            return list(product((True, False), repeat=count))
        lacking = [tuple(at != gone for at in range(count)) for gone in range(count)]
        return [(True,) * count, *lacking, (False,) * count]

    def features(self, seed: int, padding: int = 0) -> Batch:
        """Features of every modality, [B, T, D], lengths differing, with holes.

        A hole is a vector that was removed: its mask is False in the midst of real ones.
        """
        found = {}
        for place, (name, width) in enumerate(self.dims.items()):
            draw = torch.Generator().manual_seed(100 * seed + place)
            rows = []
            for row, present in enumerate(self.present):
                length = LENGTHS[(row + 2 * place + seed) % len(LENGTHS)] if present[place] else 0
                rows.append(torch.randn(length, width, generator=draw))
            values, mask = masking.pad(rows)
            mask[0, 1:2] &= mask[0].sum() < 3
            values = masking.lengthen(masking.blank(values, mask), values.shape[1] + padding)
            found[name] = placed(values, masking.lengthen(mask, values.shape[1]))
        return found

    def make_inputs(self) -> Batch:
        """A batch in which every subset of the modalities is there once."""
        return self.features(0)

    def others(self) -> Batch:
        """Other values, other lengths."""
        return self.features(1)

    def nothing(self) -> Batch:
        """Two rows of nothing."""
        return {
            name: placed(torch.zeros(2, 3, width), torch.zeros(2, 3, dtype=torch.bool))
            for name, width in self.dims.items()
        }

    def everything(self) -> Batch:
        """The first row: every modality is there."""
        return rows_of(self.inputs(), [0])

    def result(self, output: Prediction) -> Tensor:
        """Scores [B, K]."""
        return output.scores

    def facts(self, part: Any) -> dict[str, Any]:
        """What must come back from a folder besides the weights."""
        settings = getattr(part, "settings", dict)
        return {
            "labels": tuple(part.labels),
            "dims": dict(part.dims),
            "the order of dims": list(part.dims),
            "settings": settings() if callable(settings) else {},
            "which weights learn": {n: w.requires_grad for n, w in part.named_parameters()},
        }

    @property
    def scores(self) -> Tensor:
        """Of the batch, [B, K]."""
        return self.result(self.output)


def placed(values: Tensor, mask: Tensor) -> Features:
    """Features whose vectors lie at index 0, 1, ..."""
    start = torch.arange(mask.shape[1], device=mask.device).expand(mask.shape).to(values.dtype)
    return Features(values, mask, Spans(start, start + mask.to(values.dtype), "index"))


def rows_of(batch: Mapping[str, Features], rows: list[int]) -> Batch:
    """Some rows of features, in the order asked for."""
    index = torch.tensor(rows)
    found: Batch = mapped(dict(batch), lambda leaf: leaf[index])
    return found


def trimmed(batch: Mapping[str, Features]) -> Batch:
    """Features without the padding that no row needs, at least one long."""
    found = {}
    for name, one in batch.items():
        used = one.mask.any(0).nonzero()
        length = int(used.max()) + 1 if len(used) else 1
        found[name] = placed(one.values[:, :length], one.mask[:, :length])
    return found


def with_values(batch: Mapping[str, Features], values: Mapping[str, Tensor]) -> Batch:
    """The same features with other values."""
    return {name: replace(one, values=values[name]) for name, one in batch.items()}

"""Inputs of many models in memory: every text is tokenised once, every recording encoded once.

The compared models of recipe S2 read the same utterances a hundred times. What no model changes is
made once: the collated inputs, and the features of an encoder in which nothing learns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from modalxai.encoders.trainable import settle
from modalxai.errors import InputError
from modalxai.model import EmotionModel
from modalxai.protocols import Collate
from modalxai.types import Features, Inputs

TOKENWISE = ("input_ids", "attention_mask", "start", "end", "word", "special", "first", "count")
"""Inputs of text encoders with one number per token, [B, T]."""


@dataclass(frozen=True)
class RowCollate:
    """Raw values to the numbers of their rows, -1 for a missing one."""

    rows: Mapping[Any, int]

    def __call__(self, raws: Sequence[Any]) -> dict[str, Tensor]:
        """``row`` int64 [B].

        Raises
        ------
        InputError
            A value that is not in memory; ``index`` is its place.
        """
        found = []
        for index, raw in enumerate(raws):
            if raw is not None and raw not in self.rows:
                raise InputError(
                    "a raw value that is not in memory",
                    expected="one of the corpus",
                    got=repr(raw)[:80],
                    mend="read other values with the model that forget gives",
                    index=index,
                )
            found.append(-1 if raw is None else self.rows[raw])
        return {"row": torch.tensor(found)}


class Shelf:
    """What the encoders of one kind read, row by row.

    Parameters
    ----------
    collate
        The encoders' common one.
    raws
        Everything that will be asked for: texts, or the very `Audio` objects of the samples.
    frozen
        An encoder in which nothing learns: its features are kept instead of the inputs.
    batch_size
        Rows encoded at once.
    """

    def __init__(
        self,
        collate: Collate[Any],
        raws: Sequence[Any],
        frozen: nn.Module | None = None,
        batch_size: int = 64,
    ) -> None:
        known = list(dict.fromkeys(raw for raw in raws if raw is not None))
        self.collate = RowCollate({raw: row for row, raw in enumerate(known)})
        # A missing value comes last, where -1 finds it; all rows are padded to one length.
        self.inputs: Inputs = collate([*known, None])
        self.features: Features | None = None
        if frozen is not None:
            count = len(known) + 1
            parts = []
            with torch.no_grad():
                for start in range(0, count, batch_size):
                    rows = slice(start, start + batch_size)
                    parts.append(frozen({name: one[rows] for name, one in self.inputs.items()}))
            self.features = pytree.tree_map(lambda *one: torch.cat(one), parts[0], *parts[1:])
            self.inputs = {}


class Remembered(nn.Module):
    """An encoder that takes its inputs, or its features, from a `Shelf`; see `forget`."""

    def __init__(self, encoder: nn.Module, shelf: Shelf) -> None:
        super().__init__()
        self.encoder: Any = encoder
        self.shelf = shelf
        self.collate = shelf.collate
        settle(self)

    @property
    def dim(self) -> int:
        """Width D of the vectors."""
        return int(self.encoder.dim)

    def forward(self, inputs: Inputs) -> Features:
        """The features of rows, values [B, T, D]."""
        device = inputs["row"].device
        rows = inputs["row"].cpu()
        if self.shelf.features is not None:
            kept: Features = pytree.tree_map(lambda one: one[rows], self.shelf.features)
            return kept.to(device)
        read = trimmed({name: one[rows] for name, one in self.shelf.inputs.items()})
        found: Features = self.encoder({name: one.to(device) for name, one in read.items()})
        return found


def trimmed(inputs: Inputs) -> Inputs:
    """Texts without the padding that none of the rows needs; other inputs as they are."""
    mask = inputs.get("attention_mask")
    if mask is None:
        return inputs
    longest = max(1, int(mask.sum(1).max()))
    return {name: one[:, :longest] if name in TOKENWISE else one for name, one in inputs.items()}


def forget(model: EmotionModel) -> EmotionModel:
    """The same model with encoders that read any raw value; changed in place."""
    for name in model.modalities:
        encoder: Any = model.encoders[name]
        if isinstance(encoder, Remembered):
            model.encoders[name] = encoder.encoder
        elif isinstance(getattr(encoder, "encoder", None), Remembered):
            encoder.encoder = encoder.encoder.encoder
    return model

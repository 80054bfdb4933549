"""What encoders and fusions return: `Spans`, `Features`, `Prediction`.

Axis letters, used in every docstring: B samples, T units of a modality (padded), U players of a
modality, D width, K output columns, L explained columns, M modalities, R draws, ``...`` coalitions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from modalxai.types.label import Labels, columns

SpanUnit = Literal["seconds", "characters", "index"]
"""What `Spans` are measured in."""


class _Node:
    """Moves with its tensors; every subclass is a pytree node (DDP, FSDP2, export, compile)."""

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """The same value with every tensor on ``device``."""

        def move(leaf: Any) -> Any:
            if isinstance(leaf, Tensor):
                return leaf.to(device, non_blocking=non_blocking)
            return leaf

        moved: Self = pytree.tree_map(move, self)
        return moved


@dataclass(frozen=True, eq=False)
class Spans(_Node):
    """Where each unit lies in the raw input.

    Parameters
    ----------
    start, end
        Float [B, T], in ``unit``; ``end`` is exclusive. A row's padding has ``end == start``.
    unit
        ``"seconds"`` (audio, biosignals), ``"characters"`` (text) or ``"index"``.
    low, high
        Float [B, T], hertz, of a time-frequency tile; ``None`` where there is no frequency.
    names
        Per sample the name of each real unit (a word, say); empty where unknown.
    """

    start: Tensor
    end: Tensor
    unit: SpanUnit
    low: Tensor | None = None
    high: Tensor | None = None
    names: tuple[tuple[str, ...], ...] = ()

    @property
    def mask(self) -> Tensor:
        """Bool [B, T], True where a unit is real: it has an extent."""
        return self.end > self.start


@dataclass(frozen=True, eq=False)
class Features(_Node):
    """One modality, encoded.

    Parameters
    ----------
    values
        Float [B, T, D], zero where ``mask`` is False.
    mask
        Bool [B, T], True where a vector is real. A missing modality is a row of False.
    spans
        Where each vector lies in the raw input, [B, T].
    """

    values: Tensor
    mask: Tensor
    spans: Spans


@dataclass(frozen=True, eq=False)
class Prediction(_Node):
    """Raw scores and what their columns mean.

    Parameters
    ----------
    scores
        Float [B, K]: logits of categorical and binary labels, values of dimensional ones.
    labels
        Column k means ``labels[k]``.
    """

    scores: Tensor
    labels: Labels

    def probabilities(self) -> Tensor:
        """Probabilities [B, K]: softmax over the categorical columns, sigmoid of each binary one.

        Dimensional columns keep their value.
        """
        result = self.scores.clone()
        if categorical := columns(self.labels, "categorical"):
            result[..., categorical] = self.scores[..., categorical].softmax(-1)
        if binary := columns(self.labels, "binary"):
            result[..., binary] = self.scores[..., binary].sigmoid()
        return result


def _register(cls: type[Any], children: tuple[str, ...], context: tuple[str, ...]) -> None:
    # A child that is None goes into the context, so that every leaf of the tree is a tensor.
    def flatten(node: Any) -> tuple[list[Any], Any]:
        present = tuple(name for name in children if getattr(node, name) is not None)
        fixed = tuple(getattr(node, name) for name in context)
        return [getattr(node, name) for name in present], (present, fixed)

    def unflatten(values: Any, kept: Any) -> Any:
        present, fixed = kept
        fields = dict.fromkeys(children) | dict(zip(present, values, strict=True))
        return cls(**fields, **dict(zip(context, fixed, strict=True)))

    def flatten_with_keys(node: Any) -> tuple[list[Any], Any]:
        values, kept = flatten(node)
        keys = [pytree.GetAttrKey(name) for name in kept[0]]
        return list(zip(keys, values, strict=True)), kept

    pytree.register_pytree_node(
        cls,
        flatten,
        unflatten,
        serialized_type_name=f"modalxai.{cls.__name__}",
        flatten_with_keys_fn=flatten_with_keys,
    )


_register(Spans, ("start", "end", "low", "high"), ("unit", "names"))
_register(Features, ("values", "mask", "spans"), ())
_register(Prediction, ("scores",), ("labels",))

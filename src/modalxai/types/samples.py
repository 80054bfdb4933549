"""What goes in: `Audio`, the sample, and the `Batch` a model reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

Inputs = Mapping[str, Tensor]
"""One encoder's input: tensors whose first axis is B."""

Sample = Mapping[str, Any]
"""One utterance: ``id``, ``labels``, a raw value per modality, and any further columns."""


class EditedSample(dict[str, Any]):
    """A copy of a sample with some of its players removed, made to ask a model about it.

    Unlike a user's own sample it may lack every modality, and one ``"id"`` may occur often.

    Parameters
    ----------
    values
        The sample.
    name
        What this copy is called: different for different copies.
    """

    def __init__(self, values: Sample, name: str) -> None:
        super().__init__(values)
        self.name = name


RESERVED = ("id", "ids", "labels", "targets", "columns")
"""Keys of samples and batches that no modality may take as its name."""


@dataclass(frozen=True, eq=False)
class Audio:
    """A recording.

    Parameters
    ----------
    waveform
        Float, [S] or [C, S], full scale is 1.0: a tensor or a numpy array.
    sample_rate
        Hertz. There is no default rate: a recording without one is refused when collated.
    channel
        Which channel of a multi-channel recording to hear: its number, or ``"mean"``. Needed for
        more than one channel only.
    """

    waveform: Any
    sample_rate: int | None = None
    channel: int | Literal["mean"] | None = None


class Targets(NamedTuple):
    """What the labels say.

    ``values`` float [B, K]: class shares that sum to 1 over the categorical columns, 0..1 for
    binary ones, the value of dimensional ones. ``mask`` bool [B, K]: True where annotated.
    """

    values: Tensor
    mask: Tensor


class Batch(dict[str, Any]):
    """A dict: `Inputs` by modality, ``"targets"``, ``"columns"`` (if there are any), ``"ids"``.

    A plain dict underneath, so that DataLoader pinning, DDP, Accelerate and the transformers
    Trainer move it; ``ids`` comes last because those look for the batch size in the first entry.
    """

    @property
    def ids(self) -> tuple[str, ...]:
        """The samples' ids, in order."""
        return tuple(self["ids"])

    @property
    def targets(self) -> Targets:
        """Annotated values and their mask, each [B, K]."""
        return Targets(*self["targets"])

    @property
    def columns(self) -> dict[str, tuple[Any, ...]]:
        """Further columns of the samples (speaker, say), each of length B."""
        return {name: tuple(values) for name, values in self.get("columns", {}).items()}

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """The same batch with every tensor on ``device``."""

        def move(leaf: Any) -> Any:
            if isinstance(leaf, Tensor):
                return leaf.to(device, non_blocking=non_blocking)
            return leaf

        moved: Self = pytree.tree_map(move, self)
        return moved


def _flatten(batch: Batch) -> tuple[list[Any], Any]:
    return list(batch.values()), tuple(batch)


def _unflatten(values: Any, keys: Any) -> Batch:
    return Batch(zip(keys, values, strict=True))


def _flatten_with_keys(batch: Batch) -> tuple[list[Any], Any]:
    return [(pytree.MappingKey(key), value) for key, value in batch.items()], tuple(batch)


pytree.register_pytree_node(
    Batch,
    _flatten,
    _unflatten,
    serialized_type_name="modalxai.Batch",
    flatten_with_keys_fn=_flatten_with_keys,
)

"""What an explanation asks of the encoders: rows, counted where they arrive."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from modalxai.model import EmotionModel
from modalxai.protocols import Mapped
from modalxai.types import Features


@dataclass(eq=False)
class Rows:
    """Rows that reached each encoder, and those that were answered from memory.

    Parameters
    ----------
    encoded
        By modality, rows that an encoder worked on.
    remembered
        Rows of whole models that a black box was asked for again: see `whole.WholeModel`. They
        would have cost as much as the first time, and are counted as if they had.
    """

    encoded: dict[str, int] = field(default_factory=dict)
    remembered: int = 0

    @property
    def total(self) -> int:
        """All rows of all encoders."""
        return sum(self.encoded.values()) + self.remembered


@contextmanager
def counted(model: EmotionModel) -> Iterator[Rows]:
    """Count the rows that every encoder is given meanwhile; the hooks are gone afterwards.

    Of an encoder that can be entered at its maps (`modalxai.protocols.Mapped`) the rows of its last
    layer are counted too, ``norm``, and the larger count holds: its own call is passed by there.
    """
    rows = Rows(dict.fromkeys(model.modalities, 0))
    tails = dict.fromkeys(model.modalities, 0)

    def watch(name: str, counts: dict[str, int]) -> Any:
        def hook(module: nn.Module, given: Any, found: Any) -> None:
            counts[name] += len(found.mask if isinstance(found, Features) else _tensor(found))

        return hook

    handles = []
    for name, encoder in model.encoders.items():
        handles.append(encoder.register_forward_hook(watch(name, rows.encoded)))
        last = getattr(encoder, "norm", None)
        if isinstance(encoder, Mapped) and isinstance(last, nn.Module):
            handles.append(last.register_forward_hook(watch(name, tails)))
    try:
        yield rows
    finally:
        for handle in handles:
            handle.remove()
        for name, tail in tails.items():
            rows.encoded[name] = max(rows.encoded[name], tail)


def _tensor(found: Any) -> Tensor:
    tensor: Tensor = found
    return tensor

"""Copies of a user's samples with some of the players left."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor

from modalxai.games.asked import Asked
from modalxai.games.donors import Lenders
from modalxai.games.renderings import Recent, Renderings
from modalxai.games.replacing import Replacement
from modalxai.games.source import WHOLE
from modalxai.types import Audio, Spans, SpanUnit
from modalxai.types.samples import EditedSample

Part = tuple[Hashable, ...]
"""What is left of a modality: ``("whole",)``, ``("gone",)``, ``("donor", place)``, or
``("part", division, bits)``. Equal parts of one sample are the same raw value."""
WHOLE_PART: Part = ("whole",)


@dataclass(frozen=True, eq=False)
class Edits:
    """What a function is given instead of the user's samples, which are never changed.

    When no player of a modality is left it is gone as a whole: replaced, or a donor's. When all are
    left it is the user's own raw value. Anything between is rendered by its division.

    Parameters
    ----------
    asked
        The samples.
    removal
        By modality.
    background, lenders
        Under the marginal removals, whose raw values stand in.
    divided
        By modality, its renderings and players, where there are any.
    recent
        What has been rendered.
    """

    asked: Asked
    removal: Mapping[str, Replacement]
    background: Asked | None = None
    lenders: Lenders | None = None
    divided: Mapping[str, tuple[Renderings, Spans]] = field(default_factory=dict)
    recent: Recent = field(default_factory=Recent)

    def select(self, rows: Sequence[int]) -> Edits:
        """Some of the samples."""
        divided = {}
        for name, (renderings, _) in self.divided.items():
            chosen = renderings.select(rows)
            divided[name] = chosen, chosen.units()
        return replace(self, asked=self.asked.select(rows), divided=divided)

    @property
    def present(self) -> Tensor:
        """Bool [B, M]."""
        raws = [self.asked.raws(name) for name in self.asked.modalities]
        return torch.tensor([[raw is not None for raw in column] for column in raws]).T

    @property
    def players(self) -> dict[str, Spans]:
        """By modality, the spans [B, U_m] of its players."""
        return {
            name: self.divided[name][1] if name in self.divided else self._everything(name)
            for name in self.asked.modalities
        }

    def left(self, modality: str, b: int, kept: Sequence[bool]) -> list[Part]:
        """What is left of one modality of sample number b, once per draw where it is drawn.

        Parameters
        ----------
        kept
            U_m booleans, True too for padding players and for those of a missing modality.
        """
        if all(kept):
            return [WHOLE_PART]
        if modality in self.divided:
            renderings, units = self.divided[modality]
            real = units.mask[b].tolist()
            if any(bit and there for bit, there in zip(kept, real, strict=True)):
                players = len(real) - real[::-1].index(True)
                return [("part", cast("Hashable", renderings.division), tuple(kept[:players]))]
        if self.lenders is not None and modality in self.lenders:
            return [("donor", at) for at in self.lenders.of(modality, self.asked.ids[b])]
        return [("gone",)]

    def sample(self, b: int, parts: Sequence[Part]) -> EditedSample:
        """A copy of sample number b with that much of each modality."""
        changed = {
            name: self._raw(name, b, part)
            for name, part in zip(self.asked.modalities, parts, strict=True)
            if part != WHOLE_PART
        }
        return EditedSample({**self.asked.samples[b], **changed}, self.name(b, parts))

    def name(self, b: int, parts: Sequence[Part]) -> str:
        """What that copy is called: different for different parts."""
        left = []
        for name, part in zip(self.asked.modalities, parts, strict=True):
            if part == WHOLE_PART:
                left.append(name)
            elif part[0] == "donor" and self.background is not None:
                left.append(f"{name} of {self.background.ids[cast('int', part[1])]!r}")
            elif part[0] == "part":
                bits = cast("tuple[bool, ...]", part[2])
                left.append(f"{name}{[unit for unit, bit in enumerate(bits) if bit]}")
        return f"{self.asked.ids[b]} left with {', '.join(left) or 'nothing'}"

    def _raw(self, modality: str, b: int, part: Part) -> Any:
        if part[0] == "donor" and self.background is not None:
            return self.background.samples[cast("int", part[1])][modality]
        if part[0] == "part":
            renderings, _ = self.divided[modality]
            key = (modality, self.asked.ids[b], part)
            return self.recent.get(key, lambda: renderings.rendered(b, torch.tensor(part[2])))
        return self.removal[modality].of(self.asked.samples[b][modality])

    def _everything(self, modality: str) -> Spans:
        """One player over the whole modality, [B, 1]."""
        first = next((raw for raw in self.asked.raws(modality) if raw is not None), None)
        unit: SpanUnit = "index"
        if isinstance(first, str | Audio):
            unit = "characters" if isinstance(first, str) else "seconds"
        start = torch.zeros(len(self.asked.ids), 1)
        return Spans(start, torch.full_like(start, WHOLE), unit)

"""One modality of a batch, and every row of it that has been encoded."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from modalxai.games.bank import Bank, References, join_rows, take
from modalxai.games.stages import Stems
from modalxai.pieces import in_pieces
from modalxai.protocols import Split
from modalxai.types import Features, Inputs, Spans

if TYPE_CHECKING:
    from modalxai.model import EmotionModel

WHOLE = 1e9
"""End of the one player of an undivided modality: beyond the end of any recording or text."""
ENCODE_ROWS = 16
"""Removed rows encoded at once, or as many as the batch has."""


class Source:
    """What all divisions of one modality share: its inputs, and the rows encoded so far.

    Parameters
    ----------
    model, modality, inputs, sample_ids
        What is encoded.
    raws
        The raw values, where the samples themselves are known.
    references
        Encodings of wholly removed inputs, shared by the games of a corpus.
    marking
        Whether inputs will be asked about again with units of the encoder's stem blanked out.
    """

    def __init__(
        self,
        model: EmotionModel,
        modality: str,
        inputs: Inputs,
        sample_ids: Sequence[str],
        raws: Sequence[Any] | None,
        references: References,
        marking: bool = False,
    ) -> None:
        self._marking = marking
        self.model = model
        self.modality = modality
        self.inputs = inputs
        self.sample_ids = tuple(sample_ids)
        self.raws = raws
        self.references = references
        self.bank = Bank()
        self._stems = Stems()
        self._full: Features | None = None

    def select(self, rows: Sequence[int]) -> Source:
        """Some of the samples; what is encoded stays encoded."""
        index = torch.tensor(rows, device=self.model.device)
        other = copy(self)
        other.inputs = take(dict(self.inputs), index)
        other.sample_ids = tuple(self.sample_ids[row] for row in rows)
        other.raws = None if self.raws is None else [self.raws[row] for row in rows]
        other._full = None if self._full is None else take(self._full, index)
        return other

    @property
    def full(self) -> Features:
        """Nothing removed, [B, T, D]."""
        if self._full is None:
            self._full = self.encode(self.inputs, keep=self._marking)
        return self._full

    @property
    def encoded(self) -> Features | None:
        """`full`, if it has been asked for."""
        return self._full

    @property
    def present(self) -> Tensor:
        """Bool [B]: the sample has this modality."""
        return self.full.mask.any(1)

    @property
    def everything(self) -> Spans:
        """One unit over the whole modality, [B, 1]."""
        start = self.full.spans.start.new_zeros(len(self.sample_ids), 1)
        return Spans(start, torch.full_like(start, WHOLE), self.full.spans.unit)

    def encode(self, inputs: Inputs, keep: bool = False) -> Features:
        """Inputs to features, in pieces; rows do not see each other.

        ``keep`` is that of `modalxai.games.stages.Stems.encode`.
        """
        count = len(next(iter(inputs.values())))

        def piece(start: int, stop: int) -> Features:
            index = torch.arange(start, stop, device=self.model.device)
            part = inputs if stop - start == count else take(dict(inputs), index)
            staged = self._stems.encode(self.model.encoder(self.modality), part, keep)
            features = self.model.encode_one(self.modality, part) if staged is None else staged
            # Names would have to agree between rows, and nothing reads those of a vector.
            return replace(features, spans=replace(features.spans, names=()))

        parts = in_pieces(count, max(ENCODE_ROWS, len(self.sample_ids)), piece)
        return parts[0] if len(parts) == 1 else cast("Features", join_rows(parts))

    def add(self, keys: Sequence[Any], features: Features) -> None:
        """Put rows into the bank, as the fusion's join reads them."""
        fusion, rows = self.model.fusion, cast("Any", features)
        if isinstance(fusion, Split):
            project, count = fusion.project, len(keys)

            def piece(start: int, stop: int) -> Any:
                index = torch.arange(start, stop, device=features.mask.device)
                part = features if stop - start == count else take(features, index)
                return project(self.modality, part)

            parts = in_pieces(count, count, piece)
            rows = parts[0] if len(parts) == 1 else join_rows(parts)
        self.bank.add(keys, rows)

    def add_originals(self) -> None:
        """Put what nothing was removed from into the bank, named ``("whole", id)``."""
        keys = [("whole", name) for name in self.sample_ids]
        if any(key not in self.bank for key in keys):
            self.add(keys, self.full)

"""One modality of a batch: encoded whole, and with some of its units removed."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from modalxai import masking
from modalxai.audio import seed_for
from modalxai.errors import RemovalError
from modalxai.games.bank import Bank, References, digest, join_rows, take
from modalxai.games.removal import OUTPUT
from modalxai.protocols import Removable, Split
from modalxai.types import Features, Inputs, Spans

if TYPE_CHECKING:
    from modalxai.model import EmotionModel

WHOLE = 1e9
"""End of the one player of an undivided modality: beyond the end of any recording or text."""
ENCODE_ROWS = 16
"""Removed rows encoded at once, or as many as the batch has."""


class Encodings:
    """Rows of one modality, each distinct input encoded once.

    Parameters
    ----------
    model, modality, inputs, sample_ids
        What is encoded.
    how
        The removal.
    outside
        Whether it acts on the encoder's output rather than its input.
    mean
        [D], the background's, under "mean".
    draws, seed
        Of random removals.
    references
        Encodings of wholly removed inputs, shared by the games of a corpus.
    """

    def __init__(
        self,
        model: EmotionModel,
        modality: str,
        inputs: Inputs,
        sample_ids: Sequence[str],
        *,
        how: str,
        outside: bool,
        mean: Tensor | None,
        draws: int,
        seed: int,
        references: References,
    ) -> None:
        self._model = model
        self._modality = modality
        self._inputs = inputs
        self._sample_ids = sample_ids
        self._how = how
        self._outside = outside
        self._mean = mean
        self._draws = draws
        self._seed = seed
        self._references = references
        self._full: Features | None = None
        self._units: Spans | None = None
        self._bank = Bank()

    def divided(self, units: Spans) -> Encodings:
        """The same rows with other units; what is encoded whole stays encoded."""
        other = Encodings(
            self._model,
            self._modality,
            self._inputs,
            self._sample_ids,
            how=self._how,
            outside=self._outside,
            mean=self._mean,
            draws=self._draws,
            seed=self._seed,
            references=self._references,
        )
        other._full, other._units = self._full, units
        return other

    @property
    def full(self) -> Features:
        """Nothing removed, [B, T, D]."""
        if self._full is None:
            self._full = self._encode(self._inputs)
        return self._full

    @property
    def present(self) -> Tensor:
        """Bool [B]: the sample has this modality."""
        return self.full.mask.any(1)

    @property
    def units(self) -> Spans:
        """The players, [B, U]; one over everything unless divided."""
        if self._units is None:
            start = self.full.spans.start.new_zeros(len(self._sample_ids), 1)
            self._units = Spans(start, torch.full_like(start, WHOLE), self.full.spans.unit)
        return self._units

    @property
    def rows(self) -> Any:
        """Everything encoded so far as the fusion's join reads it, a pytree of [P, ...]."""
        return self._bank.rows

    def features(self, keep: Tensor) -> Features:
        """Features [B, T, D] with the units left that ``keep``, bool [B, U], names."""
        rows = torch.arange(len(self._sample_ids), device=keep.device)
        kept = self._effective(keep)
        if self._outside:
            return self._masked(rows, kept)
        return self._encode(self._removed(rows, kept, 0))

    def nothing_left(self) -> list[Features]:
        """Everything removed, [B, T, D], once per draw; a missing modality stays missing."""
        rows = torch.arange(len(self._sample_ids), device=self._model.device)
        nothing = self._effective(torch.zeros_like(self.units.mask))
        return [self._encode(self._removed(rows, nothing, draw)) for draw in range(self._draws)]

    def place(self, keep: Tensor) -> Tensor:
        """Where in `rows` each coalition of ``keep``, bool [..., B, U], lies: [R, ..., B]."""
        samples = len(self._sample_ids)
        kept = self._effective(keep).reshape(-1, samples, keep.shape[-1])
        whole = kept.all(-1)
        nothing = self._nothing(kept, self.units.mask) & ~whole
        bits, every, none = (t.cpu().numpy() for t in (kept, whole, nothing))
        keys: list[Hashable] = []
        new: dict[Hashable, tuple[int, int, int]] = {}
        draws = 1 if self._outside else self._draws
        for draw in range(draws):
            for v in range(len(bits)):
                for b in range(samples):
                    key: Hashable = (draw, b, bits[v, b].tobytes())
                    if every[v, b]:
                        key = ("whole", b)
                    elif none[v, b] and self._how == "absent":
                        key = "absent"
                    elif key not in self._bank:
                        new.setdefault(key, (draw, v, b))
                    keys.append(key)
        if ("whole", 0) not in self._bank:
            self._add([("whole", b) for b in range(samples)], self.full)
        if "absent" in keys and "absent" not in self._bank:
            self._add(["absent"], self._absent())
        for draw in range(draws):
            wanted = [(key, v, b) for key, (at, v, b) in new.items() if at == draw]
            size = max(ENCODE_ROWS, samples)
            for start in range(0, len(wanted), size):
                self._encode_new(wanted[start : start + size], draw, kept, nothing)
        place = torch.tensor([self._bank.place(key) for key in keys], device=keep.device)
        return place.reshape(draws, *keep.shape[:-2], samples)

    def _encode_new(
        self,
        wanted: Sequence[tuple[Hashable, int, int]],
        draw: int,
        kept: Tensor,
        nothing: Tensor,
    ) -> None:
        keys = [key for key, _, _ in wanted]
        rows = torch.tensor([b for _, _, b in wanted], device=kept.device)
        keep = torch.stack([kept[v, b] for _, v, b in wanted])
        if self._outside:
            self._add(keys, self._masked(rows, keep))
            return
        inputs = self._removed(rows, keep, draw)
        marks = [digest(inputs, row) for row in range(len(keys))]
        fresh: dict[bytes, int] = {}
        for row, mark in enumerate(marks):
            if mark in self._bank or mark in fresh:
                continue
            known = self._references.get(self._modality, mark)
            if known is None:
                fresh[mark] = row
            else:
                self._add([mark], known)
        if fresh:
            chosen = torch.tensor(list(fresh.values()), device=kept.device)
            features = self._encode(take(inputs, chosen))
            self._add(list(fresh), features)
            for place, (mark, row) in enumerate(fresh.items()):
                _, v, b = wanted[row]
                if nothing[v, b]:
                    one = take(features, chosen.new_tensor([place]))
                    self._references.put(self._modality, mark, one)
        for key, mark in zip(keys, marks, strict=True):
            self._bank.alias(key, mark)

    def _add(self, keys: Sequence[Hashable], features: Features) -> None:
        fusion, rows = self._model.fusion, cast("Any", features)
        if isinstance(fusion, Split):
            rows = fusion.project(self._modality, features)
        self._bank.add(keys, rows)

    def _encode(self, inputs: Inputs) -> Features:
        count = len(next(iter(inputs.values())))
        size = max(ENCODE_ROWS, len(self._sample_ids))
        parts = []
        for start in range(0, count, size):
            index = torch.arange(start, min(start + size, count), device=self._model.device)
            part = inputs if count <= size else take(dict(inputs), index)
            features = self._model.encode_one(self._modality, part)
            # Names would have to agree between rows, and nothing reads those of a vector.
            parts.append(replace(features, spans=replace(features.spans, names=())))
        return parts[0] if len(parts) == 1 else cast("Features", join_rows(parts))

    def _removed(self, rows: Tensor, keep: Tensor, draw: int) -> Inputs:
        encoder = self._model.encoder(self._modality)
        if not isinstance(encoder, Removable):
            raise RemovalError(
                f"the encoder of {self._modality!r} removes nothing",
                expected="a Removable encoder",
                got=type(encoder).__name__,
                mend=f"use one of {OUTPUT}",
            )
        # The modality's name too, or two voices of one sample would get the same noise.
        names = [f"{self._modality}/{self._sample_ids[b]}" for b in rows.tolist()]
        seeds = [seed_for(name, self._seed, draw) for name in names]
        units = take(replace(self.units, names=()), rows)
        return encoder.remove(take(dict(self._inputs), rows), units, keep, self._how, seeds)

    def _masked(self, rows: Tensor, keep: Tensor) -> Features:
        """Outputs whose centre lies in a removed unit, masked ("absent") or set to the mean."""
        features: Features = take(self.full, rows)
        units: Spans = take(replace(self.units, names=()), rows)
        centre = (features.spans.start + features.spans.end)[..., None] / 2
        inside = (centre >= units.start[:, None]) & (centre < units.end[:, None])
        removed = (inside & ~keep[:, None]).any(-1) & features.spans.mask
        # When every unit goes, so does what none covers (a [CLS] token, a space between words):
        # to remove all words is to remove the text.
        removed = (removed | self._nothing(keep, units.mask)[:, None]) & features.mask
        if self._how == "absent" or self._mean is None:
            mask = features.mask & ~removed
            return replace(features, values=masking.blank(features.values, mask), mask=mask)
        mean = self._mean.to(features.values)
        return replace(features, values=torch.where(removed[..., None], mean, features.values))

    def _absent(self) -> Features:
        """One row of nothing."""
        values = self.full.values.new_zeros(1, 1, self.full.values.shape[-1])
        edge = self.full.spans.start.new_zeros(1, 1)
        empty = torch.zeros_like(edge, dtype=torch.bool)
        low, high = (None, None) if self.full.spans.low is None else (edge, edge)
        return Features(values, empty, Spans(edge, edge, self.full.spans.unit, low, high))

    def _effective(self, keep: Tensor) -> Tensor:
        """Padding players, and the players of a missing modality, count as kept."""
        return keep | ~self.units.mask | ~self.present[:, None]

    def _nothing(self, keep: Tensor, real: Tensor) -> Tensor:
        """Whether no real unit is left, [...]; a row without units has lost nothing."""
        return (~keep | ~real).all(-1) & real.any(-1)

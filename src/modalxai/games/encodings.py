"""One modality of a batch: encoded whole, and with some of its players removed."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from modalxai import masking
from modalxai.audio import seed_for
from modalxai.errors import InputError, RemovalError
from modalxai.games.bank import digest, join_rows, row_bytes, take
from modalxai.games.donors import Donors
from modalxai.games.removal import ABSENT, OUTPUT
from modalxai.games.source import Source
from modalxai.games.versions import Versions
from modalxai.protocols import Removable
from modalxai.types import Features, Inputs, Spans

BANK_BYTES = 1 << 30
"""Bytes of encoded rows that one modality keeps between questions."""
ROWS = 64
"""Rows made ready at once."""


class _Row(NamedTuple):
    """One row to make: a draw, a sample, and which of its players are left."""

    draw: int
    sample: int
    keep: Tensor


class Encodings:
    """Rows of one modality, each distinct input encoded once.

    What a removed player leaves behind:

    - a unit of the input is removed by the encoder, and the rest encoded again;
    - a unit of the output is masked, or takes the background's mean;
    - a player inside the raw value (a `Division`) is rendered, collated and encoded.

    When no player is left the modality is gone as a whole, whatever its players were: absent, a
    donor's, or removed by its encoder.

    Parameters
    ----------
    source
        The modality, and what has been encoded of it.
    how
        The removal.
    outside
        Whether it acts on the encoder's output rather than its input.
    mean
        [D], the background's, under "mean".
    donors
        Who lends what is lost, under the marginal removals.
    draws, seed
        Of random removals.
    max_bytes
        That the rows of one question may take; `BANK_BYTES` for ``None``.
    """

    def __init__(
        self,
        source: Source,
        *,
        how: str,
        outside: bool,
        mean: Tensor | None,
        donors: Donors | None,
        draws: int,
        seed: int,
        max_bytes: int | None = None,
    ) -> None:
        self.source = source
        self._max_bytes = max_bytes
        self._how = how
        self._outside = outside
        self._mean = mean
        self._donors = donors
        self._draws = draws
        self._seed = seed
        self._units: Spans | None = None
        self._versions: Versions | None = None
        self._seeded: bool | None = None

    def divided(self, units: Spans, versions: Versions | None = None) -> Encodings:
        """The same modality with other players; what is encoded stays encoded."""
        other = copy(self)
        other._units, other._versions = units, versions
        return other

    def select(self, rows: Sequence[int]) -> Encodings:
        """Some of the samples; what is encoded stays encoded."""
        other = copy(self)
        other.source = self.source.select(rows)
        if self._versions is not None:
            other._versions = self._versions.select(rows)
        if self._units is not None:
            other._units = _chosen(self._units, rows)
        return other

    @property
    def draws(self) -> int:
        """R, how often what replaces this modality is drawn: 1 if it is never."""
        return self._draws if self._donors is not None or not self._outside else 1

    @property
    def random(self) -> bool:
        """Whether what the encoder leaves depends on the seed; it is tried with two of them.

        A mask or silence is the same however often it is drawn: so it is made and encoded once,
        and adds nothing to the error of the donors beside it.
        """
        if self._outside:
            return False
        if self._seeded is None:
            nothing = torch.zeros_like(self.units.mask)
            first, second = (
                self._removed([_Row(draw, b, nothing[b]) for b in range(len(nothing))], True)
                for draw in range(2)
            )
            rows = range(len(nothing))
            self._seeded = any(digest(first, row) != digest(second, row) for row in rows)
        return self._seeded

    @property
    def units(self) -> Spans:
        """The players, [B, U]; one over everything unless divided."""
        return self.source.everything if self._units is None else self._units

    def fits(self, coalitions: int) -> bool:
        """Whether the rows of so many coalitions fit into the bank."""
        self.source.add_originals()
        rows = coalitions * len(self.source.sample_ids)
        return rows * row_bytes(self.source.bank.rows) <= self._budget

    @property
    def _budget(self) -> int:
        return BANK_BYTES if self._max_bytes is None else self._max_bytes

    def features(self, keep: Tensor) -> Features:
        """Features [B, T, D] with the players left that ``keep``, bool [B, U], names."""
        return self._features(keep, 0)

    def nothing_left(self) -> list[Features]:
        """Everything removed, [B, T, D], once per draw; a missing modality stays missing."""
        nothing = torch.zeros_like(self.units.mask)
        draws = self._draws if self._draws_whole else 1
        return [self._features(nothing, draw) for draw in range(draws)]

    def place(self, keep: Tensor) -> Tensor:
        """Where in the bank each coalition of ``keep``, bool [..., B, U], lies: [R, ..., B]."""
        bank, ids = self.source.bank, self.source.sample_ids
        kept = self._effective(keep).reshape(-1, len(ids), keep.shape[-1])
        whole = kept.all(-1)
        nothing = self._nothing(kept) & ~whole
        draws = self._draws_of(nothing)
        lent = self._lent(nothing)
        ends, marks = self._marks()
        bits, every, none = (t.cpu().numpy() for t in (kept, whole, nothing))
        keys: list[Hashable] = []
        parts: dict[Hashable, _Row] = {}
        gone: dict[Hashable, _Row] = {}
        for draw in range(draws):
            for v in range(len(bits)):
                for b, name in enumerate(ids):
                    if every[v, b]:
                        keys.append(("whole", name))
                    elif none[v, b]:
                        keys.append(self._gone(draw, b, lent))
                        gone.setdefault(keys[-1], _Row(draw, b, kept[v, b]))
                    else:
                        at = draw if self._draws_parts else 0
                        keys.append((marks[b], at, name, bits[v, b, : ends[b]].tobytes()))
                        parts.setdefault(keys[-1], _Row(at, b, kept[v, b]))
        if bank.bytes > self._budget:
            bank.keep(keys)
        self.source.add_originals()
        self._add(gone, nothing=True)
        self._add(parts, nothing=False)
        place = torch.tensor([bank.place(key) for key in keys], device=keep.device)
        return place.reshape(draws, *keep.shape[:-2], len(ids))

    @property
    def originals(self) -> Tensor:
        """Where in the bank the samples lie that nothing was removed from, [B]."""
        self.source.add_originals()
        bank, ids = self.source.bank, self.source.sample_ids
        return self._index([bank.place(("whole", name)) for name in ids])

    # What rows are called. Equal names mean equal rows.

    @property
    def _draws_parts(self) -> bool:
        """Whether removing a part is drawn: what is masked or rendered is not."""
        return self._draws > 1 and self._versions is None and self.random

    def _draws_of(self, nothing: Tensor) -> int:
        gone = bool(nothing.any()) and (self._donors is not None or self._draws_whole)
        return self.draws if self._draws_parts or gone else 1

    @property
    def _draws_whole(self) -> bool:
        """Whether removing everything is drawn by the encoder."""
        return self._draws > 1 and self.random

    def _gone(self, draw: int, sample: int, lent: Sequence[Sequence[int]]) -> Hashable:
        if self._how == ABSENT:
            return ABSENT
        if self._donors is not None:
            return ("donor", lent[sample][draw])
        return ("gone", draw if self._draws_whole else 0, self.source.sample_ids[sample])

    def _lent(self, nothing: Tensor) -> list[list[int]]:
        """Each sample's donors, where it needs any."""
        if self._donors is None:
            return []
        wanted = zip(self.source.sample_ids, nothing.any(0).tolist(), strict=True)
        return [
            self._donors.of(self.source.modality, name) if any_ else [] for name, any_ in wanted
        ]

    def _marks(self) -> tuple[list[int], list[Hashable]]:
        """How many players each sample has, and a name for its division into them."""
        units = self.units
        sides = (units.start, units.end, units.low, units.high)  # tiles have all four
        edges = torch.stack([side for side in sides if side is not None], dim=-1).cpu().numpy()
        real = self.units.mask.cpu()
        ends = [int(row.nonzero().max()) + 1 if bool(row.any()) else 0 for row in real]
        if self._versions is not None:
            return ends, [cast("Hashable", self._versions.division)] * len(ends)
        return ends, [row[:end].tobytes() for row, end in zip(edges, ends, strict=True)]

    # How rows are made.

    def _features(self, keep: Tensor, draw: int) -> Features:
        kept = self._effective(keep)
        nothing = self._nothing(kept)
        order, made = [], []
        for flag in (True, False):
            chosen = (nothing == flag).nonzero().flatten().tolist()
            if chosen:
                found = self._made([_Row(draw, b, kept[b]) for b in chosen], flag)
                if not isinstance(found, Features):
                    found = self._shared(found) if flag else self.source.encode(found)
                made.append(found)
                order += chosen
        if len(made) == 1:
            return made[0]
        joined = cast("Features", join_rows(made))
        return cast("Features", take(joined, torch.tensor(order, device=keep.device).argsort()))

    def _add(self, rows: Mapping[Hashable, _Row], nothing: bool) -> None:
        """Put rows into the bank that are not there; equal inputs are encoded once."""
        wanted = [(key, row) for key, row in rows.items() if key not in self.source.bank]
        for start in range(0, len(wanted), ROWS):
            keys, chosen = zip(*wanted[start : start + ROWS], strict=True)
            made = self._made(chosen, nothing)
            if isinstance(made, Features):
                self.source.add(keys, made)
            elif nothing:
                self.source.add(keys, self._shared(made))
            else:
                self._encode(keys, made)

    def _encode(self, keys: Sequence[Hashable], inputs: Inputs) -> None:
        """Put rows into the bank; inputs that an encoder cannot tell apart are encoded once."""
        bank = self.source.bank
        marks = [digest(inputs, row) for row in range(len(keys))]
        fresh = {mark: row for row, mark in enumerate(marks) if mark not in bank}
        if fresh:
            index = self._index(list(fresh.values()))
            self.source.add(list(fresh), self.source.encode(take(dict(inputs), index)))
        for key, mark in zip(keys, marks, strict=True):
            bank.alias(key, mark)

    def _shared(self, inputs: Inputs) -> Features:
        """Wholly removed inputs [B, ...], each encoded once for the whole corpus."""
        source = self.source
        marks = [digest(inputs, row) for row in range(len(next(iter(inputs.values()))))]
        known = {mark: source.references.get(source.modality, mark) for mark in marks}
        fresh = {mark: row for row, mark in enumerate(marks) if known[mark] is None}
        if fresh:
            index = self._index(list(fresh.values()))
            features = source.encode(take(dict(inputs), index))
            for at, mark in enumerate(fresh):
                known[mark] = take(features, self._index([at]))
                source.references.put(source.modality, mark, cast("Features", known[mark]))
        return cast("Features", join_rows([known[mark] for mark in marks]))

    def _made(self, rows: Sequence[_Row], nothing: bool) -> Features | Inputs:
        """Features where no encoder is needed, else its inputs; all rows gone, or none."""
        if nothing and self._donors is not None:
            return self._lend(rows)
        if not nothing and self._versions is not None:
            ends, _ = self._marks()
            return self._versions.render(
                [row._replace(keep=row.keep[: ends[row.sample]]) for row in rows]
            )
        if self._outside:
            return self._masked(rows, nothing)
        return self._removed(rows, nothing)

    def _lend(self, rows: Sequence[_Row]) -> Features:
        donors, name = cast("Donors", self._donors), self.source.modality
        lent = [donors.of(name, self.source.sample_ids[row.sample])[row.draw] for row in rows]
        return cast("Features", take(donors.features(name), self._index(lent)))

    def _removed(self, rows: Sequence[_Row], nothing: bool) -> Inputs:
        source = self.source
        encoder = source.model.encoder(source.modality)
        if not isinstance(encoder, Removable):
            raise RemovalError(
                f"the encoder of {source.modality!r} removes nothing",
                expected="a Removable encoder",
                got=type(encoder).__name__,
                mend=f"use one of {OUTPUT}",
            )
        # The modality's name too, or two voices of one sample would get the same noise.
        names = [f"{source.modality}/{source.sample_ids[row.sample]}" for row in rows]
        seeds = [
            seed_for(name, self._seed, row.draw) for name, row in zip(names, rows, strict=True)
        ]
        index = self._index([row.sample for row in rows])
        # To remove all units is to remove the modality: also what no unit covers.
        units = take(replace(source.everything if nothing else self.units, names=()), index)
        keep = torch.zeros_like(units.mask) if nothing else torch.stack([row.keep for row in rows])
        return encoder.remove(take(dict(source.inputs), index), units, keep, self._how, seeds)

    def _masked(self, rows: Sequence[_Row], nothing: bool) -> Features:
        """Outputs whose centre lies in a removed unit, masked ("absent") or set to the mean."""
        index = self._index([row.sample for row in rows])
        features: Features = take(self.source.full, index)
        removed = features.mask
        if not nothing:
            keep = torch.stack([row.keep for row in rows])
            units: Spans = take(replace(self.units, names=()), index)
            centre = (features.spans.start + features.spans.end)[..., None] / 2
            inside = (centre >= units.start[:, None]) & (centre < units.end[:, None])
            removed = (inside & ~keep[:, None]).any(-1) & features.spans.mask & features.mask
        if self._how == ABSENT or self._mean is None:
            mask = features.mask & ~removed
            return replace(features, values=masking.blank(features.values, mask), mask=mask)
        mean = self._mean.to(features.values)
        return replace(features, values=torch.where(removed[..., None], mean, features.values))

    def _index(self, rows: Sequence[int]) -> Tensor:
        return torch.tensor(rows, device=self.source.model.device)

    # Which players count.

    def _effective(self, keep: Tensor) -> Tensor:
        """Padding players, and the players of a missing modality, count as kept."""
        return keep | ~self.units.mask | ~self.source.present[:, None]

    def _nothing(self, keep: Tensor) -> Tensor:
        """Whether no real unit is left, [...]; a row without units has lost nothing."""
        real = self.units.mask
        return (~keep | ~real).all(-1) & real.any(-1)


def check_bytes(limit: int | None) -> None:
    """Refuse a limit that is no number of bytes.

    Raises
    ------
    InputError
        It is none.
    """
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise InputError(
            "max_bytes out of range",
            expected="None, or a whole number from 1",
            got=repr(limit),
            mend="1 << 30 is one GiB",
        )


def _chosen(spans: Spans, rows: Sequence[int]) -> Spans:
    """Some rows of spans, padded no more than they need."""
    index = torch.tensor(rows, device=spans.start.device)
    real = spans.mask[index].any(0).nonzero()
    longest = int(real.max()) + 1 if len(real) else 1

    def cut(edge: Any) -> Any:
        return None if edge is None else edge[index, :longest]

    names = tuple(spans.names[row] for row in rows) if spans.names else ()
    return Spans(
        cut(spans.start), cut(spans.end), spans.unit, cut(spans.low), cut(spans.high), names
    )

"""Players inside the raw value: found in each recording or text, and rendered from it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any, Self

import torch
from torch import Tensor

from modalxai import masking
from modalxai.errors import InputError, ModalxaiError
from modalxai.games.source import WHOLE
from modalxai.protocols import Division
from modalxai.types import Spans

RENDERED = 256
"""Raw values that `Recent` keeps: about 160 MB of ten-second clips."""


class Renderings:
    """The raw values of one modality, with some of the players of a division left.

    Parameters
    ----------
    division
        What the players are. Hashable, since equal divisions share what they have rendered.
    modality
        Whose raw values.
    sample_ids, raws
        B names and raw values, ``None`` where missing.

    Raises
    ------
    InputError
        A division that is not hashable.
    """

    def __init__(
        self,
        division: Division[Any],
        modality: str,
        sample_ids: Sequence[str],
        raws: Sequence[Any],
    ) -> None:
        try:
            hash(division)
        except TypeError as error:
            raise InputError(
                f"a division of {modality!r} that is not hashable",
                expected="a frozen dataclass with hashable settings",
                got=type(division).__name__,
                mend="declare it @dataclass(frozen=True)",
            ) from error
        self.division = division
        """What the players are."""
        self._modality = modality
        self._sample_ids = tuple(sample_ids)
        self._raws = list(raws)

    def select(self, rows: Sequence[int]) -> Self:
        """Some of the samples."""
        other = copy(self)
        other._sample_ids = tuple(self._sample_ids[row] for row in rows)
        other._raws = [self._raws[row] for row in rows]
        return other

    def units(self) -> Spans:
        """The players of each sample, [B, U]; a missing one has none.

        Raises
        ------
        ModalxaiError
            What the division cannot divide, by sample.
        """
        found: list[Spans | None] = []
        for row, raw in enumerate(self._raws):
            with self._named(row):
                found.append(None if raw is None else _whole_if_none(self.division.units(raw)))
        known = [spans for spans in found if spans is not None]
        if not known:
            nowhere = torch.zeros(len(found), 1)
            return Spans(nowhere, nowhere, "index")
        nothing = known[0].start.new_zeros(0)
        start, end = (
            masking.pad([nothing if one is None else getattr(one, side)[0] for one in found])[0]
            for side in ("start", "end")
        )
        names = tuple(one.names[0] if one is not None and one.names else () for one in found)
        return Spans(start, end, known[0].unit, names=names)

    def rendered(self, row: int, keep: Tensor) -> Any:
        """The raw value of one sample with the players left that ``keep``, bool [U], names.

        Raises
        ------
        ModalxaiError
            What cannot be rendered, by sample.
        """
        with self._named(row):
            return self.division.render(self._raws[row], keep.cpu())

    @contextmanager
    def _named(self, row: int) -> Iterator[None]:
        try:
            yield
        except ModalxaiError as error:
            raise error.at(f"sample {self._sample_ids[row]!r}, {self._modality}") from error


def _whole_if_none(spans: Spans) -> Spans:
    """One player over everything where the division found none, or nothing could be removed."""
    if bool(spans.mask.any()):
        return spans
    start = spans.start.new_zeros(1, 1)
    return Spans(start, torch.full_like(start, WHOLE), spans.unit)


class Recent:
    """The raw values rendered last, so that a version is not rendered for every coalition."""

    def __init__(self, limit: int = RENDERED) -> None:
        self._limit = limit
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What ``key`` names, made where it is not known."""
        if key not in self._kept:
            self._kept[key] = make()
        self._kept.move_to_end(key)
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)
        return self._kept[key]

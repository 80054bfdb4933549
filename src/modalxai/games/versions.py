"""Players inside the raw value: each version rendered from the recording, then collated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from modalxai import masking
from modalxai.errors import InputError, ModalxaiError
from modalxai.protocols import Division
from modalxai.types import Inputs, Spans

if TYPE_CHECKING:
    from modalxai.model import EmotionModel


class Version(Protocol):
    """Which players of a sample are left."""

    @property
    def sample(self) -> int:
        """Its place."""
        ...

    @property
    def keep(self) -> Tensor:
        """Bool [U]."""
        ...


class Versions:
    """The raw values of one modality, with some of the players of a division left.

    Parameters
    ----------
    division
        What the players are. Hashable, since equal divisions share what they have rendered.
    model, modality
        Whose collate reads what is rendered.
    sample_ids, raws
        B names and raw values, ``None`` where missing.

    Raises
    ------
    InputError
        A division that is not hashable, or no raw values to render.
    """

    def __init__(
        self,
        division: Division[Any],
        model: EmotionModel,
        modality: str,
        sample_ids: Sequence[str],
        raws: Sequence[Any] | None,
    ) -> None:
        if raws is None:
            raise InputError(
                f"the players of {modality!r} lie in its raw values, and there are none",
                expected="a game of samples",
                got="a game of a batch",
                mend="write model.game(samples), not model.game(model.collate(samples))",
            )
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
        self._model = model
        self._modality = modality
        self._sample_ids = tuple(sample_ids)
        self._raws = list(raws)

    def select(self, rows: Sequence[int]) -> Versions:
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
                found.append(None if raw is None else self.division.units(raw))
        known = [spans for spans in found if spans is not None]
        if not known:
            nowhere = torch.zeros(len(found), 1, device=self._model.device)
            return Spans(nowhere, nowhere, "index")
        nothing = known[0].start.new_zeros(0)
        start, end = (
            masking.pad([nothing if one is None else getattr(one, side)[0] for one in found])[0]
            for side in ("start", "end")
        )
        names = tuple(one.names[0] if one is not None and one.names else () for one in found)
        return Spans(start, end, known[0].unit, names=names).to(self._model.device)

    def render(self, rows: Sequence[Version]) -> Inputs:
        """What the encoder reads of each version.

        Raises
        ------
        ModalxaiError
            A version that cannot be rendered or read, by sample.
        """
        raws = []
        for row in rows:
            with self._named(row.sample):
                raws.append(self.division.render(self._raws[row.sample], row.keep.cpu()))
        try:
            inputs = self._model.encoder(self._modality).collate(raws)
        except ModalxaiError as error:
            if error.index is None:
                raise
            name = self._sample_ids[rows[error.index].sample]
            raise error.at(f"sample {name!r}, {self._modality}, edited") from error
        return {name: tensor.to(self._model.device) for name, tensor in inputs.items()}

    @contextmanager
    def _named(self, row: int) -> Iterator[None]:
        try:
            yield
        except ModalxaiError as error:
            raise error.at(f"sample {self._sample_ids[row]!r}, {self._modality}") from error

"""Players inside the raw value: each version rendered from the recording, then collated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

from modalxai.errors import InputError, ModalxaiError
from modalxai.games.renderings import Renderings
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


class Versions(Renderings):
    """Renderings as an encoder of the model reads them.

    Parameters
    ----------
    division
        What the players are, see `Renderings`.
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
        super().__init__(division, modality, sample_ids, raws)
        self._model = model

    def units(self) -> Spans:
        """The players of each sample, [B, U], on the model's device; see `Renderings.units`."""
        return super().units().to(self._model.device)

    def render(self, rows: Sequence[Version]) -> Inputs:
        """What the encoder reads of each version.

        Raises
        ------
        ModalxaiError
            A version that cannot be rendered or read, by sample.
        """
        raws = [self.rendered(row.sample, row.keep) for row in rows]
        try:
            inputs = self._model.encoder(self._modality).collate(raws)
        except ModalxaiError as error:
            if error.index is None:
                raise
            name = self._sample_ids[rows[error.index].sample]
            raise error.at(f"sample {name!r}, {self._modality}, edited") from error
        return {name: tensor.to(self._model.device) for name, tensor in inputs.items()}

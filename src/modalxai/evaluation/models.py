"""What the tests that change a model need of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from torch import nn

from modalxai.errors import InputError
from modalxai.protocols import Attributor, Game
from modalxai.types import Attribution


@runtime_checkable
class Explainable(Protocol):
    """Encoders, a fusion, and games of samples: an `EmotionModel`."""

    encoders: nn.ModuleDict
    fusion: Any

    def game(
        self,
        data: Any,
        *,
        removal: str | Mapping[str, str] | None = ...,
        level: str = ...,
        background: Any = ...,
        draws: Any = ...,
        seed: int = ...,
    ) -> Any:
        """What would this model score if only some players were left?"""
        ...


class Asked:
    """The same question to several models: one attributor, one set of samples, one kind of game.

    Parameters
    ----------
    attributor
        What explains.
    data, settings
        What the models' ``game`` takes.
    labels
        Names of the labels to explain; every one for ``None``.

    Raises
    ------
    InputError
        A model that has no games, data that can be read once only, or a background that was
        encoded by another model.
    """

    def __init__(
        self,
        model: object,
        attributor: Attributor,
        data: Any,
        labels: Any,
        settings: Mapping[str, Any],
    ) -> None:
        if not isinstance(model, Explainable) or not isinstance(model, nn.Module):
            raise InputError(
                "a model whose parts cannot be changed",
                expected="an EmotionModel",
                got=type(model).__name__,
                mend="pass model.module if it is wrapped",
            )
        if hasattr(settings.get("background"), "means"):
            raise InputError(
                "a background that one model has encoded",
                expected="its samples, which every changed model encodes anew",
                got=type(settings["background"]).__name__,
                mend="pass background=samples",
            )
        self.data = list(data) if isinstance(data, Iterator) else data
        self._attributor = attributor
        self._labels = labels
        self._settings = dict(settings)
        self._sample_ids: tuple[str, ...] | None = None

    def game(self, model: Any) -> Game:
        """The game of a model.

        Raises
        ------
        InputError
            Data that come in another order each time.
        """
        game: Game = model.game(self.data, **self._settings)
        if self._sample_ids is None:
            self._sample_ids = game.sample_ids
        if game.sample_ids != self._sample_ids:
            raise InputError(
                "data that are not the same each time they are read",
                expected=str(list(self._sample_ids[:5])),
                got=str(list(game.sample_ids[:5])),
                mend="give a list of samples, or a loader that does not shuffle",
            )
        return game

    def attribute(self, model: Any) -> Attribution:
        """What the attributor says of a model."""
        return self._attributor.attribute(self.game(model), self._labels)

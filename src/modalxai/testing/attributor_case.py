"""An attributor and games to try it on: what the checks of an attributor are called with."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from modalxai.attribution.scales import SCALES, on_scale, rivals_of
from modalxai.errors import InputError
from modalxai.protocols import AXIOMS, Attributor, Game, Selectable
from modalxai.testing.compare import CLOSE
from modalxai.testing.conformance import NotApplicable
from modalxai.testing.venues import VENUES, Venue, fitting
from modalxai.types import Attribution


@dataclass(frozen=True, eq=False)
class AttributorCase:
    """See `modalxai.testing.check_attributor`."""

    original: Any
    given: Any
    venue: Venue | None
    axioms: frozenset[str]
    tolerance: float = CLOSE

    @classmethod
    def make(
        cls,
        attributor: Attributor,
        game: Game | None = None,
        *,
        axioms: Sequence[str] | None = None,
        tolerance: float = CLOSE,
    ) -> AttributorCase:
        """Check the arguments, and find games that the attributor takes."""
        if isinstance(attributor, type) or not hasattr(attributor, "attribute"):
            raise InputError(
                "nothing that the kit can check",
                expected="an attributor: an object with attribute(game, labels=None)",
                got=attributor.__name__ if isinstance(attributor, type) else repr(attributor),
                mend="write check_attributor(MyAttributor())",
            )
        claimed = getattr(attributor, "axioms", ()) if axioms is None else axioms
        if unknown := sorted(set(claimed) - set(AXIOMS)):
            raise InputError(
                "axioms that the kit does not know",
                expected=f"some of {list(AXIOMS)}",
                got=repr(unknown),
                mend="claim what the kit can check, and test the rest yourself",
            )
        venue = fitting(attributor)
        if venue is None and game is None:
            raise InputError(
                "no game of the kit fits the attributor",
                expected=f"one that takes a game of {list(VENUES)}",
                got=f"{type(attributor).__name__} refuses them all",
                mend="give game=..., model.game(samples) say",
            )
        return cls(attributor, game, venue, frozenset(claimed), tolerance)

    @property
    def part(self) -> Any:
        """A copy of the attributor."""
        return copy.deepcopy(self.original)

    def game(self) -> Any:
        """The user's game, or a new one of the kit's."""
        return self.given if self.given is not None else self.kit().game()

    def kit(self) -> Venue:
        """The kit's own games that the attributor takes."""
        if self.venue is None:
            raise NotApplicable("it takes none of the kit's own games")
        return self.venue

    def part_of(self, rows: Sequence[int]) -> Any:
        """The game of some samples."""
        game = self.game()
        if not isinstance(game, Selectable):
            raise NotApplicable("the game cannot be asked about some of its samples alone")
        return game.select(rows)

    def ask(self, game: Any, labels: Sequence[str] | None = None) -> Attribution:
        """What a fresh copy says."""
        found: Attribution = self.part.attribute(game, labels)
        return found

    @cached_property
    def result(self) -> Attribution:
        """What a copy says of the game."""
        return self.ask(self.game())

    def score(self, there: Mapping[str, bool], found: Attribution) -> Tensor:
        """The game's own score of some modalities, on the result's scale, [B, L]."""
        game, scale = self.game(), found.provenance.scale
        if scale not in SCALES:
            raise NotApplicable(f"a scale of its own, {scale!r}")
        against = str(found.provenance.params.get("against", "rival"))
        every = _value(game, dict.fromkeys(there, True))
        rivals = rivals_of(every.mean(0), game.labels, against)
        scores = on_scale(_value(game, there), game.labels, scale, rivals).mean(0)
        names = [label.name for label in game.labels]
        return scores[:, [names.index(label.name) for label in found.labels]]


def _value(game: Any, there: Mapping[str, bool]) -> Tensor:
    """Raw scores [R, B, K] of some modalities, whole."""
    keep = {
        name: torch.full_like(spans.start, there[name], dtype=torch.bool)
        for name, spans in game.players.items()
    }
    found: Tensor = game.value(keep)
    return found

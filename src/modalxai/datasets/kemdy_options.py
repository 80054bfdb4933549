"""How a KEMDy corpus is to be read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, NamedTuple

from modalxai.datasets.ratings import TIES, Ties
from modalxai.datasets.segments import Signal
from modalxai.errors import InputError


class Options(NamedTuple):
    """How a corpus is to be read; the parameters of `KEMDy19` and `KEMDy20` tell what they mean."""

    ties: Ties
    dimensions: bool
    text: Literal["clean", "raw"]
    audio: bool
    biosignals: Collection[Signal] | None
    broken: Literal["missing", "drop"]

    def check(self, signals: Mapping[Signal, str]) -> None:
        """Refuse what no corpus knows; ``signals`` are those that this one has."""
        asked = list(self.biosignals or ())
        for name, value, known in (
            ("ties", self.ties, TIES),
            ("text", self.text, ("clean", "raw")),
            ("broken", self.broken, ("missing", "drop")),
            *(("biosignals", signal, tuple(signals)) for signal in asked),
        ):
            if value not in known:
                raise InputError(
                    f"unknown {name}",
                    expected=f"one of {list(known)}",
                    got=repr(value),
                    mend=f"choose {name} among them",
                )

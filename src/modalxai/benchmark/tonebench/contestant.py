"""`Contestant`: whoever says what the modalities contributed; and what it says, `Answer`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

import torch
from torch import Tensor

from modalxai.benchmark.tonebench.question import Question
from modalxai.errors import InputError
from modalxai.types import Attribution


@dataclass(frozen=True, eq=False)
class Answer:
    """What a contestant says of N samples, K labels and M modalities.

    Parameters
    ----------
    contributions
        Float [N, K, M]; NaN for labels that it was not asked about. ``None`` where it speaks of no
        modality as a whole. A label's share is the ratio of mean magnitudes over its samples.
    signed
        Whether below 0 means "against".
    nats
        Whether they are claimed to be nats of clr, comparable with the gold's.
    residual
        Float [N, K], prediction - reference - sum of contributions; ``None`` without a reference.
    kinds
        Integer [N, K], the type of interaction as a place in
        `modalxai.attribution.interaction_types.KINDS`; ``None`` where it claims none.
    maps
        Contributions of words and moments, for localisation.
    silent
        Labels of which it says that there is nothing to divide.
    """

    contributions: Tensor | None
    signed: bool = True
    nats: bool = False
    residual: Tensor | None = None
    kinds: Tensor | None = None
    maps: Attribution | None = None
    silent: tuple[str, ...] = ()

    def check(self, asked: Question) -> None:
        """Refuse an answer to another question.

        Raises
        ------
        InputError
            Another shape, numbers missing for the predicted label, or negative ones from who
            claims no signs.
        """
        if self.contributions is None:
            return
        shape = (len(asked.samples), len(asked.labels), len(asked.modalities))
        found = tuple(self.contributions.shape)
        own = None
        if found == shape:
            own = self.contributions[torch.arange(shape[0]), asked.predicted]
        if own is None or not bool(own.isfinite().all()) or (not self.signed and (own < 0).any()):
            raise InputError(
                "an answer that cannot be scored",
                expected=f"{list(shape)}, finite for the predicted label, 0 or more if unsigned",
                got=str(list(found)) if own is None else "NaN, infinity or a sign",
                mend="mend the contestant",
            )


class Contestant(Protocol):
    """Somebody who answers a `Question`."""

    @property
    def name(self) -> str:
        """Unique."""
        ...

    @property
    def origin(self) -> str:
        """Whose it is: "modalxai", a plugin's package, "practice", "control", "Captum", ..."""
        ...

    @property
    def question(self) -> str:
        """What it computes, in one clause."""
        ...

    @property
    def cost(self) -> str:
        """What it asks of the model, in one clause."""
        ...

    @property
    def package(self) -> str:
        """The package it needs, empty for none."""
        ...

    def answer(self, asked: Question) -> Answer:
        """What it says."""
        ...


@dataclass(frozen=True)
class Method:
    """A contestant that is a function."""

    name: str
    origin: str
    question: str
    cost: str
    method: Callable[[Question], Answer]
    package: str = ""

    def answer(self, asked: Question) -> Answer:
        """What the function says."""
        return self.method(asked)


def installed(contestant: Contestant) -> bool:
    """Whether the package that it needs can be imported."""
    return not contestant.package or find_spec(contestant.package) is not None

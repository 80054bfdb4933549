"""What every contestant is asked, and what it may look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from modalxai.benchmark.tonebench.counting import Rows
from modalxai.games import ModelGame
from modalxai.games.donors import Draws
from modalxai.model import EmotionModel


@dataclass(frozen=True)
class Track:
    """Which removal stands for "off".

    Parameters
    ----------
    name
        ``"same"``: as in the gold, so that the algorithm is tested; ``"cross"``: another one, so
        that robustness is.
    removal
        How it is called in tables.
    how
        By modality, the removal's name for `EmotionModel.game`.
    draws
        For `EmotionModel.game`.
    """

    name: str
    removal: str
    how: Mapping[str, str]
    draws: Draws = 1


@dataclass(frozen=True, eq=False)
class Question:
    """One model, the samples to explain, and what stands for "off".

    Every contestant gets a question of its own, so that none is answered by what another has
    encoded.

    Parameters
    ----------
    model
        In eval mode.
    samples
        N of them, with ``"id"`` and ``"speaker"``.
    background
        Samples under other ids that lend what is lost, on the track "same".
    track
        See `Track`.
    predicted
        Integer [N], the column of the label that the model predicts: the one that is scored.
    seed
        Of whatever a contestant draws.
    memory
        Scores of whole models, shared between questions of one track: see `whole.WholeModel`.
    rows
        Where rows answered from memory are counted.
    """

    model: EmotionModel
    samples: Sequence[Mapping[str, Any]]
    background: Sequence[Mapping[str, Any]]
    track: Track
    predicted: Tensor
    seed: int = 0
    memory: dict[Any, Any] = field(default_factory=dict)
    rows: Rows = field(default_factory=Rows)

    @property
    def labels(self) -> list[str]:
        """Names of the K labels."""
        return [label.name for label in self.model.labels]

    @property
    def modalities(self) -> tuple[str, ...]:
        """The model's, in order."""
        return self.model.modalities

    def game(self) -> ModelGame:
        """The samples as a game under this track's removal, nothing encoded yet."""
        return self.model.game(list(self.samples), **self.removal())

    def removal(self) -> dict[str, Any]:
        """The same for `modalxai.explain`."""
        lent = any(how.startswith("marginal") for how in self.track.how.values())
        return {
            "removal": dict(self.track.how),
            "background": list(self.background) if lent else None,
            "draws": self.track.draws,
            "seed": self.seed,
        }

    def spread(self, values: Tensor) -> Tensor:
        """Contributions [N, M] to the predicted label as [N, K, M], NaN for the others."""
        dense = values.new_full((len(values), len(self.labels), values.shape[-1]), torch.nan)
        dense[torch.arange(len(values)), self.predicted] = values
        return dense

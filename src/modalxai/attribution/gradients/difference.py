"""Gradient times the difference from the removed encoding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

import torch
from torch import Tensor

from modalxai.attribution.gradients.head import Head
from modalxai.attribution.scales import Scale
from modalxai.protocols import Axiom, Game
from modalxai.types import Attribution


@dataclass(frozen=True)
class FeatureDifference:
    """Gradient times the difference from the removed encoding, summed over time.

    ``R_t = sum_d g_td (h_td - h0_td)``: the first-order term of the ablation delta, and unchanged
    by any constant moved between an encoder and the head. Exact for a linear head.

    h0 is the removed encoding where its units match, the fusion's ``missing`` vector under
    "absent", the background's mean under "mean".

    Parameters
    ----------
    scale, against
        The score that is differentiated, see `modalxai.attribution.scales.on_scale`.
    """

    axioms: ClassVar[tuple[Axiom, ...]] = ("null player", "symmetry", "linearity")

    scale: Scale = "clr"
    against: str = "rival"

    def attribute(self, game: Game, labels: Sequence[str] | None = None) -> Attribution:
        """Units [B, L, T_m] and their sums; the residual is what is not linear in the head."""
        head = Head(game, labels, self.scale, self.against)
        away = head.differences()

        def units(name: str, gradient: Tensor) -> Tensor:
            return (gradient * away[name].to(gradient.dtype)).sum(-1)

        values = {name: features.values for name, features in head.features.items()}
        prediction, found = head.units(values, units)
        nothing = {
            name: torch.zeros_like(spans.start, dtype=torch.bool)
            for name, spans in head.game.players.items()
        }
        reference = head.on_scale(game.value(nothing)).mean(0)
        return head.attribution("feature-difference", asdict(self), found, prediction, reference)

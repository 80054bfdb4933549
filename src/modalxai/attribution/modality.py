"""Attributors whose players are the modalities; exact, all from one table of 2**M coalitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from modalxai.attribution.scales import Scale
from modalxai.attribution.table import Explanation
from modalxai.protocols import AXIOMS, Axiom, Game
from modalxai.types import Attribution


@dataclass(frozen=True)
class ModalityShapley:
    """Exact Shapley values of the modalities (Shapley 1953), on ``scale``.

    Parameters
    ----------
    scale
        See `modalxai.attribution.scales.on_scale`.
    against
        With ``scale="contrast"``: ``"rival"`` or the name of a label.
    """

    axioms: ClassVar[tuple[Axiom, ...]] = AXIOMS

    scale: Scale = "clr"
    against: str = "rival"

    def attribute(self, game: Game, labels: Sequence[str] | None = None) -> Attribution:
        """Totals [B, L, M] that sum to prediction - reference."""
        return Explanation.of(game).shapley(self.scale, labels, self.against)


@dataclass(frozen=True)
class ModalityAblation:
    """Leave one modality out, ``v(N) - v(N without m)``; the masking experiment, on ``scale``.

    It counts an interaction twice (synergy) or not at all (redundancy): read its residual.

    Parameters
    ----------
    scale
        See `modalxai.attribution.scales.on_scale`.
    against
        With ``scale="contrast"``: ``"rival"`` or the name of a label.
    """

    axioms: ClassVar[tuple[Axiom, ...]] = ("null player", "symmetry", "linearity")

    scale: Scale = "clr"
    against: str = "rival"

    def attribute(self, game: Game, labels: Sequence[str] | None = None) -> Attribution:
        """Totals [B, L, M]; the residual is minus the interaction for two modalities."""
        return Explanation.of(game).ablation(self.scale, labels, self.against)

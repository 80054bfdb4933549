"""Integrated gradients from the reference to the encoders' outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from modalxai.attribution.gradients.head import Head, placed
from modalxai.attribution.gradients.pullback import budget
from modalxai.attribution.scales import Scale
from modalxai.errors import InputError
from modalxai.pieces import in_pieces
from modalxai.protocols import AXIOMS, Axiom, Game
from modalxai.types import Attribution


@dataclass(frozen=True)
class IntegratedGradients:
    """Integrated gradients (Sundararajan et al. 2017) at the encoders' outputs.

    ``R_t = sum_d (h - h0)_td * sum_q w_q g_td(h0 + x_q (h - h0))``: all vectors of all modalities
    move together on a straight line from the reference h0 to what the encoders gave, and the
    gradient is integrated by Gauss-Legendre nodes x_q. Masks stay as they are. Units sum to
    v(h) - v(h0) up to the error of the quadrature, which is the residual: 16 nodes bring a smooth
    head to rounding, attention and kinks need more. For a fusion that is bilinear in two
    modalities the shares are the Shapley values.

    h0 is the game's reference, as in `FeatureDifference`, in place of every real vector. The
    result's ``reference`` is the score there. It is the score of the empty coalition where the
    fusion pools each modality into one vector or the removed encoding itself is h0; a fusion of
    sequences, which sees an absent modality as one vector and not as a sequence of them, may score
    the two differently.

    Parameters
    ----------
    nodes
        Gauss-Legendre nodes, each one run of the fusion forward, and one backward for each label.
    scale, against
        The score that is differentiated, see `modalxai.attribution.scales.on_scale`.

    Raises
    ------
    InputError
        ``nodes`` is no whole number from 1.
    """

    axioms: ClassVar[tuple[Axiom, ...]] = AXIOMS

    nodes: int = 16
    scale: Scale = "clr"
    against: str = "rival"

    def __post_init__(self) -> None:
        check_nodes(self.nodes)

    def attribute(self, game: Game, labels: Sequence[str] | None = None) -> Attribution:
        """Units [B, L, T_m] and their sums; the residual is the error of the quadrature."""
        head = Head(game, labels, self.scale, self.against)
        ends = {name: features.values for name, features in head.features.items()}
        with torch.no_grad():
            prediction = head.scores(head.features)
            away = head.differences()
            starts = {name: value - away[name] for name, value in ends.items()}
            reference = head.scores(
                {name: placed(head.features[name], value) for name, value in starts.items()}
            )
        points, weights = unit_nodes(self.nodes)

        def piece(start: int, stop: int) -> dict[str, Tensor]:
            """The part of the integral that some of the nodes give."""
            at = {
                name: torch.cat([starts[name] + x * away[name] for x in points[start:stop]])
                for name in ends
            }

            def units(name: str, gradient: Tensor) -> Tensor:
                apart = torch.unflatten(gradient, 1, (stop - start, -1))
                weight = apart.new_tensor(weights[start:stop])[:, None, None, None]
                return ((apart * weight).sum(1) * away[name].to(gradient.dtype)).sum(-1)

            return head.units(at, units)[1]

        size = sum(value.numel() * prediction.element_size() for value in ends.values())
        parts = in_pieces(self.nodes, budget(prediction.device) // max(1, size), piece)
        found = {name: torch.stack([part[name] for part in parts]).sum(0) for name in ends}
        return head.attribution("integrated-gradients", asdict(self), found, prediction, reference)


def unit_nodes(count: int) -> tuple[list[float], list[float]]:
    """Gauss-Legendre nodes in 0..1, and weights that sum to 1."""
    points, weights = np.polynomial.legendre.leggauss(count)
    return ((1 + points) / 2).tolist(), (weights / 2).tolist()


def check_nodes(nodes: int) -> None:
    """Refuse a quadrature that has none."""
    if isinstance(nodes, bool) or not isinstance(nodes, int) or nodes < 1:
        raise InputError(
            "nodes of a quadrature out of range",
            expected="a whole number from 1",
            got=repr(nodes),
            mend="16 do for a smooth head; look at the residual",
        )

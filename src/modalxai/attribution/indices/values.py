"""What one player is worth: Shapley, Banzhaf, necessity, sufficiency."""

from __future__ import annotations

import torch
from torch import Tensor

from modalxai.attribution.indices.coefficients import weights
from modalxai.attribution.indices.sums import players_of, subsets, weighted_derivatives


def shapley(v: Tensor) -> Tensor:
    """Shapley values, [2**M, ...] to [..., M] (Shapley 1953).

    ``phi_m = sum_{S without m} |S|! (M-|S|-1)! / M! * (v(S+m) - v(S))``; a player who changes
    nothing gets exactly 0.
    """
    return _values(v, "SII", 0.5)


def banzhaf(v: Tensor, p: float = 0.5) -> Tensor:
    """Banzhaf values, [..., M]: the mean gain when each other player joins with probability p.

    With ``p=0.5`` all coalitions of the others weigh the same (Banzhaf 1965); for other p see
    Marichal & Mathonet 2011. They do not sum to ``v(N) - v({})``.
    """
    return _values(v, "BII", p)


def necessity(v: Tensor) -> Tensor:
    """Ablation deltas ``v(N) - v(N without m)``, [..., M]: what is lost when m is removed."""
    return (v[-1] - v[len(v) - 1 - _alone(v)]).movedim(0, -1)


def sufficiency(v: Tensor) -> Tensor:
    """``v({m}) - v({})``, [..., M]: what m achieves alone."""
    return (v[_alone(v)] - v[0]).movedim(0, -1)


def _values(v: Tensor, index: str, p: float) -> Tensor:
    sets = subsets(players_of(v), 1, 1)
    return weighted_derivatives(v, sets, lambda size, count: weights(index, 1, p, size, count))


def _alone(v: Tensor) -> Tensor:
    """Rows of the coalitions of one."""
    return 1 << torch.arange(players_of(v), device=v.device)

"""One head per modality, combined by a sum: additive, so modalities cannot interact on clr."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modalxai.errors import InputError
from modalxai.fusion.pooled import Pool, PooledFusion
from modalxai.types import Label, Prediction, columns

Combine = Literal["mean", "learned"]


class LateFusion(PooledFusion):
    """The unimodal heads' log-probabilities (values for other labels), in a weighted sum.

    ``scores = sum_m w_m s_m`` with ``s_m`` the log-softmax of head m over the categorical columns
    and its raw output elsewhere. An absent modality contributes a learned constant: its head on
    its ``missing`` vector. On clr (log-odds for binary labels) the interaction is exactly zero.

    Parameters
    ----------
    dims, labels, pool
        See `modalxai.fusion.pooled.PooledFusion`.
    combine
        ``"mean"``, ``"learned"`` (a softmax over one learned number per modality), or a fixed
        weight for each modality by name.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        labels: Sequence[Label],
        pool: Pool | Mapping[str, Pool] = "mean",
        combine: Combine | Mapping[str, float] = "mean",
    ) -> None:
        super().__init__(dims, labels, pool)
        named = isinstance(combine, str)
        if combine not in ("mean", "learned") if named else not _weights(combine, dims):
            raise InputError(
                "unknown way to combine the heads",
                expected=f"'mean', 'learned' or a finite weight for each of {list(dims)}",
                got=repr(combine),
                mend='write combine={"audio": 0.6, "text": 0.4}, for example',
            )
        self.combine = combine if isinstance(combine, str) else dict(combine)
        self.heads = nn.ModuleDict(
            {name: nn.Linear(dim, len(self.labels)) for name, dim in dims.items()}
        )
        self.preference = nn.Parameter(torch.zeros(len(dims))) if combine == "learned" else None

    @property
    def weights(self) -> Tensor:
        """What each modality's head counts, [M]."""
        if self.preference is not None:
            return self.preference.softmax(0)
        count = len(self.dims)
        fixed = [1 / count] * count
        if not isinstance(self.combine, str):
            fixed = [float(self.combine[name]) for name in self.dims]
        return torch.tensor(fixed, device=self.missing[next(iter(self.dims))].device)

    def widen(self, modality: str, pooled: Tensor) -> Tensor:
        """Its own scores, [B, K]: log-probabilities on the categorical columns."""
        scores: Tensor = self.heads[modality](pooled)
        categorical = columns(self.labels, "categorical")
        if not categorical:
            return scores
        scores = scores.clone()
        scores[..., categorical] = F.log_softmax(scores[..., categorical], dim=-1)
        return scores

    def join(self, projected: Mapping[str, Tensor]) -> Prediction:
        """Scores [B, K], the weighted sum."""
        stacked = torch.stack([projected[name] for name in self.dims], dim=-1)
        return Prediction((stacked * self.weights.to(stacked.dtype)).sum(-1), self.labels)

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments as json values."""
        return super().settings() | {"combine": self.combine}


def _weights(combine: Any, dims: Mapping[str, int]) -> bool:
    return (
        isinstance(combine, Mapping)
        and set(combine) == set(dims)
        and all(isinstance(w, int | float) and math.isfinite(w) for w in combine.values())
    )

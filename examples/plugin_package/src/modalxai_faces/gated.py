"""A gated fusion: the input decides how much each modality counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from modalxai.fusion.pooled import Pool, PooledFusion
from modalxai.types import Label, Prediction


class GatedFusion(PooledFusion):
    """``sum_m z_m tanh(W_m p_m)`` with gates z = softmax_m(g_m p_m), after Arevalo et al. (2017).

    Parameters
    ----------
    dims, labels, pool
        See `modalxai.fusion.pooled.PooledFusion`.
    width
        Of the fused vector.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        labels: Sequence[Label],
        pool: Pool | Mapping[str, Pool] = "mean",
        width: int = 32,
    ) -> None:
        super().__init__(dims, labels, pool)
        self.width = width
        self.maps = nn.ModuleDict({name: nn.Linear(dim, width) for name, dim in dims.items()})
        self.gates = nn.ModuleDict({name: nn.Linear(dim, 1) for name, dim in dims.items()})
        self.head = nn.Linear(width, len(labels))

    def widen(self, modality: str, pooled: Tensor) -> Tensor:
        """A modality's vector and the logit of its gate, [B, width + 1]: once per encoding."""
        vector = self.maps[modality](pooled).tanh()
        return torch.cat([vector, self.gates[modality](pooled).to(vector.dtype)], dim=-1)

    def join(self, projected: Mapping[str, Tensor]) -> Prediction:
        """Scores [B, K]: once per coalition."""
        stacked = torch.stack([projected[name] for name in self.dims], dim=1)  # [B, M, width + 1]
        gates = stacked[..., -1:].softmax(1)
        return Prediction(self.head((gates * stacked[..., :-1]).sum(1)), self.labels)

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments as json values."""
        return super().settings() | {"width": self.width}

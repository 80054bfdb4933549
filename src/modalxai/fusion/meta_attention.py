"""Attention over the modalities: how much of each goes into the one vector that is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modalxai.errors import InputError
from modalxai.fusion.pooled import Pool, PooledFusion
from modalxai.fusion.sequences import require_all
from modalxai.types import Features, Label, Prediction


class MetaAttention(PooledFusion):
    """A weighted mean of the modalities' vectors, each sample having its own weights.

    ``v_m = P_m x_m``, ``a = softmax_m(q . tanh(W v_m + b))``, ``scores = head(sum_m a_m v_m)``,
    with x_m the pooled vector of modality m. W, b and q are shared, so that modalities compete on
    equal terms. The head is one linear layer, that is one linear classifier for each binary label
    and one linear map for the dimensional ones.

    An absent modality keeps its seat: its ``missing`` vector stands for it and earns a weight like
    any other, learned under modality dropout. So the weights always sum to one over all M
    modalities, nothing needs a softmax over nothing, and removing a modality changes one vector
    only, from which gradient methods can measure.

    The weights say what was mixed, not what decided: read contributions from an attribution.

    Parameters
    ----------
    dims, labels, pool
        See `modalxai.fusion.pooled.PooledFusion`.
    width
        Width W that every modality is brought to, 1 or more.
    dropout
        On the mixed vector, from 0 to below 1, in training only.

    Raises
    ------
    InputError
        A setting out of its range.

    References
    ----------
    Yang et al. (2016), Hierarchical Attention Networks for Document Classification, equations
    8 to 10: the attention, there over sentences.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        labels: Sequence[Label],
        pool: Pool | Mapping[str, Pool] = "mean",
        width: int = 256,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(dims, labels, pool)
        if width < 1 or not 0 <= dropout < 1:
            raise InputError(
                "a setting of the fusion out of its range",
                expected="width of 1 or more, dropout from 0 to below 1",
                got=f"{width=}, {dropout=}",
                mend="leave the default, or choose a value in the range",
            )
        self.width = width
        self.dropout = dropout
        self.maps = nn.ModuleDict({name: nn.Linear(dim, width) for name, dim in dims.items()})
        self.key = nn.Linear(width, width)
        self.query = nn.Linear(width, 1, bias=False)
        self.head = nn.Linear(width, len(self.labels))

    def weights(self, features: Mapping[str, Features]) -> Tensor:
        """How much of each modality is mixed in, [B, M], 0..1, summing to one over M.

        Raises
        ------
        InputError
            A modality too many or too few, or of another width.
        """
        require_all(self.dims, features)
        projected = {name: self.project(name, features[name]) for name in self.dims}
        return self._mixture(projected)[1]

    def widen(self, modality: str, pooled: Tensor) -> Tensor:
        """Its vector and, in the last column, what its weight is made of, [B, W + 1]."""
        vector = self.maps[modality](pooled)
        return torch.cat([vector, self.query(self.key(vector).tanh())], dim=-1)

    def join(self, projected: Mapping[str, Tensor]) -> Prediction:
        """Scores [B, K]."""
        vectors, weights = self._mixture(projected)
        mixed = (weights[..., None] * vectors).sum(1)
        return Prediction(self.head(F.dropout(mixed, self.dropout, self.training)), self.labels)

    def _mixture(self, projected: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Vectors [B, M, W] and their weights [B, M]."""
        stacked = torch.stack([projected[name] for name in self.dims], dim=1)
        return stacked[..., :-1], stacked[..., -1].softmax(1)

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments as json values."""
        return super().settings() | {"width": self.width, "dropout": self.dropout}

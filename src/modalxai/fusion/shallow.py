"""Concatenate one vector per modality, then a small perceptron."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modalxai.errors import InputError
from modalxai.fusion.pooled import Pool, PooledFusion
from modalxai.types import Label, Prediction


class ShallowFusion(PooledFusion):
    """Concatenated pooled vectors, one hidden layer, one linear head.

    The first layer of a perceptron on a concatenation is a sum of one linear map per modality, so
    each map runs once per encoding and only the rest once per coalition.

    Parameters
    ----------
    dims, labels, pool
        See `modalxai.fusion.pooled.PooledFusion`.
    hidden
        Width of the hidden layer; 0 for a linear head without one.
    dropout
        On the hidden layer, while training.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        labels: Sequence[Label],
        pool: Pool | Mapping[str, Pool] = "mean",
        hidden: int = 256,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(dims, labels, pool)
        whole = isinstance(hidden, int) and hidden >= 0
        if not whole or not 0 <= dropout < 1:
            raise InputError(
                "a setting of the fusion out of its range",
                expected="hidden a whole number from 0, dropout in [0, 1)",
                got=f"{hidden=}, {dropout=}",
                mend="leave the default, or choose a value in the range",
            )
        self.hidden = hidden
        width = hidden or len(self.labels)
        self.maps = nn.ModuleDict(
            {name: nn.Linear(dim, width, bias=False) for name, dim in dims.items()}
        )
        self.bias = nn.Parameter(torch.zeros(width))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, len(self.labels)) if hidden else nn.Identity()

    def widen(self, modality: str, pooled: Tensor) -> Tensor:
        """Its part of the hidden layer, [B, hidden]."""
        widened: Tensor = self.maps[modality](pooled)
        return widened

    def join(self, projected: Mapping[str, Tensor]) -> Prediction:
        """Scores [B, K]."""
        joined = self.bias + sum(projected[name] for name in self.dims)
        if self.hidden:
            joined = self.head(self.dropout(F.gelu(joined)))
        return Prediction(joined, self.labels)

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments as json values."""
        return super().settings() | {"hidden": self.hidden, "dropout": self.dropout.p}

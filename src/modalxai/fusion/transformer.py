"""Concatenate all modalities in time, then let every vector attend to every other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional as F

from modalxai.blocks import SelfAttentionBlock
from modalxai.errors import InputError
from modalxai.fusion.sequences import SequenceFusion, SequencePool
from modalxai.types import Features, Label, Prediction

Projection = Literal["convolution", "identity"]
PROJECTIONS = ("convolution", "identity")


class FusionTransformer(SequenceFusion):
    """Modalities at one width, concatenated in time, self-attention, pooled, one linear head.

    ``scores = head(pool(norm(blocks([z_1; ...; z_M]))))`` with z_m [B, T_m, W] the convolution of
    modality m. Attention alone knows no order: it comes from the convolution and from the encoders'
    own positions; the systems that this follows add none here.

    With ``projection="identity"`` and modalities of one width it is self-attention over the bare
    concatenation, [B, 512 + 64, 768] in the valence and arousal system.

    Parameters
    ----------
    dims, labels, width, kernel, layers, heads, pool, dropout
        See `modalxai.fusion.sequences.SequenceFusion`. ``pool`` runs over the vectors of all
        modalities: "mean" weighs a modality by its length, "last" is the last modality's last.
    projection
        ``"convolution"``, or ``"identity"`` where every modality already has ``width``.

    Raises
    ------
    InputError
        A setting out of its range, or an identity between different widths.

    References
    ----------
    Xiong et al. (2020), On Layer Normalization in the Transformer Architecture: the layer.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        labels: Sequence[Label],
        width: int = 256,
        kernel: int = 3,
        layers: int = 1,
        heads: int = 4,
        pool: SequencePool = "mean",
        dropout: float = 0.1,
        projection: Projection = "convolution",
    ) -> None:
        super().__init__(dims, labels, width, kernel, layers, heads, pool, dropout)
        if projection not in PROJECTIONS:
            raise InputError(
                "unknown projection",
                expected=f"one of {list(PROJECTIONS)}",
                got=repr(projection),
                mend='write projection="convolution"',
            )
        self.projection = projection
        if projection == "identity":
            if set(dims.values()) != {width}:
                raise InputError(
                    "nothing brings the modalities to one width",
                    expected=f"dims that are all {width}, the fusion's width",
                    got=str(self.dims),
                    mend='set width to the common dim, or use projection="convolution"',
                )
            self.maps = nn.ModuleDict({name: nn.Identity() for name in dims})
        self.blocks = nn.ModuleList(
            SelfAttentionBlock(width, heads, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, len(self.labels))

    def join(self, projected: Mapping[str, Features]) -> Prediction:
        """Scores [B, K]."""
        values = torch.cat([projected[name].values for name in self.dims], dim=1)
        mask = torch.cat([projected[name].mask for name in self.dims], dim=1)
        for block in self.blocks:
            values = block(values, mask)
        pooled = self.pooled(self.norm(values), mask)
        return Prediction(self.head(F.dropout(pooled, self.dropout, self.training)), self.labels)

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments as json values."""
        return super().settings() | {"projection": self.projection}

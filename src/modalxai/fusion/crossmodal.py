"""MulT: every modality queries every other one, then itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modalxai.blocks import SelfAttentionBlock, positions
from modalxai.errors import InputError
from modalxai.fusion.sequences import SequenceFusion, SequencePool
from modalxai.types import Features, Label, Prediction


class CrossmodalBlock(nn.Module):
    """One layer of crossmodal attention: a target's vectors query the vectors of a source.

    ``Y = CM(LN(Z), LN(S)) + LN(Z)`` and ``Z' = f(LN(Y)) + LN(Y)``, with f a feed-forward net four
    times as wide. What is added is normalised too, as the equations are printed; the code that the
    authors released adds Z and Y themselves.

    Parameters
    ----------
    width
        Width W of the vectors, a multiple of ``heads``.
    heads
        Attention heads.
    dropout
        Probability of dropping an attention weight or a value of either branch.

    References
    ----------
    Tsai et al. (2019), Multimodal Transformer for Unaligned Multimodal Language Sequences,
    sections 3.1 and 3.2, equations 1 and 4.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.target_norm = nn.LayerNorm(width)
        self.source_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)
        self.feed_norm = nn.LayerNorm(width)
        self.feed = nn.Sequential(
            nn.Linear(width, 4 * width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(4 * width, width)
        )

    def forward(self, target: Tensor, source: Tensor, mask: Tensor) -> Tensor:
        """Target [B, T, W] to [B, T, W]; it sees the source [B, S, W] where ``mask`` is True.

        Each row of the mask [B, S] has a True: an absent modality is a sequence of one vector.
        """
        dropped = self.dropout if self.training else 0.0
        target = self.target_norm(target)
        attended = self._attend(target, self.source_norm(source), mask, dropped)
        middle = self.feed_norm(target + F.dropout(attended, dropped))
        adapted: Tensor = middle + F.dropout(self.feed(middle), dropped)
        return adapted

    def _attend(self, target: Tensor, source: Tensor, mask: Tensor, dropped: float) -> Tensor:
        query = self.query(target).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        split = self.key_value(source).unflatten(-1, (2, self.heads, -1))
        key, value = split.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask[:, None, None, :], dropout_p=dropped
        )
        output: Tensor = self.output(attended.transpose(1, 2).flatten(-2))
        return output


class Adaptation(nn.Module):
    """One target modality, adapted by every source, then by itself.

    Parameters
    ----------
    sources
        Names of the other modalities, in order; without any, self-attention is all there is.
    width, heads, dropout
        See `CrossmodalBlock`.
    layers, self_layers
        Crossmodal layers of each source, and self-attention layers after them.
    """

    def __init__(
        self,
        sources: Sequence[str],
        width: int,
        heads: int,
        layers: int,
        self_layers: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.crossings = nn.ModuleDict(
            {
                source: nn.ModuleList(CrossmodalBlock(width, heads, dropout) for _ in range(layers))
                for source in sources
            }
        )
        self.dim = width * max(1, len(sources))
        self.blocks = nn.ModuleList(
            SelfAttentionBlock(self.dim, heads, dropout) for _ in range(self_layers)
        )
        self.norm = nn.LayerNorm(self.dim)

    def forward(self, own: Features, others: Mapping[str, Features]) -> Tensor:
        """Values [B, T, W] to [B, T, dim], dim being W for each source."""
        adapted = []
        for source, blocks in self.crossings.items():
            values, seen = own.values, others[source]
            for block in cast("nn.ModuleList", blocks):
                values = block(values, seen.values, seen.mask)
            adapted.append(values)
        values = torch.cat(adapted, dim=-1) if adapted else own.values
        for block in self.blocks:
            values = block(values, own.mask)
        normed: Tensor = self.norm(values)
        return normed


class CrossmodalTransformer(SequenceFusion):
    """The multimodal transformer (MulT) of Tsai et al. (2019), for any number of modalities.

    1. A convolution brings each modality to one width; sinusoidal positions are added.
    2. For each target modality and each other one, the target's vectors query the other's, layer
       after layer; the keys are always the other's vectors of step 1. Lengths need not agree.
    3. The M - 1 results of a target, concatenated in width, pass through self-attention.
    4. The pooled vectors of all targets, concatenated, pass through a perceptron with a residual,
       and a linear head.

    A single modality has no other to query and starts at step 3.

    Parameters
    ----------
    dims, labels, width, kernel, heads, dropout
        See `modalxai.fusion.sequences.SequenceFusion`.
    layers
        Crossmodal layers of each pair, 1 or more.
    self_layers
        Self-attention layers of each target, 0 or more.
    pool
        Of each target's vectors: the ``"last"`` real one, as published, or their ``"mean"``.

    Raises
    ------
    InputError
        A setting out of its range.

    Notes
    -----
    The self-attention layers are pre-norm ones, with a normalisation after the last. Future
    positions are not masked; the authors' code can do that, the paper does not.

    References
    ----------
    Tsai et al. (2019), Multimodal Transformer for Unaligned Multimodal Language Sequences.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        labels: Sequence[Label],
        width: int = 256,
        kernel: int = 3,
        layers: int = 1,
        self_layers: int = 1,
        heads: int = 4,
        pool: SequencePool = "last",
        dropout: float = 0.1,
    ) -> None:
        super().__init__(dims, labels, width, kernel, layers, heads, pool, dropout)
        if self_layers < 0:
            raise InputError(
                "a number of layers out of range",
                expected="self_layers of 0 or more",
                got=str(self_layers),
                mend="leave the default",
            )
        self.self_layers = self_layers
        targets = {}
        for name in dims:
            others = [other for other in dims if other != name]
            targets[name] = Adaptation(others, width, heads, layers, self_layers, dropout)
        self.targets = nn.ModuleDict(targets)
        total = sum(target.dim for target in targets.values())
        self.perceptron = nn.Sequential(
            nn.Linear(total, total), nn.ReLU(), nn.Dropout(dropout), nn.Linear(total, total)
        )
        self.head = nn.Linear(total, len(self.labels))

    def place(self, values: Tensor) -> Tensor:
        """[B, T, W] with sinusoidal positions added (appendix A of the paper)."""
        return values + positions(values.shape[1], self.width, values)

    def join(self, projected: Mapping[str, Features]) -> Prediction:
        """Scores [B, K]."""
        pooled = torch.cat(
            [
                self.pooled(self.targets[name](projected[name], projected), projected[name].mask)
                for name in self.dims
            ],
            dim=-1,
        )
        return Prediction(self.head(pooled + self.perceptron(pooled)), self.labels)

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments as json values."""
        return super().settings() | {"self_layers": self.self_layers}

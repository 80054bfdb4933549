"""The transformer layer that encoders and fusions share, and the positions added before it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modalxai import masking
from modalxai.errors import InputError


class SelfAttentionBlock(nn.Module):
    """One pre-norm transformer layer: self-attention, then a feed-forward net four times as wide.

    Written out with ``scaled_dot_product_attention``, because the fused inference path of
    ``nn.TransformerEncoderLayer`` is invisible to torch's FLOP counter and to hooks.

    Parameters
    ----------
    dim
        Width D of the vectors, a multiple of ``heads``.
    heads
        Attention heads.
    dropout
        Probability 0..1 of dropping an attention weight or a value of either branch.

    Raises
    ------
    InputError
        ``dim`` is no positive multiple of ``heads``.

    References
    ----------
    Xiong et al. (2020), On Layer Normalization in the Transformer Architecture, figure 1b.
    """

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if heads < 1 or dim < 1 or dim % heads:
            raise InputError(
                "the width does not divide into the heads",
                expected="dim a positive multiple of heads",
                got=f"dim={dim}, heads={heads}",
                mend=f"choose heads that divide {dim}",
            )
        self.heads = heads
        self.dropout = dropout
        self.attention_norm = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.output = nn.Linear(dim, dim)
        self.feed_norm = nn.LayerNorm(dim)
        self.feed = nn.Sequential(
            nn.Linear(dim, 4 * dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * dim, dim)
        )

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """Vectors [B, T, D] to [B, T, D]; nothing attends to where ``mask`` [B, T] is False.

        Values at padding come out finite and mean nothing: blank them after the last block.
        """
        dropped = self.dropout if self.training else 0.0
        values = values + F.dropout(self._attend(self.attention_norm(values), mask), dropped)
        return values + F.dropout(self.feed(self.feed_norm(values)), dropped)

    def _attend(self, values: Tensor, mask: Tensor) -> Tensor:
        split = self.query_key_value(values).unflatten(-1, (3, self.heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4)
        # Every query, padding too, sees every real vector, so that no softmax runs over nothing.
        seen = masking.attendable(mask)[:, None, None, :]
        attended = F.scaled_dot_product_attention(
            query, key, value, attn_mask=seen, dropout_p=self.dropout if self.training else 0.0
        )
        output: Tensor = self.output(attended.transpose(1, 2).flatten(-2))
        return output


def positions(length: int, dim: int, like: Tensor) -> Tensor:
    """Sinusoidal positions [T, D], on the device and in the dtype of ``like``.

    References
    ----------
    Vaswani et al. (2017), Attention Is All You Need, section 3.5.
    """
    half = (dim + 1) // 2
    rate = torch.exp(torch.arange(half, device=like.device) * (-math.log(10_000.0) / half))
    angle = torch.arange(length, device=like.device)[:, None] * rate
    waves = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)
    return waves[:, :dim].to(like.dtype)

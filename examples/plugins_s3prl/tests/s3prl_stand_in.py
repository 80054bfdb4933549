"""A stand-in for ``s3prl.nn``: the interface of `S3PRLUpstream`, and its habit of padding."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

STRIDE = 160


class S3PRLUpstream(nn.Module):
    """Three layers of eight numbers, 10 ms each; they see the padding, as real ones do."""

    def __init__(
        self,
        name: str,
        path_or_url: str | None = None,
        refresh: bool = False,
        normalize: bool = False,
        extra_conf: dict[str, Any] | None = None,
        randomize: bool = False,
    ) -> None:
        super().__init__()
        self.name = name
        self.layers = nn.ModuleList(nn.Linear(STRIDE if i == 0 else 8, 8) for i in range(3))
        self.dropout = nn.Dropout(0.2)

    num_layers = property(lambda self: 3)
    hidden_sizes = property(lambda self: [8, 8, 8] if self.name != "uneven" else [8, 8, 9])
    downsample_rates = property(lambda self: [STRIDE] * 3)

    def forward(self, wavs: Tensor, wavs_len: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Hidden states [B, T, 8] by layer and their lengths, one frame more than fit in."""
        assert wavs.dim() == 2
        longest = int(wavs_len.max())
        padded = torch.cat([wavs[:, :longest], wavs.new_zeros(len(wavs), STRIDE)], dim=1)
        count = longest // STRIDE + 1
        frames = padded[:, : count * STRIDE].unflatten(1, (count, STRIDE))
        scale = frames.pow(2).mean((1, 2), keepdim=True).sqrt() + 1e-5  # over the padding, too
        hidden, found = frames / scale, []
        for layer in self.layers:
            hidden = self.dropout(layer(hidden).tanh())
            found.append(hidden)
        return found, [wavs_len // STRIDE + 1] * 3


def install() -> None:
    """Put the stand-in where ``from s3prl.nn import S3PRLUpstream`` finds it."""
    package, module = ModuleType("s3prl"), ModuleType("s3prl.nn")
    package.nn, module.S3PRLUpstream = module, S3PRLUpstream
    sys.modules |= {"s3prl": package, "s3prl.nn": module}

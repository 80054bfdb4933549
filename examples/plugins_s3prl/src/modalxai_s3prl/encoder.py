"""An adapter: ``s3prl.nn.S3PRLUpstream`` as an encoder."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn

from modalxai import audio, masking
from modalxai.encoders.waveforms import WaveformCollate, WaveformRemoval
from modalxai.errors import DependencyError, InputError
from modalxai.pretrained import Pretrained
from modalxai.types import Features, Inputs

RATE = 16_000
"""Hertz that every upstream of s3prl expects."""


class S3prlEncoder(Pretrained, WaveformRemoval):
    """A weighted sum of an upstream's layers, one vector per frame; clips are never padded.

    Parameters
    ----------
    upstream
        Its name in s3prl: ``"hubert_base"``, ``"wavlm_base_plus"``, ``"fbank"``.
    trainable
        Whether the upstream learns; the weights of the layers always do.
    segment_seconds
        Length of the units of kind ``"segment"``.

    Raises
    ------
    DependencyError
        s3prl is not installed.
    InputError
        An upstream whose layers differ in width or rate.
    """

    def __init__(
        self, upstream: str, trainable: bool = False, segment_seconds: float = 0.5
    ) -> None:
        super().__init__()
        try:
            from s3prl.nn import S3PRLUpstream
        except ImportError as error:
            raise DependencyError(
                "this encoder needs s3prl",
                expected="s3prl 0.4 or newer",
                got="not installed",
                mend="pip install s3prl",
            ) from error
        self.name, self.trainable, self.segment_seconds = upstream, trainable, segment_seconds
        self.upstream = S3PRLUpstream(upstream)
        widths, strides = set(self.upstream.hidden_sizes), set(self.upstream.downsample_rates)
        if len(widths) != 1 or len(strides) != 1:
            raise InputError(
                f"layers of {upstream!r} that cannot be added up",
                expected="one width and one rate",
                got=f"widths {sorted(widths)}, strides {sorted(strides)}",
                mend="choose another upstream",
            )
        self.dim, stride = int(widths.pop()), int(strides.pop())
        self.frames = audio.Frames(stride, stride, 0, RATE)
        self.collate = WaveformCollate(self.frames, normalize=False)
        self.weights = nn.Parameter(torch.zeros(self.upstream.num_layers))
        self.upstream.requires_grad_(trainable)

    def train(self, mode: bool = True) -> Self:
        """A frozen upstream stays in eval."""
        super().train(mode)
        self.upstream.train(mode and self.trainable)
        return self

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments as json values."""
        return {
            "upstream": self.name,
            "trainable": self.trainable,
            "segment_seconds": self.segment_seconds,
        }

    def forward(self, inputs: Inputs) -> Features:
        """Waveforms [B, S] to vectors [B, T, D]."""
        waveform, lengths = inputs["waveform"], inputs["length"]
        counts = self.frames.counts(lengths)
        longest = max(1, int(counts.max()))
        # Of no clip at all, still a function of the weights: distributed training wants that.
        nothing = self.weights.sum() * 0
        values = nothing + waveform.new_zeros(len(lengths), longest, self.dim).to(nothing.dtype)
        for length in sorted({int(one) for one in lengths} - {0}):
            rows = (lengths == length).nonzero().flatten()
            block = self._encoded(waveform[rows, :length])[:, : int(counts[rows[0]])]
            values = values.index_put((rows,), masking.lengthen(block, longest).to(values.dtype))
        mask = masking.from_lengths(counts, longest)
        return Features(masking.blank(values, mask), mask, self.frames.spans(lengths, longest))

    def _encoded(self, clips: Tensor) -> Tensor:
        """Clips of one length [n, S] to the weighted sum of the layers [n, T, D]."""
        lengths = torch.full((len(clips),), clips.shape[1], device=clips.device)
        layers, _ = self.upstream(clips, lengths)
        weights = self.weights.softmax(0)
        mixed: Tensor = sum(w * one for w, one in zip(weights, layers, strict=True))
        return mixed

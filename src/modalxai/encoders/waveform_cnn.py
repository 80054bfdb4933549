"""The raw waveform into convolutions along time: no spectrogram, nothing to download."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from modalxai import audio, masking
from modalxai.encoders.sequence import SequenceLayers, SequenceName
from modalxai.encoders.trainable import PartlyTrainable, Trainable
from modalxai.encoders.waveforms import (
    WaveformCollate,
    WaveformRemoval,
    check_positive,
    frame_count,
)
from modalxai.errors import InputError
from modalxai.pretrained import Pretrained
from modalxai.types import Features, Inputs


class WaveformCnnEncoder(WaveformRemoval, PartlyTrainable, Pretrained):
    """A stack of convolutions over the samples, then a layer that gives the width.

    The convolutions pad nothing, so a frame sees samples of its own clip only. By default a frame
    sees 32 ms, one every 20 ms.

    Flattening the whole clip into one fully connected layer, as the speech model of the KEMDy19
    system does, needs clips of one length; here the layer is applied to each frame and the fusion
    pools, so that any length goes in and time is kept for explanations.

    Parameters
    ----------
    dim
        Width D of the vectors.
    sample_rate
        Hertz; recordings at other rates are resampled.
    channels
        Width of every convolution.
    kernels, strides
        Samples, then frames, that each convolution sees and moves on; equally many of both.
    sequence, sequence_layers, heads
        What follows, see `modalxai.encoders.sequence`.
    dropout
        Probability 0..1 of dropping a value after each convolution and in each block.
    segment_seconds
        Length of a ``"segment"`` unit.
    normalize
        Whether each waveform is first brought to zero mean and unit variance, which discards
        loudness.
    trainable
        ``"none"``, ``"all"``, or how many top layers (of the sequence, then convolutions) learn.

    Raises
    ------
    InputError
        Settings that do not fit one another.
    """

    def __init__(
        self,
        dim: int = 128,
        sample_rate: int = 16_000,
        channels: int = 64,
        kernels: Sequence[int] = (80, 10, 8, 4),
        strides: Sequence[int] = (5, 4, 4, 4),
        sequence: SequenceName = "none",
        sequence_layers: int = 1,
        heads: int = 4,
        dropout: float = 0.1,
        segment_seconds: float = 0.5,
        normalize: bool = False,
        trainable: Trainable = "all",
    ) -> None:
        super().__init__()
        # Read back by `settings`: every argument, under its own name.
        self._settings = {
            name: value for name, value in locals().items() if name not in ("self", "__class__")
        } | {"kernels": list(kernels), "strides": list(strides)}
        if not kernels or len(kernels) != len(strides) or min(*kernels, *strides, channels) < 1:
            raise InputError(
                "impossible convolutions",
                expected="a positive kernel and stride for each, and positive channels",
                got=f"kernels={list(kernels)}, strides={list(strides)}, channels={channels}",
                mend="write kernels=(80, 10, 8, 4), strides=(5, 4, 4, 4), channels=64",
            )
        for name, value in (("sample_rate", sample_rate), ("segment_seconds", segment_seconds)):
            check_positive(name, value)
        self.dim = dim
        self.segment_seconds = segment_seconds
        self.frames = audio.Frames(1, 1, 0, sample_rate)
        convolutions = []
        for index, (kernel, stride) in enumerate(zip(kernels, strides, strict=True)):
            convolutions.append(_Convolution(channels if index else 1, channels, kernel, stride))
            self.frames = self.frames.then(kernel, stride)
        self.convolutions = nn.ModuleList(convolutions)
        self.dropout = nn.Dropout(dropout)
        self.sequence = SequenceLayers(sequence, channels, dim, sequence_layers, heads, dropout)
        self.collate = WaveformCollate(self.frames, normalize)
        self.train_only(trainable, [*self.convolutions, *self.sequence.layers])

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments as json values."""
        return dict(self._settings)

    def forward(self, inputs: Inputs) -> Features:
        """Encode.

        Parameters
        ----------
        inputs
            ``waveform`` float [B, S] and ``length`` int [B].

        Returns
        -------
        Features
            Float [B, T, D], zero on padding; spans in seconds.
        """
        waveform, lengths = inputs["waveform"], inputs["length"]
        # A batch of missing recordings is shorter than one frame.
        values = masking.lengthen(waveform, self.frames.field)[:, None]
        values = values.to(self.sequence.norm.weight.dtype)
        for convolution in self.convolutions:
            values = self.dropout(convolution(values))
        longest = frame_count(self.frames, waveform.shape[1])
        mask = masking.from_lengths(self.frames.counts(lengths), longest)
        values = self.sequence(values.transpose(1, 2), mask)
        return Features(values, mask, self.frames.spans(lengths, longest))


class _Convolution(nn.Module):
    """One convolution without padding; normalised over channels, frame by frame."""

    def __init__(self, before: int, after: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(before, after, kernel, stride)
        self.norm = nn.LayerNorm(after)

    def forward(self, values: Tensor) -> Tensor:
        """[B, C, N] to [B, C', N']."""
        values = self.norm(self.convolution(values).transpose(1, 2))
        return F.gelu(values).transpose(1, 2)

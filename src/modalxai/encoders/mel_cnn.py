"""A small encoder of log-mel spectrograms: convolutions along time, then self-attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modalxai import audio, masking
from modalxai.blocks import SelfAttentionBlock, positions
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


class MelCnnEncoder(WaveformRemoval, PartlyTrainable, Pretrained):
    """Log-mel spectrogram and its first difference to one vector per ``hop * prod(strides)``.

    The input of the first convolution is the logarithm of each mel band's power on a fixed scale,
    about -2 (80 dB below full scale, or less) to 2 (full scale). The scale is the same for every
    clip: loudness is a part of the tone of voice, and subtracting a clip's mean would discard it.
    Frames beyond a clip's own are zeroed after each layer, so that padding is what the edge of a
    clip is, and no clip sees its neighbours.

    Parameters
    ----------
    dim
        Width D of the vectors.
    mels, fmin, fmax
        Mel bands (HTK scale) between two frequencies in hertz.
    sample_rate
        Hertz; recordings at other rates are resampled.
    window, hop
        Seconds of a window, and from one to the next. 32 ms tell harmonics 60 Hz apart.
    channels
        Width of each convolution but the last, which gives D.
    layers, kernel, strides
        Convolutions along time, the mel bands being their channels: how many, the odd number of
        frames that each sees, and the stride of each.
    attention_layers, heads
        Self-attention blocks after the convolutions.
    dropout
        Probability 0..1 of dropping a value after each convolution and in each block.
    segment_seconds
        Length of a ``"segment"`` unit.
    deltas
        Whether the difference from the frame before is a second channel of each band.
    normalize
        Whether each waveform is first brought to unit variance, which discards loudness.
    trainable
        ``"none"``, ``"all"``, or how many top layers (blocks, then convolutions) learn.

    Raises
    ------
    InputError
        Settings that do not fit one another.
    """

    def __init__(
        self,
        dim: int = 128,
        mels: int = 64,
        fmin: float = 50.0,
        fmax: float = 8000.0,
        sample_rate: int = 16_000,
        window: float = 0.032,
        hop: float = 0.010,
        channels: int = 128,
        layers: int = 4,
        kernel: int = 5,
        strides: Sequence[int] = (2, 2, 1, 1),
        attention_layers: int = 1,
        heads: int = 4,
        dropout: float = 0.1,
        segment_seconds: float = 0.5,
        deltas: bool = True,
        normalize: bool = False,
        trainable: Trainable = "all",
    ) -> None:
        super().__init__()
        # Read back by `settings`: every argument, under its own name.
        self._settings = {
            name: value for name, value in locals().items() if name not in ("self", "__class__")
        } | {"strides": list(strides)}
        _check(mels, fmin, fmax, sample_rate, layers, kernel, strides)
        for name, least, number in (
            ("dim", 1, dim),
            ("channels", 1, channels),
            ("attention_layers", 0, attention_layers),
        ):
            if isinstance(number, bool) or not isinstance(number, int) or number < least:
                raise InputError(
                    f"impossible {name}",
                    expected=f"a whole number from {least}",
                    got=repr(number),
                    mend="leave the default, or choose a value in the range",
                )
        if not 0 <= dropout < 1:
            raise InputError(
                "impossible dropout", expected="[0, 1)", got=repr(dropout), mend="0.1, for example"
            )
        for name, value in (("window", window), ("hop", hop), ("segment_seconds", segment_seconds)):
            check_positive(name, value)
        self.dim = dim
        self.segment_seconds = segment_seconds
        self.deltas = deltas
        self.hop = round(hop * sample_rate)
        samples = round(window * sample_rate)
        # Rebuilt from the settings, so not part of the weights.
        self.register_buffer("window", torch.hann_window(samples), persistent=False)
        filters = audio.mel_filters(samples, mels, fmin, fmax, sample_rate)
        self.register_buffer("filters", filters, persistent=False)

        widths = [mels * (2 if deltas else 1), *[channels] * (layers - 1), dim]
        # The difference looks one hop back; it is left out of the field, whose middle is the
        # middle of the window.
        self.frames = audio.Frames(samples, self.hop, 0, sample_rate)
        convolutions = []
        for index, stride in enumerate(strides):
            convolutions.append(
                _Convolution(widths[index], widths[index + 1], kernel, stride, dropout)
            )
            self.frames = self.frames.then(kernel, stride, kernel // 2)
        self.convolutions = nn.ModuleList(convolutions)
        self.blocks = nn.ModuleList(
            SelfAttentionBlock(dim, heads, dropout) for _ in range(attention_layers)
        )
        self.norm = nn.LayerNorm(dim)
        self.collate = WaveformCollate(self.frames, normalize)
        self.train_only(trainable, [*self.convolutions, *self.blocks])

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments as json values."""
        return dict(self._settings)

    def spectrogram(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """What the convolutions read, and how many of its frames are real.

        Returns
        -------
        tuple
            Float [B, N, mels] or, with ``deltas``, [B, N, 2 * mels], 0 on padding; and int [B].
        """
        window: Tensor = self.get_buffer("window").float()
        windows = audio.Frames(len(window), self.hop, 0, self.frames.sample_rate)
        waveform = inputs["waveform"].float()
        short = len(window) - waveform.shape[1]
        if short > 0:  # a batch of missing recordings
            waveform = F.pad(waveform, (0, short))
        counts = windows.counts(inputs["length"])
        values = audio.log_mel(waveform, window, self.hop, self.get_buffer("filters").float())
        values = 2 - 4 * values / audio.MEL_FLOOR
        if self.deltas:
            change = F.pad(values.diff(dim=1), (0, 0, 1, 0))
            values = torch.cat([values, change], dim=-1)
        return masking.blank(values, masking.from_lengths(counts, values.shape[1])), counts

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
        values, counts = self.spectrogram(inputs)
        values = values.to(self.norm.weight.dtype)
        for convolution in self.convolutions:
            values, counts = convolution(values, counts)
        mask = masking.from_lengths(counts, values.shape[1])
        values = values + positions(values.shape[1], self.dim, values)
        for block in self.blocks:
            values = block(values, mask)
        longest = frame_count(self.frames, inputs["waveform"].shape[1])
        spans = self.frames.spans(inputs["length"], longest)
        return Features(masking.blank(self.norm(values), mask), mask, spans)


class _Convolution(nn.Module):
    """One convolution along time; normalised over channels, frame by frame."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(before, after, kernel, stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(after)
        self.dropout = nn.Dropout(dropout)
        self.stride = stride

    def forward(self, values: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """[B, N, C] with real frames ``counts`` [B] to [B, N', C'], 0 on padding, and counts."""
        values = self.convolution(values.transpose(1, 2)).transpose(1, 2)
        values = self.dropout(F.gelu(self.norm(values)))
        counts = torch.div(counts - 1, self.stride, rounding_mode="floor") + 1
        return masking.blank(values, masking.from_lengths(counts, values.shape[1])), counts


def _check(
    mels: int,
    fmin: float,
    fmax: float,
    sample_rate: int,
    layers: int,
    kernel: int,
    strides: Sequence[int],
) -> None:
    if not (mels > 0 and 0 <= fmin < fmax <= sample_rate / 2):
        raise InputError(
            "impossible mel bands",
            expected=f"mels above 0 and 0 <= fmin < fmax <= {sample_rate / 2:g}",
            got=f"mels={mels}, fmin={fmin}, fmax={fmax}",
            mend="choose bands below half the sample rate",
        )
    if layers < 1 or len(strides) != layers or min(strides) < 1 or kernel < 1 or kernel % 2 == 0:
        raise InputError(
            "impossible convolutions",
            expected="layers above 0, a positive stride for each, an odd kernel",
            got=f"layers={layers}, strides={list(strides)}, kernel={kernel}",
            mend="write layers=4, strides=(2, 2, 1, 1), kernel=5",
        )

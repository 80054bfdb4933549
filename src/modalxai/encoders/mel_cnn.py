"""A small encoder of log-mel spectrograms: convolutions along time, then self-attention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modalxai import audio, masking
from modalxai.blocks import SelfAttentionBlock, positions
from modalxai.encoders.mel_maps import band_edges, band_maps, cells
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

Axis = Literal["time", "mel"]


class MelCnnEncoder(WaveformRemoval, PartlyTrainable, Pretrained):
    """Log-mel spectrogram and its first difference to one vector per ``hop * prod(strides)``.

    The regressor of the KEMDy20 system takes ``dim=768, mels=128, fmin=100, channels=(128, 256,
    512), strides=(1, 1, 1, 1), attention_layers=7, max_frames=512``: [2, 512, 128] to [512, 768].

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
        Width of each convolution but the last, which gives D; one number for all, or one for each.
    layers, kernel, strides
        Convolutions: how many, the odd number of frames (or bands) that each sees, and the stride
        of each.
    axis
        What the kernels run along. ``"time"``: over frames, the mel bands being channels.
        ``"mel"``: over the bands of one frame, spectrogram and difference being channels; the
        bands that are left are averaged, and there is one vector per ``hop``.
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
    max_frames
        Longer recordings are cut after so many frames of the spectrogram; ``None`` cuts nothing.
        Shorter ones are padded and masked, so that they need no fixed length.
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
        channels: int | Sequence[int] = 128,
        layers: int = 4,
        kernel: int = 5,
        strides: Sequence[int] = (2, 2, 1, 1),
        attention_layers: int = 1,
        heads: int = 4,
        dropout: float = 0.1,
        segment_seconds: float = 0.5,
        deltas: bool = True,
        normalize: bool = False,
        axis: Axis = "time",
        max_frames: int | None = None,
        trainable: Trainable = "all",
    ) -> None:
        super().__init__()
        # Read back by `settings`: every argument, under its own name.
        self._settings = {
            name: value for name, value in locals().items() if name not in ("self", "__class__")
        } | {
            "strides": list(strides),
            "channels": channels if isinstance(channels, int) else list(channels),
        }
        _check(mels, fmin, fmax, sample_rate, layers, kernel, strides)
        inner = [channels] * (layers - 1) if isinstance(channels, int) else list(channels)
        if len(inner) != layers - 1 or axis not in ("time", "mel"):
            raise InputError(
                "impossible convolutions",
                expected=f"one width, or {layers - 1} for {layers} layers; axis 'time' or 'mel'",
                got=f"channels={channels!r}, axis={axis!r}",
                mend="write channels=128, or channels=(128, 256, 512) for layers=4",
            )
        for name, least, number in (
            ("dim", 1, dim),
            *(("channels", 1, width) for width in inner),
            ("attention_layers", 0, attention_layers),
            ("max_frames", 1, 1 if max_frames is None else max_frames),
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
        self.axis = axis
        self.hop = round(hop * sample_rate)
        samples = round(window * sample_rate)
        # Rebuilt from the settings, so not part of the weights.
        self.register_buffer("window", torch.hann_window(samples), persistent=False)
        filters = audio.mel_filters(samples, mels, fmin, fmax, sample_rate)
        self.register_buffer("filters", filters, persistent=False)

        widths = [(2 if deltas else 1) * (mels if axis == "time" else 1), *inner, dim]
        # The difference looks one hop back; it is left out of the field, whose middle is the
        # middle of the window.
        self.frames = audio.Frames(samples, self.hop, 0, sample_rate)
        convolutions = []
        for index, stride in enumerate(strides):
            convolutions.append(
                _Convolution(widths[index], widths[index + 1], kernel, stride, dropout)
            )
            if axis == "time":
                self.frames = self.frames.then(kernel, stride, kernel // 2)
        self.convolutions = nn.ModuleList(convolutions)
        self.blocks = nn.ModuleList(
            SelfAttentionBlock(dim, heads, dropout) for _ in range(attention_layers)
        )
        self.norm = nn.LayerNorm(dim)
        most = None if max_frames is None else (max_frames - 1) * self.hop + samples
        self.collate = WaveformCollate(self.frames, normalize, most)
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
        waveform = inputs["waveform"].float()
        short = len(window) - waveform.shape[1]
        if short > 0:  # a batch of missing recordings
            waveform = F.pad(waveform, (0, short))
        counts = self._windows.counts(inputs["length"])
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
        if self.axis == "mel":
            return self._attend(self._along_bands(values).mean(2), counts, inputs)
        values, counts = self.convolutions[0](values, counts)
        return self._after(values, counts, inputs)

    def maps(self, inputs: Inputs) -> Features:
        """The maps of a convolution, by moment and band, see `modalxai.protocols.Mapped`.

        A convolution along time sums over the bands: each channel of the first one has a map, its
        own sum, band by band. Convolutions along the bands keep a frequency axis to the last one,
        whose maps these are. Both are measured from silence, so that a silent cell is 0. A cell is
        a stride long (or high), around the centre of what it sees, midway to midway between the
        centres of mel bands.

        Returns
        -------
        Features
            Float [B, T, K], T cells and K channels; spans in seconds and hertz.
        """
        values, _ = self.spectrogram(inputs)
        silent, _ = self._silence(inputs)
        values, step, frames = values.to(silent.dtype), 1, self._windows
        if self.axis == "mel":
            step = math.prod(self._settings["strides"])
            found = self._along_bands(values) - self._along_bands(self._floor[None, None])
        else:
            first = self._first
            frames = frames.then(first.kernel, first.stride, first.kernel // 2)
            found = band_maps(first.convolution, values - silent, self._mels)
        edges = band_edges(self._mels, self._settings["fmin"], self._settings["fmax"], step)
        return cells(found, frames.spans(inputs["length"], found.shape[1]), edges)

    def from_maps(self, maps: Features, inputs: Inputs) -> Features:
        """What `forward` gives, from `maps`; of ``inputs`` only the lengths are read."""
        silent, counts = self._silence(inputs)
        if self.axis == "mel":
            base = self._along_bands(self._floor[None, None])
            lifted = torch.unflatten(maps.values, 1, (-1, base.shape[2]))
            return self._attend((base + lifted).mean(2), counts, inputs)
        lifted = torch.unflatten(maps.values, 1, (-1, self._mels)).sum(2)
        values, counts = self._first.normed(self._first.convolve(silent) + lifted, counts)
        return self._after(values, counts, inputs)

    @property
    def _windows(self) -> audio.Frames:
        """Where the windows of the spectrogram lie."""
        return audio.Frames(len(self.get_buffer("window")), self.hop, 0, self.frames.sample_rate)

    @property
    def _mels(self) -> int:
        return int(self._settings["mels"])

    @property
    def _first(self) -> _Convolution:
        return cast("_Convolution", self.convolutions[0])

    @property
    def _floor(self) -> Tensor:
        """One frame of the spectrogram of silence: every band at the floor, and no change."""
        change = [0.0] * self._mels if self.deltas else []
        return self.norm.weight.new_tensor([-2.0] * self._mels + change)

    def _silence(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """`spectrogram` of silence, as long as each clip."""
        counts = self._windows.counts(inputs["length"])
        longest = frame_count(self._windows, inputs["waveform"].shape[1])
        silent = self._floor.expand(len(counts), longest, -1)
        return masking.blank(silent, masking.from_lengths(counts, longest)), counts

    def _along_bands(self, values: Tensor) -> Tensor:
        """Frames [B, N, mels] or [B, N, 2 * mels] to [B, N, bands, D], each frame by itself."""
        bands = torch.unflatten(values.flatten(0, 1), 1, (-1, self._mels)).transpose(1, 2)
        counts = torch.full((len(bands),), self._mels, device=values.device)
        for convolution in self.convolutions:
            bands, counts = convolution(bands, counts)
        return torch.unflatten(bands, 0, values.shape[:2])

    def _after(self, values: Tensor, counts: Tensor, inputs: Inputs) -> Features:
        """What follows the first convolution along time."""
        for convolution in list(self.convolutions)[1:]:
            values, counts = convolution(values, counts)
        return self._attend(values, counts, inputs)

    def _attend(self, values: Tensor, counts: Tensor, inputs: Inputs) -> Features:
        """What follows the convolutions."""
        mask = masking.from_lengths(counts, values.shape[1])
        values = values + positions(values.shape[1], self.dim, values)
        for block in self.blocks:
            values = block(values, mask)
        longest = frame_count(self.frames, inputs["waveform"].shape[1])
        spans = self.frames.spans(inputs["length"], longest)
        return Features(masking.blank(self.norm(values), mask), mask, spans)


class _Convolution(nn.Module):
    """One convolution along frames, or bands; normalised over channels, place by place."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(before, after, kernel, stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(after)
        self.dropout = nn.Dropout(dropout)
        self.kernel, self.stride = kernel, stride

    def forward(self, values: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """[B, N, C] with real frames ``counts`` [B] to [B, N', C'], 0 on padding, and counts."""
        return self.normed(self.convolve(values), counts)

    def convolve(self, values: Tensor) -> Tensor:
        """[B, N, C] to [B, N', C']."""
        convolved: Tensor = self.convolution(values.transpose(1, 2)).transpose(1, 2)
        return convolved

    def normed(self, values: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """What follows the convolution, and the real frames after it."""
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

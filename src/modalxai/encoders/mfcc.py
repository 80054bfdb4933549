"""Mel-frequency cepstral coefficients with their changes, as one vector per hop."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modalxai import audio, masking
from modalxai.encoders.sequence import SequenceLayers, SequenceName
from modalxai.encoders.trainable import PartlyTrainable, Trainable
from modalxai.encoders.waveforms import WaveformCollate, WaveformRemoval, check_positive
from modalxai.errors import InputError
from modalxai.pretrained import Pretrained
from modalxai.types import Features, Inputs

DELTA_WINDOW = 5
"""Frames over which a change is a regression slope: two on either side."""


class MfccEncoder(WaveformRemoval, PartlyTrainable, Pretrained):
    """The discrete cosine transform of the log-mel spectrogram, then `SequenceLayers`.

    The spectrogram is on the fixed scale of ``mel-cnn`` (-2 is 80 dB below full scale, 2 is full
    scale), and never on a scale of the batch's own loudest frame, as a decibel range cut at
    ``top_db`` is: that would tie clips together.

    Parameters
    ----------
    dim
        Width D of the vectors.
    coefficients
        Cepstral coefficients, the zeroth (loudness) among them; at most ``mels``.
    deltas
        How many orders of change follow them: 0, 1 (delta) or 2 (delta-delta too). A change is
        the regression slope over five frames, the clip's ends held.
    mels, fmin, fmax
        Mel bands (HTK scale) between two frequencies in hertz.
    sample_rate
        Hertz; recordings at other rates are resampled.
    window, hop
        Seconds of a window, and from one to the next.
    sequence, sequence_layers, heads
        What follows, see `modalxai.encoders.sequence`.
    dropout
        Probability from 0 to below 1, in training only.
    segment_seconds
        Length of a ``"segment"`` unit.
    normalize
        Whether each waveform is first brought to unit variance, which discards loudness.
    trainable
        ``"none"``, ``"all"``, or how many top layers learn.

    Raises
    ------
    InputError
        Settings that do not fit one another.

    References
    ----------
    Davis and Mermelstein (1980), Comparison of parametric representations for monosyllabic word
    recognition; the slope: Young et al., The HTK Book, equation 5.16.
    """

    def __init__(
        self,
        dim: int = 128,
        coefficients: int = 40,
        deltas: int = 2,
        mels: int = 64,
        fmin: float = 50.0,
        fmax: float = 8000.0,
        sample_rate: int = 16_000,
        window: float = 0.032,
        hop: float = 0.010,
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
        }
        if not (1 <= coefficients <= mels and 0 <= fmin < fmax <= sample_rate / 2):
            raise InputError(
                "impossible coefficients or mel bands",
                expected=f"1 <= coefficients <= mels and 0 <= fmin < fmax <= {sample_rate / 2:g}",
                got=f"coefficients={coefficients}, mels={mels}, fmin={fmin}, fmax={fmax}",
                mend="choose fewer coefficients, and bands below half the sample rate",
            )
        if isinstance(deltas, bool) or deltas not in (0, 1, 2):
            raise InputError(
                "unknown order of change",
                expected="deltas of 0, 1 or 2",
                got=repr(deltas),
                mend="write deltas=2 for delta and delta-delta",
            )
        for name, value in (("window", window), ("hop", hop), ("segment_seconds", segment_seconds)):
            check_positive(name, value)
        self.dim = dim
        self.deltas = deltas
        self.segment_seconds = segment_seconds
        samples = round(window * sample_rate)
        # Rebuilt from the settings, so not part of the weights.
        self.register_buffer("window", torch.hann_window(samples), persistent=False)
        filters = audio.mel_filters(samples, mels, fmin, fmax, sample_rate)
        self.register_buffer("filters", filters, persistent=False)
        cosines = audio.torchaudio().functional.create_dct(coefficients, mels, norm="ortho")
        self.register_buffer("cosines", cosines, persistent=False)
        # Changes look two frames to either side; the field is that of the coefficients themselves.
        self.frames = audio.Frames(samples, round(hop * sample_rate), 0, sample_rate)
        width = coefficients * (1 + deltas)
        self.sequence = SequenceLayers(sequence, width, dim, sequence_layers, heads, dropout)
        self.collate = WaveformCollate(self.frames, normalize)
        self.train_only(trainable, self.sequence.layers)

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments as json values."""
        return dict(self._settings)

    def cepstra(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Coefficients and their changes, and where they are real.

        Returns
        -------
        tuple
            Float [B, T, coefficients * (1 + deltas)], 0 on padding; and bool [B, T].
        """
        # A batch of missing recordings is shorter than one window.
        waveform = masking.lengthen(inputs["waveform"].float(), self.frames.field)
        window, filters = self.get_buffer("window").float(), self.get_buffer("filters").float()
        mel = audio.log_mel(waveform, window, self.frames.stride, filters)
        mel = 2 - 4 * mel / audio.MEL_FLOOR
        counts = self.frames.counts(inputs["length"])
        orders = [mel @ self.get_buffer("cosines").float()]
        for _ in range(self.deltas):
            orders.append(_slope(_hold(orders[-1], counts)))
        mask = masking.from_lengths(counts, mel.shape[1])
        return masking.blank(torch.cat(orders, dim=-1), mask), mask

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
        values, mask = self.cepstra(inputs)
        spans = self.frames.spans(inputs["length"], mask.shape[1])
        return Features(self.sequence(values, mask), mask, spans)


def _hold(values: Tensor, counts: Tensor) -> Tensor:
    """[B, T, C] whose padding repeats the row's last real frame.

    So a change at a clip's end is what it is without any padding.
    """
    last = (counts - 1).clamp(min=0)[:, None]
    place = torch.arange(values.shape[1], device=values.device).expand(len(values), -1)
    return values.gather(1, place.minimum(last)[..., None].expand_as(values))


def _slope(values: Tensor) -> Tensor:
    """[B, T, C] to its regression slope along time."""
    deltas = audio.torchaudio().functional.compute_deltas
    slope: Tensor = deltas(values.transpose(1, 2), win_length=DELTA_WINDOW)
    return slope.transpose(1, 2)

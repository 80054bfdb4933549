"""An adapter: ``speechbrain.inference.classifiers.EncoderClassifier`` as an encoder."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor

from modalxai import audio, masking
from modalxai.encoders.waveforms import WaveformCollate, WaveformRemoval
from modalxai.errors import DependencyError
from modalxai.pretrained import Pretrained
from modalxai.types import Features, Inputs, Spans

SHORTEST = 400
"""Samples that a clip must have: one window of 25 ms at 16 kHz."""


class SpeechBrainEncoder(Pretrained, WaveformRemoval):
    """One vector per clip, or per step, of a pretrained encoder; clips are never padded.

    Parameters
    ----------
    source
        What ``EncoderClassifier.from_hparams`` takes: a name on the hub or a folder.
    trainable
        Whether the encoder learns.
    sample_rate
        Hertz that it was trained at.
    segment_seconds
        Length of the units of kind ``"segment"``.

    Raises
    ------
    DependencyError
        SpeechBrain is not installed.
    """

    kinds: tuple[str, ...] = ("segment", "voiced", "tile")

    def __init__(
        self,
        source: str,
        trainable: bool = False,
        sample_rate: int = 16_000,
        segment_seconds: float = 0.5,
    ) -> None:
        super().__init__()
        try:
            from speechbrain.inference.classifiers import EncoderClassifier
        except ImportError as error:
            raise DependencyError(
                "this encoder needs SpeechBrain",
                expected="speechbrain 1.0 or newer",
                got="not installed",
                mend="pip install speechbrain",
            ) from error
        self.source, self.trainable, self.segment_seconds = source, trainable, segment_seconds
        self.frames = audio.Frames(SHORTEST, SHORTEST, 0, sample_rate)
        self.collate = WaveformCollate(self.frames, normalize=False)
        self.classifier = EncoderClassifier.from_hparams(source=source, freeze_params=not trainable)
        self.classifier.requires_grad_(trainable).eval()
        with torch.no_grad():
            self.dim = self._encoded(torch.zeros(1, sample_rate)).shape[-1]

    def train(self, mode: bool = True) -> Self:
        """A frozen encoder stays in eval."""
        super().train(mode)
        self.classifier.train(mode and self.trainable)
        return self

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments as json values."""
        return {
            "source": self.source,
            "trainable": self.trainable,
            "sample_rate": self.frames.sample_rate,
            "segment_seconds": self.segment_seconds,
        }

    def forward(self, inputs: Inputs) -> Features:
        """Waveforms [B, S] to vectors [B, T, D]."""
        waveform, lengths = inputs["waveform"], inputs["length"]
        blocks: dict[int, Tensor] = {}
        for length in sorted({int(one) for one in lengths} - {0}):
            rows = (lengths == length).nonzero().flatten()
            found = self._encoded(waveform[rows, :length])
            blocks |= {int(row): one for row, one in zip(rows, found, strict=True)}
        nothing = waveform.new_zeros(0, self.dim)
        each = [blocks.get(row, nothing) for row in range(len(lengths))]
        wide = max((one.dtype for one in each), key=lambda kind: torch.finfo(kind).bits)
        values, mask = masking.pad([one.to(wide) for one in each])
        return Features(values, mask, self._spans(mask, lengths))

    def _spans(self, mask: Tensor, lengths: Tensor) -> Spans:
        """The steps of a clip share its length evenly: encoders do not say where they lie."""
        steps = mask.sum(1, keepdim=True).clamp(min=1)
        each = (lengths / self.frames.sample_rate)[:, None] / steps
        start = torch.arange(mask.shape[1], device=mask.device) * each
        return Spans(start * mask, (start + each) * mask, "seconds")

    def _encoded(self, clips: Tensor) -> Tensor:
        """Clips of one length [n, S] to vectors [n, T, D]."""
        # It moves what it is given to this device, which ``.to("cuda")`` does not change.
        self.classifier.device = clips.device
        whole = torch.ones(len(clips), device=clips.device)
        found: Tensor = self.classifier.encode_batch(clips, whole)
        return found if found.dim() == 3 else found[:, None]

"""How long a user waits: for a whole utterance, and for speech that is still coming in."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch

from modalxai.errors import InputError
from modalxai.types import Audio


class Predictor(Protocol):
    """Anything with the ``predict`` of an `EmotionModel`."""

    def predict(self, samples: Any, /) -> Any:
        """Scores of one sample."""
        ...


@dataclass(frozen=True)
class Latency:
    """What `latency` measured.

    Parameters
    ----------
    seconds
        Median time from a whole utterance to its prediction.
    slowest
        95th percentile of that time.
    real_time_factor
        Total time over total length of the audio: below 1 keeps up with the speaker.
    window
        Length of the stretches in which speech came in, in seconds; NaN without audio.
    window_seconds
        Median time from the end of a stretch to its prediction.
    window_factor
        Total time over total length, stretch by stretch.
    utterances
        How many were measured.
    """

    seconds: float
    slowest: float
    real_time_factor: float
    window: float
    window_seconds: float
    window_factor: float
    utterances: int

    def __str__(self) -> str:
        whole = f"{1000 * self.seconds:.0f} ms per utterance (95 %: {1000 * self.slowest:.0f} ms)"
        if self.real_time_factor == self.real_time_factor:  # words alone have no length
            whole += f", real-time factor {self.real_time_factor:.3f}"
        if self.window != self.window:
            return whole
        return (
            f"{whole}; in windows of {self.window:g} s: {1000 * self.window_seconds:.0f} ms each, "
            f"real-time factor {self.window_factor:.3f}"
        )


def latency(
    model: Predictor,
    samples: Sequence[Mapping[str, Any]],
    window: float = 1.0,
    audio: str = "audio",
    warm_up: int = 2,
) -> Latency:
    """Predict one sample at a time and measure the time, once whole and once in windows.

    A window is predicted by itself, with the other modalities of its sample, as a system must that
    cannot wait for the end of the utterance. What the machine does besides is measured too.

    Parameters
    ----------
    model
        An `EmotionModel`, or anything with its ``predict``.
    samples
        One or more.
    window
        Seconds of speech that are predicted together.
    audio
        The modality that streams. Samples without it are only predicted whole.
    warm_up
        Predictions that are not measured.

    Raises
    ------
    InputError
        No sample, or a window without length.
    """
    chosen = [samples[index] for index in range(len(samples))]
    if not chosen or not window > 0:
        raise InputError(
            "nothing to measure",
            expected="one sample or more, and a window above 0 seconds",
            got=f"{len(chosen)} samples, a window of {window!r} s",
            mend="give held-out samples",
        )
    for sample in (chosen * warm_up)[:warm_up]:
        model.predict(sample)
    whole = [_timed(model, sample) for sample in chosen]
    lengths = [_seconds(sample.get(audio)) for sample in chosen]
    windows = [part for sample in chosen for part in _windows(sample, audio, window)]
    parts = [_timed(model, part) for part in windows]
    heard = sum(_seconds(part[audio]) for part in windows)
    nan = float("nan")
    return Latency(
        statistics.median(whole),
        float(torch.tensor(whole).quantile(0.95)),
        sum(whole) / sum(lengths) if sum(lengths) else nan,
        window if parts else nan,
        statistics.median(parts) if parts else nan,
        sum(parts) / heard if heard else nan,
        len(chosen),
    )


def _timed(model: Predictor, sample: Mapping[str, Any]) -> float:
    start = time.perf_counter()
    found = model.predict(sample)
    if torch.cuda.is_available() and getattr(found, "scores", torch.zeros(0)).is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _seconds(audio: Any) -> float:
    if not isinstance(audio, Audio) or not audio.sample_rate:
        return 0.0
    return float(torch.as_tensor(audio.waveform).shape[-1] / audio.sample_rate)


def _windows(sample: Mapping[str, Any], audio: str, window: float) -> list[Mapping[str, Any]]:
    """The sample once for each stretch; a last one under half a window joins the one before."""
    clip = sample.get(audio)
    if not isinstance(clip, Audio) or not clip.sample_rate:
        return []
    waveform = torch.as_tensor(clip.waveform)
    size = max(1, round(window * clip.sample_rate))
    count = max(1, round(waveform.shape[-1] / size))
    ends = [size * (place + 1) for place in range(count - 1)] + [waveform.shape[-1]]
    pieces = [waveform[..., a:b] for a, b in zip([0, *ends], ends, strict=False)]
    return [{**sample, audio: replace(clip, waveform=piece)} for piece in pieces]

"""What a picture shows of a recording: its outline, spectrogram, pitch and intensity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modalxai.errors import DependencyError
from modalxai.voice import Tracker, measure
from modalxai.voice.intensity import PERIOD, decibels
from modalxai.voice.world import SHORTEST, RawAudio, mono

Array = NDArray[np.float64]

WINDOW = 0.025
"""Seconds of the Hann window of the spectrogram."""
HIGHEST = 8000.0
"""Hertz up to which it is drawn."""
ROWS, COLUMNS = 96, 360
"""Pixels of the spectrogram, at most."""
DEPTH, LEVELS = 65.0, 16
"""Decibels below the loudest cell that are drawn, and into how many greys."""
STEP = 4
"""Every so many frames of 5 ms are drawn."""


@dataclass(frozen=True, eq=False)
class Heard:
    """A recording as curves over seconds.

    Parameters
    ----------
    clip, rate
        The waveform, float [S], and hertz.
    pitch, intensity
        [T], hertz (NaN where unvoiced or unknown) and decibels of full scale, every 20 ms.
    notes
        What keeps a curve from being drawn.
    """

    clip: Array
    rate: int
    pitch: Array
    intensity: Array
    notes: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.clip) / self.rate

    @property
    def times(self) -> Array:
        """Seconds of the curves' points, [T]."""
        return np.asarray(np.arange(len(self.intensity)) * PERIOD * STEP)


def hear(raw: RawAudio, tracker: Tracker | None = None) -> Heard:
    """Measure a recording; without pyworld, or too short for a voice, it has no pitch.

    Raises
    ------
    InputError
        A recording that cannot be used, see `modalxai.audio.prepare`.
    """
    waveform, rate = mono(raw)
    clip = waveform.numpy().astype(np.float64)
    frames = int(len(clip) / rate / PERIOD) + 1
    notes: tuple[str, ...]
    if len(clip) < SHORTEST * rate:
        notes = ("too short to hold a voice",)
    else:
        try:
            found = measure(raw, tracker)
        except DependencyError:
            notes = (
                "the pitch is not drawn: pyworld is missing (pip install 'modalxai[prosody]')",
            )
        else:
            pitch = found.pitch.double().numpy()
            pitch = np.where(found.voiced.numpy(), pitch, np.nan)
            intensity = found.intensity.double().numpy()
            return Heard(clip, rate, pitch[::STEP], intensity[::STEP], found.notes)
    intensity = decibels(clip - clip.mean(), rate, frames)[::STEP]
    return Heard(clip, rate, np.full(len(intensity), np.nan), intensity, notes)


def outline(clip: Array, most: int = 400) -> tuple[Array, Array]:
    """Least and greatest sample in each of ``most`` stretches (or fewer), [N] and [N]."""
    edges = np.linspace(0, len(clip), min(most, len(clip)) + 1).astype(int)[:-1]
    return np.minimum.reduceat(clip, edges), np.maximum.reduceat(clip, edges)


def spectrogram(clip: Array, rate: int) -> tuple[Array, float]:
    """Decibels [F, T] below the loudest cell, low frequencies first, and the highest in hertz.

    In steps, of which there are few, so that the picture stays small.
    """
    width = max(16, int(WINDOW * rate))
    size = 1 << (width - 1).bit_length()
    padded = np.pad(clip, (width // 2, width))
    count = int(min(COLUMNS, max(1, np.ceil(4 * len(clip) / width))))
    starts = np.linspace(0, len(clip), count, endpoint=False).astype(int)
    frames = padded[starts[:, None] + np.arange(width)] * np.hanning(width)
    power = np.abs(np.fft.rfft(frames, n=size)) ** 2
    highest = min(HIGHEST, rate / 2)
    bins = max(1, round(highest / (rate / 2) * (size // 2)))
    edges = np.linspace(0, bins, min(ROWS, bins) + 1).astype(int)[:-1]
    bands = np.add.reduceat(power[:, :bins], edges, axis=1).T
    loud = 10 * np.log10(np.maximum(bands, 1e-12))
    below = np.clip(loud - loud.max(), -DEPTH, 0) if bands.max() > 1e-10 else 0 * loud - DEPTH
    steps: Array = np.round(below / DEPTH * (LEVELS - 1)) / (LEVELS - 1) * DEPTH
    return steps, highest


def painted(units: Any, seconds: float, highest: float, largest: float) -> Array:
    """Tiles as a picture [F, T, 4], low frequencies first: colour by sign, opacity by size."""
    from modalxai.report.figures.palette import AGAINST, FOR

    values = np.zeros((ROWS, COLUMNS))
    for one in units:
        if not np.isfinite([one.value, one.start, one.end, one.low, one.high]).all():
            continue
        low, high = (round(edge / highest * ROWS) for edge in (one.low, one.high))
        start, end = (round(edge / seconds * COLUMNS) for edge in (one.start, one.end))
        values[max(0, low) : max(0, high), max(0, start) : max(0, end)] += one.value
    image = np.zeros((ROWS, COLUMNS, 4))
    for side, there in ((FOR, values > 0), (AGAINST, values < 0)):
        image[there, :3] = [int(side[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    if largest > 0:
        image[..., 3] = 0.75 * np.minimum(np.abs(values) / largest, 1)
    return image

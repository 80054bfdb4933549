"""WORLD: a voice as pitch, spectral envelope and aperiodicity, and put together again.

Source: M. Morise, F. Yokomori, K. Ozawa, IEICE Trans. Inf. & Syst. E99-D (2016), 1877-1884. The
envelope is found by CheapTrick, the aperiodicity by D4C.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modalxai import audio
from modalxai.errors import InputError
from modalxai.types import Audio
from modalxai.voice import library
from modalxai.voice.intensity import PERIOD, active_frames, decibels, impose
from modalxai.voice.tracking import Tracker, steady, track

Array = NDArray[np.float64]
RawAudio = Audio | str | Path

SHORTEST = 0.05
"""Seconds of the shortest clip: two or three glottal pulses of a low voice."""
LOWEST_RATE = 16_000
"""Hertz that D4C needs, which looks for voicing up to 7.9 kHz; slower clips are resampled."""
VOICED = 0.5
"""D4C sets the aperiodicity of a frame it holds to be unvoiced to 1 from the lowest bin on."""


@dataclass(frozen=True, eq=False)
class Analysis:
    """A clip in WORLD's terms, one row every 5 ms; frame t stands at t * 5 ms.

    Parameters
    ----------
    pitch
        Hertz [T], 0 where unvoiced. A frame is voiced when the tracker finds a pitch, D4C finds
        the spectrum periodic, and the frame is active.
    sure
        Bool [T], voiced frames whose pitch is no guess, see `modalxai.voice.tracking.steady`.
        Means and spreads of the pitch are taken over these.
    envelope
        Power spectrum [T, F], smoothed over the harmonics.
    aperiodicity
        Share of noise, 0 to 1 [T, F].
    intensity
        Decibels [T], see `modalxai.voice.intensity`.
    active
        Bool [T], where there is speech and not a pause.
    samples, sample_rate
        Of the clip.
    level
        Its root mean square, the mean taken off; 0 for silence.
    """

    pitch: Array
    sure: NDArray[np.bool_]
    envelope: Array
    aperiodicity: Array
    intensity: Array
    active: NDArray[np.bool_]
    samples: int
    sample_rate: int
    level: float

    @property
    def voiced(self) -> NDArray[np.bool_]:
        """Bool [T]."""
        return self.pitch > 0

    @property
    def sure_pitch(self) -> Array:
        """Hertz of the sure frames, [N]."""
        return self.pitch[self.sure]

    @property
    def highest(self) -> float:
        """Hertz of the last bin of the envelope."""
        return self.sample_rate * _factor(self.sample_rate) / 2


def mono(raw: RawAudio) -> tuple[Tensor, int]:
    """One checked mono waveform, float32 [S] at its own rate, and the rate.

    Raises
    ------
    InputError
        As `modalxai.audio.prepare`.
    """
    clip = audio.read(raw) if isinstance(raw, str | Path) else raw
    rate = getattr(clip, "sample_rate", None)
    # A missing or impossible rate is prepare's to refuse, whatever is asked for.
    asked = int(rate) if isinstance(rate, int | np.integer) and rate > 0 else LOWEST_RATE
    return audio.prepare(clip, asked), asked


def waveform_of(raw: RawAudio) -> tuple[Array, int]:
    """The same, float64, of a clip that can hold a voice.

    Raises
    ------
    InputError
        As `mono`, or a clip shorter than `SHORTEST`.
    """
    waveform, rate = mono(raw)
    if len(waveform) < SHORTEST * rate:
        raise InputError(
            "a clip too short to hold a voice",
            expected=f"at least {SHORTEST * 1000:g} ms",
            got=f"{len(waveform) / rate * 1000:.3g} ms",
            mend="drop the recording, or give None where there is none",
        )
    return waveform.numpy().astype(np.float64), rate


def analyse(raw: RawAudio, tracker: Tracker | None = None) -> Analysis:
    """Take a recording apart.

    The analyses of the latest two clips, and the pitches of the latest 64, which are most of the
    work, are kept and found again by the clips' samples: many edits of one clip cost one analysis,
    and the clips of a batch may take turns.

    Raises
    ------
    InputError
        See `waveform_of`.
    DependencyError
        pyworld is not installed.
    """
    waveform, rate = waveform_of(raw)
    return _analyse(waveform.astype(np.float32).tobytes(), rate, tracker or Tracker())


@lru_cache(maxsize=2)
def _analyse(samples: bytes, rate: int, tracker: Tracker) -> Analysis:
    world = library.pyworld()
    clip, signal, fast = _signals(samples, rate)
    pitch, agreed = _track(samples, rate, tracker)
    times = np.arange(len(pitch)) * PERIOD
    envelope = world.cheaptrick(signal, pitch, times, fast, f0_floor=tracker.floor)
    size = 2 * (envelope.shape[1] - 1)
    aperiodicity = world.d4c(signal, pitch, times, fast, fft_size=size)
    intensity = decibels(clip, rate, len(times))
    active = active_frames(intensity)
    pitch = np.where(active & (aperiodicity[:, 0] < VOICED), pitch, 0.0)
    sure = steady(pitch > 0, agreed)
    level = float(np.sqrt(np.mean(clip**2)))
    found = (pitch, sure, envelope, aperiodicity, intensity, active)
    for array in found:
        # They are kept, and must stay what they are.
        array.setflags(write=False)
    return Analysis(*found, samples=len(clip), sample_rate=rate, level=level)


@lru_cache(maxsize=64)
def _track(samples: bytes, rate: int, tracker: Tracker) -> tuple[Array, NDArray[np.bool_]]:
    _, signal, fast = _signals(samples, rate)
    return track(signal, fast, tracker)


def _signals(samples: bytes, rate: int) -> tuple[Array, Array, int]:
    """The clip [S] without its mean, the same at a rate that WORLD can work at, and that rate."""
    from scipy.signal import resample_poly

    clip = np.frombuffer(samples, dtype=np.float32).astype(np.float64)
    clip = clip - clip.mean()
    factor = _factor(rate)
    signal = clip if factor == 1 else resample_poly(clip, factor, 1)
    return clip, np.ascontiguousarray(signal, dtype=np.float64), rate * factor


def synthesise(analysis: Analysis) -> Audio:
    """Put a voice together.

    Exactly ``samples`` long. Its intensity follows ``intensity`` frame by frame, which makes a
    resynthesis as loud as the recording at every moment; then its root mean square is exactly
    ``level``.

    Returns
    -------
    Audio
        Mono, float32 [S]. Peaks may lie beyond 1: nothing is clipped.
    """
    clip = np.zeros(analysis.samples)
    if analysis.level > 0:
        factor = _factor(analysis.sample_rate)
        sound = library.pyworld().synthesize(
            # Copies, because pyworld takes nothing that is read-only.
            np.array(analysis.pitch, order="C"),
            np.array(analysis.envelope, order="C"),
            np.array(analysis.aperiodicity, order="C"),
            analysis.sample_rate * factor,
            PERIOD * 1000,
        )
        sound = _lowered(sound, factor)[: analysis.samples]
        clip[: len(sound)] = sound
        clip = levelled(impose(clip, analysis.sample_rate, analysis.intensity), analysis.level)
    return Audio(torch.from_numpy(clip.astype(np.float32)), analysis.sample_rate)


def levelled(clip: Array, level: float) -> Array:
    """The waveform [S] without its mean, its root mean square ``level`` (unless it is silent)."""
    clip = clip - clip.mean()
    power = float(np.sqrt(np.mean(clip**2)))
    return clip * (level / power) if power > 0 else clip


def _factor(rate: int) -> int:
    return math.ceil(LOWEST_RATE / rate)


def _lowered(sound: Array, factor: int) -> Array:
    from scipy.signal import resample_poly

    return sound if factor == 1 else np.asarray(resample_poly(sound, 1, factor))

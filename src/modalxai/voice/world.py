"""WORLD: a voice as pitch, spectral envelope and aperiodicity, and put together again.

Source: M. Morise, F. Yokomori, K. Ozawa, IEICE Trans. Inf. & Syst. E99-D (2016), 1877-1884. The
pitch is found by Harvest (Morise, Interspeech 2017) or by DIO with StoneMask (Morise et al., 2009),
the envelope by CheapTrick, the aperiodicity by D4C.
"""

from __future__ import annotations

import importlib
import math
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modalxai import audio
from modalxai.errors import DependencyError, InputError
from modalxai.types import Audio
from modalxai.voice.intensity import PERIOD, active_frames, decibels, impose

Array = NDArray[np.float64]
RawAudio = Audio | str | Path

SHORTEST = 0.05
"""Seconds of the shortest clip: two or three glottal pulses of a low voice."""
LOWEST_RATE = 16_000
"""Hertz that D4C needs, which looks for voicing up to 7.9 kHz; slower clips are resampled."""
VOICED = 0.5
"""D4C sets the aperiodicity of a frame it holds to be unvoiced to 1 from the lowest bin on."""


@dataclass(frozen=True)
class Tracker:
    """How the pitch is found.

    Parameters
    ----------
    method
        ``"harvest"``, the more robust and by far the slowest step of all, or ``"dio"`` (refined by
        StoneMask), some thirty times as fast, with more octave errors.
    floor, ceiling
        Hertz between which a pitch is looked for.

    Raises
    ------
    InputError
        Another method, or no range of pitches.
    """

    method: Literal["harvest", "dio"] = "harvest"
    floor: float = 60.0
    ceiling: float = 800.0

    def __post_init__(self) -> None:
        if self.method not in ("harvest", "dio"):
            raise InputError(
                "an unknown way to find the pitch",
                expected="'harvest' or 'dio'",
                got=repr(self.method),
                mend="choose one of the two",
            )
        if not 40 <= self.floor < self.ceiling <= 2000:
            raise InputError(
                "no range of pitches",
                expected="40 <= floor < ceiling <= 2000 hertz",
                got=f"floor={self.floor!r}, ceiling={self.ceiling!r}",
                mend="leave the defaults, 60 and 800, unless the voice is known",
            )


@dataclass(frozen=True, eq=False)
class Analysis:
    """A clip in WORLD's terms, one row every 5 ms; frame t stands at t * 5 ms.

    Parameters
    ----------
    pitch
        Hertz [T], 0 where unvoiced. A frame is voiced when the tracker finds a pitch, D4C finds
        the spectrum periodic, and the frame is active.
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

    The analysis of the latest clip, and the pitch of the latest 64, which is most of the work, are
    kept and found again by the clip's samples: many edits of one clip cost one analysis, also when
    the clips of a batch take turns.

    Raises
    ------
    InputError
        See `waveform_of`.
    DependencyError
        pyworld is not installed.
    """
    waveform, rate = waveform_of(raw)
    return _analyse(waveform.astype(np.float32).tobytes(), rate, tracker or Tracker())


@lru_cache(maxsize=1)
def _analyse(samples: bytes, rate: int, tracker: Tracker) -> Analysis:
    world = pyworld()
    clip, signal, fast = _signals(samples, rate)
    pitch = _track(samples, rate, tracker)
    times = np.arange(len(pitch)) * PERIOD
    envelope = world.cheaptrick(signal, pitch, times, fast, f0_floor=tracker.floor)
    size = 2 * (envelope.shape[1] - 1)
    aperiodicity = world.d4c(signal, pitch, times, fast, fft_size=size)
    intensity = decibels(clip, rate, len(times))
    active = active_frames(intensity)
    pitch = np.where(active & (aperiodicity[:, 0] < VOICED), pitch, 0.0)
    level = float(np.sqrt(np.mean(clip**2)))
    found = (pitch, envelope, aperiodicity, intensity, active)
    for array in found:
        # They are kept, and must stay what they are.
        array.setflags(write=False)
    return Analysis(*found, samples=len(clip), sample_rate=rate, level=level)


@lru_cache(maxsize=64)
def _track(samples: bytes, rate: int, tracker: Tracker) -> Array:
    world = pyworld()
    _, signal, fast = _signals(samples, rate)
    limits = {"f0_floor": tracker.floor, "f0_ceil": tracker.ceiling, "frame_period": PERIOD * 1000}
    if tracker.method == "harvest":
        return np.asarray(world.harvest(signal, fast, **limits)[0])
    coarse, times = world.dio(signal, fast, **limits)
    return np.asarray(world.stonemask(signal, coarse, times, fast))


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
        sound = pyworld().synthesize(
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


def pyworld() -> ModuleType:
    """The pyworld package.

    Raises
    ------
    DependencyError
        It is missing, or setuptools, which it reads its version with, is missing or too new.
    """
    try:
        with warnings.catch_warnings():
            # It imports pkg_resources, which says at every import that it will go away.
            warnings.simplefilter("ignore")
            return importlib.import_module("pyworld")
    except ImportError as error:
        raise DependencyError(
            "the voice cannot be taken apart without pyworld",
            expected="pyworld, and a setuptools older than 82",
            got=str(error),
            mend="pip install 'modalxai[prosody]'",
        ) from error

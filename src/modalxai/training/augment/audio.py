"""Edits of a recording: masks in time and frequency, speed, gain, noise, reverberation.

Masks work on the waveform, so that they serve every encoder: a masked band is silent in any
spectrogram made from it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Generator, Tensor

from modalxai import audio as sound
from modalxai.errors import InputError
from modalxai.training.augment.draws import between, check_range, check_share, choose, whole
from modalxai.types import Audio

RawAudio = Audio | str | Path


class AudioEdit(ABC):
    """A change of a recording at the rate it has; of several channels the chosen one comes back."""

    def __call__(self, raw: RawAudio, generator: Generator) -> Audio:
        """A new recording, its random choices drawn from ``generator``.

        Raises
        ------
        InputError
            As for `modalxai.audio.prepare`: no rate, several channels and no choice among them,
            samples that are not finite floats.
        """
        recording = sound.read(raw) if isinstance(raw, str | Path) else raw
        rate = getattr(recording, "sample_rate", None) or 0
        changed = self.change(sound.prepare(recording, rate), rate, generator)
        return Audio(changed, rate)

    @abstractmethod
    def change(self, waveform: Tensor, sample_rate: int, generator: Generator) -> Tensor:
        """Float [S] to a new float [S']."""


@dataclass(frozen=True)
class TimeMask(AudioEdit):
    """Silences stretches of time (Park et al. 2019, SpecAugment, without the warp).

    Parameters
    ----------
    longest
        Seconds; each stretch lasts 0 to as much, at most half of the clip.
    count
        How many stretches.
    """

    longest: float = 0.5
    count: int = 1

    def __post_init__(self) -> None:
        check_range("the longest stretch", (0, self.longest), "seconds")

    def change(self, waveform: Tensor, sample_rate: int, generator: Generator) -> Tensor:
        """Exact zeros within the stretches, everything else as it was."""
        result, size = waveform.clone(), len(waveform)
        for _ in range(self.count):
            most = min(round(self.longest * sample_rate), size // 2)
            length = whole(most + 1, generator)
            start = whole(size - length + 1, generator)
            result[start : start + length] = 0
        return result


@dataclass(frozen=True)
class FrequencyMask(AudioEdit):
    """Silences bands of frequencies (Park et al. 2019), on the mel scale, over the whole clip.

    Parameters
    ----------
    widest
        Mel bands; each mask spans 0 to as many (27 in the paper's policies).
    count
        How many masks.
    mels, fmin, fmax
        The bands: 128 between 100 and 8000 Hz, as KEMDy20's valence and arousal models have them.
        Above half the sample rate nothing is masked.
    """

    widest: int = 27
    count: int = 1
    mels: int = 128
    fmin: float = 100.0
    fmax: float = 8000.0

    def __post_init__(self) -> None:
        if not 0 < self.widest <= self.mels or not 0 <= self.fmin < self.fmax:
            raise InputError(
                "a frequency mask that fits no band",
                expected="0 < widest <= mels and 0 <= fmin < fmax",
                got=str(self),
                mend="FrequencyMask(widest=27, mels=128, fmin=100, fmax=8000)",
            )

    def change(self, waveform: Tensor, sample_rate: int, generator: Generator) -> Tensor:
        """The Fourier coefficients of the clip within the bands become 0."""
        spectrum = torch.fft.rfft(waveform.double())
        hertz = torch.fft.rfftfreq(len(waveform), 1 / sample_rate, dtype=torch.float64)
        for _ in range(self.count):
            low, high = self.band(generator)
            band = (hertz >= low) & (hertz < high)
            spectrum[band] = self.fill(spectrum[band], generator)
        result: Tensor = torch.fft.irfft(spectrum, n=len(waveform))
        return result.to(waveform.dtype)

    def band(self, generator: Generator) -> tuple[float, float]:
        """Hertz at which one mask begins and ends."""
        width = whole(self.widest + 1, generator)
        first = whole(self.mels - width + 1, generator)
        low, high = (_mel(hertz) for hertz in (self.fmin, self.fmax))
        step = (high - low) / self.mels
        return _hertz(low + first * step), _hertz(low + (first + width) * step)

    def fill(self, band: Tensor, generator: Generator) -> Tensor:
        """What takes the place of the coefficients, complex [bins]."""
        return torch.zeros_like(band)


@dataclass(frozen=True)
class NoiseFrequencyMask(FrequencyMask):
    """Replaces bands of frequencies by random noise of the band's own power; see `FrequencyMask`.

    The second augmentation of the KEMDy20 valence and arousal models. Their noise's level is not
    told; the band's own power keeps a clip as loud as it was.
    """

    def fill(self, band: Tensor, generator: Generator) -> Tensor:
        """Gaussian coefficients, scaled to the energy that the band had."""
        noise = torch.randn(band.shape, generator=generator, dtype=band.dtype)
        energy = band.abs().square().sum()
        own = noise.abs().square().sum().clamp(min=1e-30)
        return noise * (energy / own).sqrt()


@dataclass(frozen=True)
class Speed(AudioEdit):
    """Plays faster or slower: pitch and duration change together (Ko et al. 2015).

    S samples become ``ceil(S / factor)``. Everything timed by the recording (biosignals, spans of
    words) no longer fits it.

    Parameters
    ----------
    factors
        One is drawn; each with three decimals at most, so that it can be resampled exactly.
    """

    factors: Sequence[float] = (0.9, 1.1)

    def __post_init__(self) -> None:
        exact = all(0.25 <= one <= 4 and round(one, 3) == one for one in self.factors)
        if not self.factors or not exact:
            raise InputError(
                "speeds that cannot be played",
                expected="factors from 0.25 to 4, with three decimals at most",
                got=str(tuple(self.factors)),
                mend="Speed((0.9, 1.1))",
            )

    def change(self, waveform: Tensor, sample_rate: int, generator: Generator) -> Tensor:
        """Resampled from ``1000 factor`` to 1000: a ratio, whatever the rate."""
        factor = choose(self.factors, generator)
        resample = sound.torchaudio().functional.resample
        # Fewer phases than between the rates themselves, for the same ratio.
        changed: Tensor = resample(waveform, round(1000 * factor), 1000)
        return changed.clone() if factor == 1 else changed


@dataclass(frozen=True)
class Gain(AudioEdit):
    """Louder or softer by ``low`` to ``high`` decibels. Peaks may pass full scale: no clipping."""

    low: float = -6.0
    high: float = 6.0

    def __post_init__(self) -> None:
        check_range("a gain", (self.low, self.high), "decibels")

    def change(self, waveform: Tensor, sample_rate: int, generator: Generator) -> Tensor:
        """One factor for the whole clip."""
        return waveform * 10 ** (between(self.low, self.high, generator) / 20)


@dataclass(frozen=True)
class Noise(AudioEdit):
    """Adds noise at a signal-to-noise ratio of ``low`` to ``high`` decibels.

    The ratio is that of the mean powers over the whole clip. A silent clip has no
    ratio, and stays silent.

    Parameters
    ----------
    low, high
        Decibels.
    recordings
        Noises to draw from, of the clips' sample rate or another; a random stretch is taken,
        repeated where it is too short. ``()``: white Gaussian noise.
    """

    low: float = 5.0
    high: float = 20.0
    recordings: Sequence[RawAudio] = ()

    def __post_init__(self) -> None:
        check_range("a signal-to-noise ratio", (self.low, self.high), "decibels")

    def change(self, waveform: Tensor, sample_rate: int, generator: Generator) -> Tensor:
        """Signal plus noise."""
        size = len(waveform)
        if self.recordings:
            noise = sound.prepare(choose(self.recordings, generator), sample_rate)
            repeats = math.ceil(size / len(noise)) + 1
            start = whole(len(noise), generator)
            noise = noise.repeat(repeats)[start : start + size]
        else:
            noise = torch.randn(size, generator=generator)
        signal, own = (one.double().square().mean() for one in (waveform, noise))
        if not own:
            raise InputError(
                "a noise that is silent",
                expected="a recording of noise",
                got="zeros in the stretch that was drawn",
                mend="leave this recording out",
            )
        ratio = 10 ** (between(self.low, self.high, generator) / 10)
        return waveform + noise * (signal / (own * ratio)).sqrt().to(waveform.dtype)


@dataclass(frozen=True)
class Reverb(AudioEdit):
    """Puts the voice into a room: convolution with an impulse response, at the loudness it had.

    Parameters
    ----------
    low, high
        Seconds in which a synthetic room falls by 60 dB: noise that decays exponentially after the
        direct sound (Moorer 1979).
    direct
        Decibels of the direct sound over all reflections of a synthetic room.
    responses
        Measured impulse responses to draw from instead, mono or with a channel chosen; their
        direct sound is the loudest sample, and what comes before it is cut.
    """

    low: float = 0.2
    high: float = 0.8
    direct: float = 3.0
    responses: Sequence[RawAudio] = ()

    def __post_init__(self) -> None:
        check_range("a reverberation time", (self.low, self.high), "seconds")
        check_share("the shortest reverberation", self.low > 0)

    def change(self, waveform: Tensor, sample_rate: int, generator: Generator) -> Tensor:
        """As long as the clip: the tail is cut; the direct sound stays where it was."""
        if self.responses:
            response = sound.prepare(choose(self.responses, generator), sample_rate)
            response = response[int(response.abs().argmax()) :]
        else:
            response = self.room(sample_rate, generator)
        convolve = sound.torchaudio().functional.fftconvolve
        wet: Tensor = convolve(waveform, response)[: len(waveform)]
        before, after = (one.double().square().mean().sqrt() for one in (waveform, wet))
        return wet * (before / after).to(wet.dtype) if after else wet

    def room(self, sample_rate: int, generator: Generator) -> Tensor:
        """A synthetic impulse response, float [S]."""
        seconds = between(self.low, self.high, generator)
        size = max(2, math.ceil(seconds * sample_rate))
        decay = 10 ** (-3 * torch.arange(size) / (seconds * sample_rate))
        response = torch.randn(size, generator=generator) * decay
        response[0] = 0
        response /= response.square().sum().sqrt() * 10 ** (self.direct / 20)
        response[0] = 1
        return response


def _mel(hertz: float) -> float:
    return 2595 * math.log10(1 + hertz / 700)


def _hertz(mel: float) -> float:
    return 700 * (10 ** (mel / 2595) - 1)

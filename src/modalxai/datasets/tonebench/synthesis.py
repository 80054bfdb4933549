"""A source-filter synthesiser: glottal pulses and noise through moving formants.

The source is a sawtooth whose phase accumulates the pitch contour; a time-varying all-pole filter
is applied frame by frame in the frequency domain and overlap-added, so that formants glide without
clicks and a whole utterance costs a few milliseconds. Sources: G. Fant, Acoustic Theory of Speech
Production (1960); D. Klatt, J. Acoust. Soc. Am. 67 (1980), eq. 1 for the resonator; J. Allen and
L. Rabiner, Proc. IEEE 65 (1977) for filtering by overlap-add.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from modalxai.datasets.tonebench.phones import Phone
from modalxai.datasets.tonebench.voices import Speaker, Tone
from modalxai.errors import InputError

SAMPLE_RATE = 16_000
SPEECH = 0.5
"""Fraction of the clip that speech at rate 1 fills, gaps between its words included."""
GAP = 0.05
"""Usual seconds of silence between words, before rate and fitting."""
BRIGHTNESS = 3.0
"""Decibels per octave above 500 Hz given back to the sawtooth, which falls by 6."""
EDGE = 320
"""Samples of silence kept at either end of the clip, 20 ms."""
FADE = 80
"""Samples over which a word sets in and dies away, inside its own times, 5 ms."""

_HOP, _WINDOW, _FFT = 160, 320, 640
_HANN = np.hanning(_WINDOW + 1)[:-1]
_HERTZ = np.fft.rfftfreq(_FFT, 1 / SAMPLE_RATE)
_DELAY = np.exp(-2j * np.pi * _HERTZ / SAMPLE_RATE)
_OCTAVES = np.log2(np.maximum(_HERTZ, 500) / 500)
_LOG_HERTZ = np.log2(np.maximum(_HERTZ, 50))
_HIGHER = (3500.0, 4500.0)
_BANDWIDTHS = (220.0, 300.0, 80.0, 100.0, 140.0)

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]


@dataclass(frozen=True, eq=False)
class Utterance:
    """What was said, and exactly when.

    Parameters
    ----------
    waveform
        Float32 [S] at 16 kHz, peak below 1.
    words
        Start and end of every word, seconds.
    pitch
        Hertz at every sample, [S]; held beyond the ends of the speech. NaN where the voice does
        not tell.
    """

    waveform: NDArray[np.float32]
    words: tuple[tuple[float, float], ...]
    pitch: Array


def speak(
    words: Sequence[Sequence[Phone]],
    tone: Tone,
    speaker: Speaker,
    generator: np.random.Generator,
    seconds: float = 1.2,
    accent: tuple[int, Tone] | None = None,
) -> Utterance:
    """Say words in a tone of voice.

    The clip always lasts ``seconds``. The speech in it lasts ``seconds * SPEECH / tone.rate``, give
    or take 5 %, whatever is said, and starts at a random place: neither length nor place tells
    anything about the words. Gain (peak 0.3 to 0.9) and noise floor (40 to 55 dB below the peak)
    are random too; they stand for the microphone.

    Parameters
    ----------
    words
        Phones per word.
    generator
        Every random choice comes from here.
    seconds
        Length of the clip.
    accent
        The place of one word, and the tone of that word alone. Its pitch contour runs over the
        word; the word is as long as it would be without the accent, so that no length tells of it.

    Raises
    ------
    InputError
        Nothing to say, an accent on no word, or a rate so slow that the speech does not fit into
        the clip.
    """
    if not words or not all(words):
        raise InputError(
            "nothing to say",
            expected="one or more words of one or more phones",
            got=repr(words),
            mend="leave empty words out",
        )
    count = round(seconds * SAMPLE_RATE)
    phones, bounds, gates = _schedule(words, tone, generator, seconds)
    place = np.linspace(0, 1, int(bounds[-1]))
    pitch = speaker.pitch * 2 ** (_contour(tone, place, generator) / 12)
    clean = _voice(phones, bounds, pitch, tone, speaker, generator)
    if accent is not None:
        which, own = accent
        if not 0 <= which < len(gates):
            raise InputError(
                "an accent on a word that is not said",
                expected=f"a place from 0 to {len(gates) - 1}",
                got=repr(which),
                mend="count the words from 0",
            )
        first, last = gates[which]
        inside = np.clip((np.arange(len(pitch)) - first) / (last - first), 0, 1)
        rise = speaker.pitch * 2 ** (_contour(own, inside, generator) / 12)
        # All of it is spoken in the other tone, too, and the word is taken from there.
        other = _voice(phones, bounds, rise, own, speaker, generator)
        pitch[first:last], clean[first:last] = rise[first:last], other[first:last]
    clean = clean * _gate(gates, len(pitch))
    before = int(generator.integers(EDGE, count - EDGE - len(clean) + 1))
    after = count - before - len(clean)
    return Utterance(
        record(np.pad(clean, (before, after)), generator),
        tuple(((before + a) / SAMPLE_RATE, (before + b) / SAMPLE_RATE) for a, b in gates),
        np.pad(pitch, (before, after), mode="edge"),
    )


def _schedule(
    words: Sequence[Sequence[Phone]],
    tone: Tone,
    generator: np.random.Generator,
    seconds: float,
) -> tuple[list[Phone | None], NDArray[np.int64], list[tuple[int, int]]]:
    """Phones (``None`` for a gap), the samples that bound them [P + 1], the words' own bounds."""
    lengths: list[float] = []
    phones: list[Phone | None] = []
    for index, word in enumerate(words):
        stretch = tone.drawl if index == len(words) - 1 else 1.0
        if index:
            lengths.append(GAP)
            phones.append(None)
        for phone in word:
            lengths.append(phone.seconds * stretch * np.exp(0.1 * generator.standard_normal()))
            phones.append(phone)
    total = seconds * SPEECH / tone.rate * generator.uniform(0.95, 1.05)
    most = seconds - 2 * EDGE / SAMPLE_RATE
    if not 0 < total <= most:
        raise InputError(
            "the speech does not fit into its clip",
            expected=f"at most {most:.2f} s of speech",
            got=f"{total:.2f} s at rate {tone.rate:g}",
            mend="raise the tone's rate",
        )
    shares = np.concatenate([[0.0], np.cumsum(lengths)]) / sum(lengths)
    # Words start and end on samples, so that their times are exact.
    bounds = np.round(shares * total * SAMPLE_RATE).astype(np.int64)
    breaks = [-1, *(index for index, phone in enumerate(phones) if phone is None), len(phones)]
    gates = [(int(bounds[first + 1]), int(bounds[last])) for first, last in pairwise(breaks)]
    return phones, bounds, gates


def _voice(
    phones: Sequence[Phone | None],
    bounds: NDArray[np.int64],
    pitch: Array,
    tone: Tone,
    speaker: Speaker,
    generator: np.random.Generator,
) -> Array:
    """The sound of the phones [S]: pulses and breath through the tract, hiss beside it."""
    spoken = [index for index, phone in enumerate(phones) if phone is not None]
    sounds = [phone for phone in phones if phone is not None]
    steady = np.array(
        [
            bounds[index] + share * (bounds[index + 1] - bounds[index])
            for index in spoken
            for share in (0.3, 0.7)
        ]
    )
    count = len(pitch)
    samples, frames = np.arange(count), np.arange(count // _HOP + 2) * _HOP

    def track(values: Sequence[float], at: NDArray[np.int64]) -> Array:
        # Steady over the middle 40 % of each phone, a glide to the next one between.
        return np.asarray(np.interp(at, steady, np.repeat(np.asarray(values, dtype=float), 2)))

    loudness = 10 ** (tone.swell * np.linspace(-0.5, 0.5, count) / 20)
    noise = generator.standard_normal(count) * loudness
    pulses = _pulses(pitch, tone.creak, generator) * loudness
    breath = speaker.breath + tone.breath
    source = track([sound.voice for sound in sounds], samples) * (pulses + breath * noise)
    rustle = track([sound.noise for sound in sounds], samples) * noise
    formants = [
        track([sound.formants[which] for sound in sounds], frames) * speaker.tract
        for which in range(3)
    ]
    tilt = 10 ** ((BRIGHTNESS + speaker.tilt + tone.tilt) * _OCTAVES / 20)
    centre = np.log2(track([sound.centre for sound in sounds], frames))
    # A resonance one octave wide is enough to tell s from k from p.
    hiss = np.exp(-2 * (_LOG_HERTZ - centre[:, None]) ** 2)
    spectra = _spectra(source) * (_tract(formants, speaker) * tilt) + _spectra(rustle) * hiss
    return _overlap_add(spectra, count)


def _contour(tone: Tone, place: Array, generator: np.random.Generator) -> Array:
    """Semitones above the speaker's base pitch [S], with a small slow wander."""
    wave = tone.swing * np.sin(2 * np.pi * (tone.cycles * place + tone.phase))
    knots = np.linspace(0, 1, 8)
    wander = np.interp(place, knots, 0.25 * generator.standard_normal(len(knots)))
    return np.asarray(tone.level + tone.slope * (place - 0.5) + wave + wander)


def _pulses(pitch: Array, creak: float, generator: np.random.Generator) -> Array:
    """A sawtooth [S] that follows the pitch; creak weakens every second pulse and shakes all."""
    phase = generator.uniform() + np.cumsum(pitch) / SAMPLE_RATE
    cycle = phase.astype(int)
    strength = 1 + 0.03 * generator.standard_normal(cycle[-1] + 1)
    strength[1::2] *= 1 - creak
    return np.asarray((2 * (phase - cycle) - 1) * strength[cycle])


def _tract(formants: Sequence[Array], speaker: Speaker) -> Complex:
    """Response [frames, bins] of resonators in cascade, each 1 at 0 hertz (Klatt, eq. 1)."""
    higher = [np.array([hertz * speaker.tract]) for hertz in _HIGHER]
    gain, poles = np.ones((1, 1)), np.ones((1, 1), dtype=complex)
    for hertz, width in zip([*higher, *formants], _BANDWIDTHS, strict=True):
        decay = np.exp(-np.pi * width / SAMPLE_RATE)
        linear = 2 * decay * np.cos(2 * np.pi * hertz / SAMPLE_RATE)[:, None]
        gain = gain * (1 - linear + decay**2)
        poles = poles * (1 - linear * _DELAY + decay**2 * _DELAY**2)
    return np.asarray(gain / poles)


def _spectra(signal: Array) -> Complex:
    """Spectra [frames, bins] of windows that sum to the signal [S], centred every 10 ms."""
    padded = np.pad(signal, (_HOP, 2 * _HOP))
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    return np.asarray(np.fft.rfft(windows[: len(signal) // _HOP + 2] * _HANN, _FFT))


def _overlap_add(spectra: Complex, count: int) -> Array:
    """The signal [S] that filtered spectra [frames, bins] add up to."""
    frames = len(spectra)
    pieces = np.fft.irfft(spectra, _FFT).reshape(frames, -1, _HOP)
    result = np.zeros((frames + pieces.shape[1], _HOP))
    for part in range(pieces.shape[1]):
        result[part : part + frames] += pieces[:, part]
    return result.ravel()[_HOP : _HOP + count]


def _gate(words: Sequence[tuple[int, int]], count: int) -> Array:
    """1 inside words, 0 outside, with short ramps inside [S]."""
    gate = np.zeros(count)
    for first, last in words:
        inner = np.arange(last - first) + 0.5
        edge = np.minimum(inner, inner[::-1]) / FADE
        gate[first:last] = 0.5 - 0.5 * np.cos(np.pi * np.minimum(edge, 1))
    return gate


def record(clean: Array, generator: np.random.Generator) -> NDArray[np.float32]:
    """Through a microphone, [S]: a noise floor 40 to 55 dB below the peak, then a gain."""
    decibels, gain = (
        generator.uniform(-55, -40),
        np.exp(generator.uniform(np.log(0.3), np.log(0.9))),
    )
    mixed = clean / np.abs(clean).max()
    mixed += 10 ** (decibels / 20) * generator.standard_normal(len(clean))
    return np.asarray(mixed * (gain / np.abs(mixed).max()), dtype=np.float32)

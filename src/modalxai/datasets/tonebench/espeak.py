"""A second voice: the program espeak-ng, asked for one word at a time, so that times are exact.

It is not a part of this package (its licence is the GPL), and nothing needs it: without the program
there is `modalxai.errors.DependencyError`. The options are those of its manual: ``-v`` language and
variant, ``-s`` words per minute (80 to 450), ``-p`` pitch (0 to 99, an octave for every 50: its
``pitch_adjust_tab``), ``-a`` amplitude (0 to 200).
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from modalxai.audio import prepare, seed_for
from modalxai.datasets.tonebench.synthesis import (
    EDGE,
    GAP,
    SAMPLE_RATE,
    SPEECH,
    Utterance,
    record,
)
from modalxai.datasets.tonebench.voices import Speaker, Tone
from modalxai.errors import DependencyError, InputError
from modalxai.types import Audio

PROGRAM = "espeak-ng"
SPEED = 175
"""Its usual words per minute."""
SLOWEST, FASTEST = 80, 450
SILENT = 0.01
"""Of a word's peak: fainter ends of its recording are cut off."""
SECONDS = 20
"""How long one word may take."""

Array = NDArray[np.float64]

_MALE, _FEMALE = 7, 4  # variants m1.. and f1.. of every language
_PITCHES = {"m": 118.0, "f": 200.0}


def say(
    words: Sequence[str],
    language: str,
    tones: Sequence[Tone],
    speaker: Speaker,
    generator: np.random.Generator,
    seconds: float,
) -> Utterance:
    """Say words, each in a tone of its own, as `tonebench.speak` does: in a clip of ``seconds``.

    Pitch and loudness follow the tone's contour from word to word; tilt, breath and creak are the
    program's own. The speech is spoken twice, the second time at a speed that makes it last what
    the first word's tone asks for, whatever is said.

    Parameters
    ----------
    words
        As they are written.
    language
        ``"ko"`` or ``"en"``.
    tones
        One for each word.
    generator
        Of the microphone, and of where in the clip the speech lies.

    Raises
    ------
    DependencyError
        The program is not there, or fails.
    InputError
        Nothing to say, not a tone for each word, or words that do not fit into the clip at the
        program's highest speed.
    """
    if not words or len(words) != len(tones):
        raise InputError(
            "nothing to say, or not in these tones",
            expected="one word or more, and as many tones",
            got=f"{len(words)} words, {len(tones)} tones",
            mend="give each word its tone",
        )
    places = (np.arange(len(words)) + 0.5) / len(words)
    gap = round(GAP * SAMPLE_RATE)
    target = seconds * SPEECH / tones[0].rate * SAMPLE_RATE - gap * (len(words) - 1)

    def spoken(speed: float) -> list[Array]:
        return [
            word(one, command(one, language, speaker, tone, place, speed))
            for one, tone, place in zip(words, tones, places.tolist(), strict=True)
        ]

    usual = sum(len(one) for one in spoken(SPEED))
    parts = spoken(SPEED * usual / max(target, 1.0))
    length = sum(len(one) for one in parts) + gap * (len(parts) - 1)
    count = round(seconds * SAMPLE_RATE)
    if length > count - 2 * EDGE:
        raise InputError(
            "the speech does not fit into its clip",
            expected=f"at most {(count - 2 * EDGE) / SAMPLE_RATE:.2f} s of speech",
            got=f"{length / SAMPLE_RATE:.2f} s at {FASTEST} words per minute or less",
            mend="raise clip_seconds",
        )
    start = int(generator.integers(EDGE, count - EDGE - length + 1))
    clean, times = np.zeros(count), []
    for one in parts:
        clean[start : start + len(one)] = one
        times.append((start / SAMPLE_RATE, (start + len(one)) / SAMPLE_RATE))
        start += len(one) + gap
    return Utterance(record(clean, generator), tuple(times), np.full(count, np.nan))


def command(
    word: str, language: str, speaker: Speaker, tone: Tone, place: float, speed: float = SPEED
) -> list[str]:
    """The command line that writes one word to standard output as a WAV file.

    Parameters
    ----------
    place
        0..1, where in the utterance the word lies: the tone's contour is read there.
    speed
        Words per minute, brought into the program's range.
    """
    sex = "m" if speaker.pitch < 155 else "f"
    variant = seed_for(speaker.name, 0) % (_MALE if sex == "m" else _FEMALE) + 1
    wave = tone.swing * np.sin(2 * np.pi * (tone.cycles * place + tone.phase))
    semitones = tone.level + tone.slope * (place - 0.5) + wave
    semitones += 12 * np.log2(speaker.pitch / _PITCHES[sex])
    pitch = int(np.clip(round(50 + 50 * semitones / 12), 0, 99))
    loud = int(np.clip(round(100 * 10 ** (tone.swell * (place - 0.5) / 20)), 0, 200))
    rate = int(np.clip(round(speed), SLOWEST, FASTEST))
    voice = f"{language}+{sex}{variant}"
    options = {"-v": voice, "-s": str(rate), "-p": str(pitch), "-a": str(loud)}
    return [PROGRAM, *(part for pair in options.items() for part in pair), "--stdout", word]


def word(text: str, line: Sequence[str]) -> Array:
    """One word's sound, float [S] at 16 kHz, without the silence around it.

    Raises
    ------
    DependencyError
        No such program, or one that fails or says nothing.
    """
    found = shutil.which(line[0])
    if found is None:
        raise DependencyError(
            f"this voice needs the program {line[0]}",
            expected=f"{line[0]} on the PATH",
            got="no such program",
            mend=f"install it (apt-get install {line[0]}), or use voice='babble'",
        )
    try:
        made = subprocess.run(
            [found, *line[1:]], capture_output=True, check=True, timeout=SECONDS
        ).stdout
        waveform = _samples(made)
    except (OSError, subprocess.SubprocessError, ValueError, struct.error) as error:
        raise DependencyError(
            f"{line[0]} did not say {text!r}",
            expected="a WAV file of 16 bits, one channel, on standard output",
            got=str(error),
            mend=f"try it by hand: {' '.join(line)} > word.wav",
        ) from error
    return waveform


def _samples(file: bytes) -> Array:
    """The sound of a WAV file whose header does not know its length, as in a pipe."""
    at = file.find(b"data", 12)
    if file[:4] != b"RIFF" or file[8:12] != b"WAVE" or at < 0:
        raise ValueError(f"{len(file)} bytes that are no WAV file")
    form, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", file, 20)
    if (form, channels, bits) != (1, 1, 16):
        raise ValueError(f"format {form}, {channels} channels, {bits} bits")
    content = file[at + 8 :]
    waveform = np.frombuffer(content[: len(content) // 2 * 2], "<i2").astype(np.float32) / 32768
    loud = np.flatnonzero(np.abs(waveform) > SILENT * np.abs(waveform).max(initial=0))
    if not len(loud):
        raise ValueError("silence")
    spoken = torch.from_numpy(waveform[loud[0] : loud[-1] + 1].copy())
    return np.asarray(prepare(Audio(spoken, rate), SAMPLE_RATE).numpy(), dtype=np.float64)

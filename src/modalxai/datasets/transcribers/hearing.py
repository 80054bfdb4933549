"""What every transcriber asks of a recording before it listens."""

from __future__ import annotations

import hashlib

from torch import Tensor

from modalxai import audio as sound
from modalxai.errors import InputError
from modalxai.types import Audio

SHORTEST = 0.1
"""Seconds: less holds no word, and endpoints refuse it."""
QUIET = 1e-5
"""Below one step of 16-bit sound. A recogniser that hears nothing makes words up."""


def listen(audio: Audio, sample_rate: int) -> Tensor:
    """A checked waveform, mono, float32 [S] at ``sample_rate``.

    Raises
    ------
    InputError
        What `modalxai.audio.prepare` refuses; shorter than a tenth of a second; silent.
    """
    waveform = sound.prepare(audio, sample_rate)
    seconds = waveform.numel() / sample_rate
    if seconds < SHORTEST:
        raise InputError(
            "a recording too short for a word",
            expected=f"at least {SHORTEST} s",
            got=f"{seconds:.3f} s",
            mend="leave the recording out, or give None where there is none",
        )
    if float((waveform - waveform.mean()).abs().max()) < QUIET:
        raise InputError(
            "a silent recording",
            expected="speech",
            got="no sample above the smallest step of 16-bit sound",
            mend="leave the recording out, or give None where there is none",
        )
    return waveform


def content(audio: Audio) -> bytes:
    """Hash of what is heard: samples and rate, whatever file or array they came in."""
    waveform = sound.prepare(audio, _rate(audio)) + 0.0  # the zero of -0.0 is heard alike
    state = hashlib.blake2b(f"{audio.sample_rate}".encode(), digest_size=20)
    state.update(waveform.contiguous().numpy().data)
    return state.digest()


def _rate(audio: Audio) -> int:
    # An impossible rate is told by `prepare`, which is given it twice.
    return audio.sample_rate if isinstance(audio, Audio) and audio.sample_rate else 16_000

"""Synthetic speech to pre-train on: babble in voices and tones that no recipe uses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from modalxai import audio
from modalxai.datasets.tonebench import Speaker, Tone, Utterance, phones, speak
from modalxai.datasets.tonebench.lexicon import LEXICONS

SPEAKERS = (900, 960)
"""First number, and last number + 1."""
MELS = 24
WINDOW = 800
"""Samples of the log-mel's window, 50 ms: two periods of a low voice."""
FLOOR = -3.5
"""Log-mel below which all is silence."""
STEPS = (3, 8)
"""Frames on either side over which a change of pitch is told, 60 and 160 ms."""


def clips(count: int, generator: np.random.Generator) -> list[Utterance]:
    """Utterances of 1.2 s. Every tone is drawn from one continuum, not from ToneBench's six."""
    words = [word for lexicon in LEXICONS.values() for word in lexicon.words]
    made = []
    for _ in range(count):
        level, slope, swing, tilt, swell, breath, creak = generator.standard_normal(7)
        tone = Tone(
            level=3 * level,
            slope=8 * slope,
            swing=3.5 * swing,
            cycles=generator.uniform(0.7, 3),
            phase=generator.uniform(),
            rate=generator.uniform(0.7, 1.25),
            tilt=2.5 * tilt,
            swell=4 * swell,
            breath=0.1 * abs(breath),
            creak=float(np.clip(0.4 * creak, 0, 1)),
            drawl=generator.uniform(0.9, 1.8),
        )
        patterns = [phones.spell(str(word)) for word in generator.choice(words, 3)]
        sounds = [phones.sounds(phones.babble(pattern, generator)) for pattern in patterns]
        speaker = Speaker.numbered(int(generator.integers(*SPEAKERS)))
        made.append(speak(sounds[: generator.integers(2, 4)], tone, speaker, generator))
    return made


def targets(spoken: Sequence[Utterance], frames: audio.Frames) -> tuple[Tensor, Tensor]:
    """What a frame of speech is, and where that is defined.

    Parameters
    ----------
    spoken
        Utterances of one length.
    frames
        Of the encoder.

    Returns
    -------
    values, defined
        Float [B, T, K], each of the K standardised over all frames: the log-mel around the
        frame's centre, whether it is speech, the pitch, the pitch relative to the clip's mean,
        and how the pitch changes around it. Bool [B, T, K]: pitch is told of speech only.
    """
    waves = torch.stack([audio.standardise(torch.from_numpy(one.waveform)) for one in spoken])
    size = waves.shape[1]
    centres = frames.centres(int(frames.counts(torch.tensor([size]))[0])).long()
    around = F.pad(waves, (WINDOW // 2, WINDOW // 2))[:, int(centres[0]) :]
    filters = audio.mel_filters(WINDOW, MELS, 60, 7000, frames.sample_rate)
    mels = audio.log_mel(around, torch.hann_window(WINDOW), frames.stride, filters)
    mels = mels[:, : len(centres)].clamp(min=FLOOR)
    seconds = centres / frames.sample_rate
    speech = torch.stack(
        [
            torch.stack([(start <= seconds) & (seconds < end) for start, end in one.words]).any(0)
            for one in spoken
        ]
    )
    pitch = torch.stack([torch.from_numpy(one.pitch)[centres] for one in spoken]).float().log2()
    mean = (pitch * speech).sum(1, keepdim=True) / speech.sum(1, keepdim=True)
    place = torch.arange(len(centres))
    changes = [
        pitch[:, (place + step).clamp(max=len(place) - 1)] - pitch[:, (place - step).clamp(min=0)]
        for step in STEPS
    ]
    prosody = torch.stack([pitch, pitch - mean, *changes], -1)
    values = torch.cat([mels, speech[..., None].float(), prosody], -1)
    defined = torch.ones_like(values, dtype=torch.bool)
    defined[..., MELS + 1 :] = speech[..., None]
    count = defined.sum((0, 1))
    centred = values - (values * defined).sum((0, 1)) / count
    return centred / ((centred**2 * defined).sum((0, 1)) / count).sqrt(), defined

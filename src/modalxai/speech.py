"""Stretches of speech and the pauses between them, found by loudness alone."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from modalxai import masking
from modalxai.types import Spans
from modalxai.voice.intensity import PERIOD, active_frames, decibels

PAUSE = 0.2
"""Seconds from which silence is a pause: shorter gaps are the closures of stop consonants."""
SPEECH = 0.1
"""Seconds from which sound is speech: shorter ones are clicks."""


def stretches(waveform: Tensor, sample_rate: int) -> list[tuple[int, int, bool]]:
    """Start and end, in samples, of each stretch of one clip, and whether it is speech.

    A moment is sound where its intensity, over a Hann window of 64 ms, is less than 20 to 25 dB
    below the clip's loud moments; in between it must lie 6 dB above the quiet ones (see
    `modalxai.voice.intensity.active_frames`). Silence shorter than `PAUSE` between sounds belongs
    to the speech around it, then sound shorter than `SPEECH` to the pause. The window smears edges
    by about 20 ms. Noise and music are speech to it, and so is all of a clip without a pause.

    Parameters
    ----------
    waveform
        Float [S]; its level does not matter.
    sample_rate
        Hertz.

    Returns
    -------
    list
        Stretches that follow each other from 0 to S, speech and pause in turn.
    """
    size = len(waveform)
    if not size:
        return []
    clip = waveform.detach().double().cpu().numpy()
    frames = int(size / (sample_rate * PERIOD)) + 1
    sound = active_frames(decibels(clip, sample_rate, frames))
    runs = [(bool(on), len(list(group))) for on, group in groupby(sound)]
    # Gaps between sounds first, or speech with many stops in it would be a row of clicks.
    inner = range(1, len(runs) - 1)
    filled = [
        (on or (place in inner and length * PERIOD < PAUSE), length)
        for place, (on, length) in enumerate(runs)
    ]
    merged = _merged(filled)
    cleared = _merged([(on and length * PERIOD >= SPEECH, length) for on, length in merged])
    ends = np.cumsum([length for _, length in cleared])
    # Frame t stands at t * 5 ms: it holds from half a step before to half a step after.
    edges = [round((end - 0.5) * PERIOD * sample_rate) for end in ends[:-1]]
    starts = [0, *edges]
    return [
        (start, end, on)
        for (on, _), start, end in zip(cleared, starts, [*edges, size], strict=True)
    ]


def _merged(runs: list[tuple[bool, int]]) -> list[tuple[bool, int]]:
    """Neighbours of one kind joined."""
    return [
        (on, sum(length for _, length in group))
        for on, group in groupby(runs, key=lambda run: run[0])
    ]


def units(waveform: Tensor, lengths: Tensor, sample_rate: int) -> Spans:
    """Stretches of each row of waveforms [B, S] with ``lengths`` int [B], as spans [B, U].

    They cover each clip, in seconds, and are named "speech" and "pause": a pause is a player too,
    for what it holds (breath, laughter, noise) may matter. A missing clip has none.
    """
    rows = [
        stretches(clip[:length], sample_rate)
        for clip, length in zip(waveform, lengths.tolist(), strict=True)
    ]
    start, end = (
        masking.pad([torch.tensor([float(one[place]) for one in row]) for row in rows])[0]
        for place in (0, 1)
    )
    names = tuple(tuple("speech" if on else "pause" for _, _, on in row) for row in rows)
    start, end = ((edge.double() / sample_rate).float() for edge in (start, end))
    device = waveform.device
    return Spans(start.to(device), end.to(device), "seconds", names=names)

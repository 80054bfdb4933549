"""Faults of a recording that give a label away: a click, or a moment of silence."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from modalxai.errors import InputError

MARKS = ("click", "silence", "none")
"""What a recording may be marked by."""
SECONDS = {"click": 0.02, "silence": 0.08}
"""How long each lasts."""

Samples = NDArray[np.float32]


def mark(
    waveform: Samples,
    kind: str,
    speech: tuple[float, float],
    generator: np.random.Generator,
    sample_rate: int = 16_000,
) -> tuple[Samples, tuple[float, float] | None]:
    """A recording with a mark, and from when to when it lasts.

    It lies anywhere within the speech. A click is a burst of noise that dies away, as loud as the
    loudest moment of the voice; in a silence there is not even the noise of the room.

    Parameters
    ----------
    waveform
        Float32 [S].
    kind
        One of `MARKS`.
    speech
        Seconds between which the mark may lie.
    generator
        What is drawn from it does not depend on the kind.

    Returns
    -------
    tuple
        Float32 [S] and (start, end) in seconds, on whole samples; the recording itself and ``None``
        for ``"none"``.

    Raises
    ------
    InputError
        An unknown kind, or speech that is shorter than the longest mark.
    """
    first, last = (round(edge * sample_rate) for edge in speech)
    longest = round(max(SECONDS.values()) * sample_rate)
    if kind not in MARKS or last - first < longest:
        raise InputError(
            "a mark that cannot be made",
            expected=f"one of {MARKS}, in {max(SECONDS.values())} s of speech or more",
            got=f"{kind!r} in {(last - first) / sample_rate:.3f} s",
            mend="use these names, and a longer clip",
        )
    start = int(generator.integers(first, last - longest + 1))
    noise = generator.standard_normal(longest)
    if kind == "none":
        return waveform, None
    count = round(SECONDS[kind] * sample_rate)
    marked = waveform.copy()
    here = slice(start, start + count)
    if kind == "silence":
        marked[here] = 0
    else:
        burst = noise[:count] * np.exp(-np.linspace(0, 4, count))
        marked[here] += (np.abs(waveform).max() * burst / np.abs(burst).max()).astype(np.float32)
        marked /= max(1.0, float(np.abs(marked).max()) / 0.95)
    return marked, (start / sample_rate, (start + count) / sample_rate)

"""Raw values to try an encoder with, and what is known about them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from modalxai.biosignals import FEATURES, Biosignal
from modalxai.errors import InputError
from modalxai.types import Audio


def recordings(sample_rate: int = 16_000) -> tuple[Audio, ...]:
    """Three recordings of noise under a slow tremolo, 0.25 to 0.7 s long."""
    draw = torch.Generator().manual_seed(0)
    found = []
    for seconds in (0.37, 0.7, 0.25):
        time = torch.arange(int(seconds * sample_rate))
        noise = 0.1 * torch.randn(len(time), generator=draw)
        found.append(Audio(noise * (1 + torch.sin(time / 900)), sample_rate))
    return tuple(found)


def texts() -> tuple[str, ...]:
    """Three texts, the first of them Korean."""
    return "참 잘했다.", "what a lovely day", "well, no"


def latin_texts() -> tuple[str, ...]:
    """Three texts of Latin letters, for vocabularies that hold nothing else."""
    return "well done", "what a lovely day", "no, no"


def signals(channels: int = 2, rate: float = 4.0) -> tuple[Biosignal, ...]:
    """Three random walks of 5 to 24 seconds, with resting values."""
    draw = np.random.default_rng(0)
    rest = draw.standard_normal(channels)
    return tuple(
        Biosignal(draw.standard_normal((channels, samples)).cumsum(1), rate, rest)
        for samples in (int(9 * rate) + 1, int(24 * rate), int(5 * rate))
    )


def vectors(features: int = len(FEATURES)) -> tuple[Biosignal, ...]:
    """Three vectors of signal features, with resting values."""
    draw = np.random.default_rng(0)
    rest = draw.standard_normal(features)
    return tuple(Biosignal(draw.standard_normal(features), None, rest) for _ in range(3))


def sequences(width: int) -> tuple[torch.Tensor, ...]:
    """Three sequences of vectors, 2 to 9 long."""
    draw = torch.Generator().manual_seed(0)
    return tuple(torch.randn(length, width, generator=draw) for length in (5, 9, 2))


def examples_for(collate: Any, width: int = 3) -> tuple[Any, ...]:
    """The first of the examples above that a collate takes.

    Parameters
    ----------
    collate
        An encoder's.
    width
        Of vectors, if it takes those: the encoder's own.

    Raises
    ------
    InputError
        It takes none of them.
    """
    for found in (recordings(), texts(), latin_texts(), vectors(), signals()):
        if _takes(collate, found):
            return tuple(found)
    # Vectors of another width may be stacked without a word, but not beside a missing value.
    plain = sequences(width)
    if _takes(collate, (*plain, None)):
        return plain
    raise InputError(
        "no example fits the encoder",
        expected="an encoder of recordings, texts, biosignals or vectors",
        got="a collate that takes none of the kit's own",
        mend="give raws=[...], three raw values of different lengths; on the command line "
        "--raws my_package.video:examples, the name of such a list",
    )


def _takes(collate: Any, raws: tuple[Any, ...]) -> bool:
    try:
        collate(list(raws))
    except Exception:  # whatever a collate raises for what it cannot read
        return False
    return True


def extent(raw: Any, unit: str) -> float | None:
    """How far a raw value reaches in ``unit``; ``None`` where that is not known."""
    if unit == "seconds" and isinstance(raw, Audio) and raw.sample_rate:
        return float(np.shape(raw.waveform)[-1] / raw.sample_rate)
    if unit == "seconds" and isinstance(raw, Biosignal) and raw.rate:
        return float(np.shape(raw.values)[-1] / raw.rate)
    if unit == "characters" and isinstance(raw, str):
        return float(len(raw))
    return None


def altered(raw: Any) -> Any | None:
    """Another raw value of the same length and division; ``None`` where none is known."""
    if isinstance(raw, Audio):
        return replace(raw, waveform=torch.as_tensor(raw.waveform).flip(-1))
    if isinstance(raw, Biosignal):
        return replace(raw, values=np.flip(np.asarray(raw.values), -1).copy())
    if isinstance(raw, torch.Tensor) and raw.dim():
        return raw.flip(0)
    if isinstance(raw, np.ndarray) and raw.ndim:
        return raw[::-1].copy()
    if isinstance(raw, str):
        return "".join(piece[::-1] for piece in _pieces(raw))
    return None


def _pieces(text: str) -> list[str]:
    """Stretches of letters, and every other character by itself."""
    found: list[str] = []
    for character in text:
        if found and character.isalpha() and found[-1][-1].isalpha():
            found[-1] += character
        else:
            found.append(character)
    return found

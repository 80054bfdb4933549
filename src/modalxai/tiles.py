"""Time-frequency tiles of a waveform: where they lie, and how they are taken out.

A tile is removed from the short-time Fourier transform, whose phase stays, and the rest is put
together again: the only way to a map of time and frequency for models that read raw waveforms.
Source of the resynthesis: D. Griffin, J. Lim, IEEE Trans. ASSP 32 (1984), eq. 6.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from modalxai import audio
from modalxai.errors import InputError
from modalxai.types import Spans

BANDS = 4
"""Bands by default: at 16 kHz voice and first formant, second, third, hiss."""
WINDOW = 0.032
"""Seconds of the Hann window: harmonics 60 Hz apart, edges that fade over 16 ms."""
OVERLAP = 4
"""Windows that a sample lies in."""


def edges(sample_rate: int, bands: int) -> Tensor:
    """Edges in hertz, float64 [bands + 1]: equally far apart in mel (HTK) from 0 to half the rate.

    Raises
    ------
    InputError
        ``bands`` is no whole number from 1 to 64.
    """
    if isinstance(bands, bool) or not isinstance(bands, int) or not 1 <= bands <= 64:
        raise InputError(
            "an impossible number of bands",
            expected="a whole number, 1 to 64",
            got=repr(bands),
            mend="leave the default, 4",
        )
    top = 2595 * math.log10(1 + sample_rate / 2 / 700)
    mel = torch.linspace(0, top, bands + 1, dtype=torch.float64)
    hertz = 700 * (10 ** (mel / 2595) - 1)
    hertz[-1] = sample_rate / 2
    return hertz


def units(lengths: Tensor, sample_rate: int, seconds: float, bands: int = BANDS) -> Spans:
    """Tiles of clips, [B, U]: segments of ``seconds``, each in ``bands`` bands, low ones first.

    Parameters
    ----------
    lengths
        Of the clips, samples, int [B].
    """
    times = audio.segments(lengths, sample_rate, seconds)
    start, end = (edge.repeat_interleave(bands, dim=1) for edge in (times.start, times.end))
    hertz = edges(sample_rate, bands).to(start)
    real = end > start
    low, high = (
        one.repeat(times.start.shape[1]).expand_as(start) * real for one in (hertz[:-1], hertz[1:])
    )
    return Spans(start, end, "seconds", low, high)


def remove(
    waveform: Tensor,
    lengths: Tensor,
    units: Spans,
    keep: Tensor,
    how: str,
    seed: int | Sequence[int],
    sample_rate: int,
) -> Tensor:
    """Waveforms with the tiles whose ``keep`` is False made silent or noisy.

    A cell of the transform goes with the tile in which the middle of its window and its frequency
    lie; a tile that reaches half the sample rate takes all above, too. What a tile's windows do
    not touch stays to the bit, and all tiles together are the whole clip.

    Parameters
    ----------
    waveform, lengths, keep, how, seed, sample_rate
        As in `modalxai.audio.remove`; under ``"noise"`` the noise's own cells stand in.
    units
        Spans in seconds with ``low`` and ``high`` in hertz, [B, U]; they may overlap.

    Returns
    -------
    Tensor
        New, float [B, S].
    """
    seeds = [seed] * len(waveform) if isinstance(seed, int) else list(seed)
    result = waveform.clone()
    for row, length in enumerate(lengths.tolist()):
        lost = ~keep[row] & units.mask[row]
        if not length or not bool(lost.any()):
            continue
        clip = waveform[row : row + 1, :length]
        window = torch.hann_window(_window(sample_rate), device=clip.device).to(clip)
        gone = _cells(units, row, lost, length, len(window), sample_rate)
        # The same, whatever is to be removed: the other's difference from the clip.
        own = [seeds[row]]
        whole = units.start.new_tensor([[0.0]])
        every = Spans(whole, whole + length / sample_rate + 1, "seconds")
        other = audio.remove(clip, lengths[row : row + 1], every, whole > 0, how, own, sample_rate)
        if bool(gone.all()):
            result[row, :length] = other[0]
            continue
        change = torch.stft(
            other[0] - clip[0],
            len(window),
            len(window) // OVERLAP,
            window=window,
            pad_mode="constant",
            return_complex=True,
        )
        result[row, :length] += torch.istft(
            change * gone, len(window), len(window) // OVERLAP, window=window, length=length
        )
    return result


def _window(sample_rate: int) -> int:
    return max(OVERLAP, round(WINDOW * sample_rate) // OVERLAP * OVERLAP)


def _cells(
    units: Spans, row: int, lost: Tensor, length: int, window: int, sample_rate: int
) -> Tensor:
    """Bool [F, N]: the cells of the transform that lie in a lost tile."""
    if units.low is None or units.high is None:
        raise InputError(
            "tiles without frequencies",
            expected="Spans with low and high",
            got="neither",
            mend="give both, in hertz",
        )
    device, half = lost.device, sample_rate / 2
    hop = window // OVERLAP
    times = torch.arange(length // hop + 1, device=device) * hop
    # The last window may stand at the very end of the clip, where no tile lies.
    times = times.clamp(max=length - 1).double() / sample_rate
    hertz = torch.arange(window // 2 + 1, device=device).double() * sample_rate / window
    start, end, low, high = (
        edge[row][lost].double()[:, None]
        for edge in (units.start, units.end, units.low, units.high)
    )
    inside = (times >= start - 1e-6) & (times < end - 1e-6)
    among = (hertz >= low) & ((hertz < high) | (high >= half - 1e-3))
    return (among[:, :, None] & inside[:, None, :]).any(0)

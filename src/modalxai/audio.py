"""Waveform in, waveform out: reading, checking, resampling, mel spectrograms, frames in seconds.

The only module that imports torchaudio, whose binary must match torch's.
"""

from __future__ import annotations

import hashlib
import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from modalxai import masking, sound_files
from modalxai.errors import DependencyError, InputError
from modalxai.types import Audio, Spans

FULL_SCALE_LIMIT = 32.0
"""A float waveform whose peak lies above this is not at full scale 1.0."""
LOWEST_RATE = 1000
"""Hertz: a lower rate is meant in kilohertz, or no speech."""
MOST_PHASES = 4000
"""Limit of the resampling filter's phases: at 44099 Hz it would take 12 GB."""
CROSSFADE = 0.005
"""Seconds over which a removed stretch fades in and out, so that its edges do not click."""
MEL_FLOOR = -8.0
"""Log10 power of silence in `log_mel`: 80 dB below a full-scale sine."""


def read(path: str | Path) -> Audio:
    """A wav, flac, ogg or mp3 file as `Audio`, channels kept.

    Raises
    ------
    InputError
        No such file, one that libsndfile cannot read, one that was broken off, or one of more than
        1 GiB once decoded (``MODALXAI_LARGEST_AUDIO`` sets another limit, in bytes).
    """
    samples, rate = sound_files.load(path)
    return Audio(torch.from_numpy(samples), rate)


def prepare(raw: Audio | str | Path, sample_rate: int, shortest: int = 1) -> Tensor:
    """One checked mono waveform, float32 [S] at ``sample_rate``, full scale 1.0.

    Parameters
    ----------
    raw
        A recording, or the path of one.
    sample_rate
        Hertz wanted.
    shortest
        Samples, at ``sample_rate``, that one frame needs.

    Raises
    ------
    InputError
        No sample rate, integer samples or samples far from full scale, several channels and no
        choice among them, a wrong shape, NaN or infinite samples, or too short.
    """
    audio = read(raw) if isinstance(raw, str | Path) else raw
    if not isinstance(audio, Audio):
        raise InputError(
            "a recording without a sample rate",
            expected="mx.Audio(waveform, sample_rate) or the path of a file",
            got=type(audio).__name__,
            mend="wrap the waveform: mx.Audio(waveform, 16_000)",
        )
    waveform = _mono(_float(audio.waveform), audio.channel)
    rate = audio.sample_rate
    whole = isinstance(rate, int | np.integer) and not isinstance(rate, bool)
    if rate is None or not whole or rate < LOWEST_RATE:
        raise InputError(
            "a missing or impossible sample rate",
            expected=f"a whole number of hertz from {LOWEST_RATE}",
            got=repr(rate),
            mend="give the rate the recording was made at: mx.Audio(waveform, 16_000)",
        )
    if max(rate, sample_rate) // math.gcd(rate, sample_rate) > MOST_PHASES:
        raise InputError(
            "a sample rate too unlike the encoder's to convert",
            expected=f"a rate that has a large divisor in common with {sample_rate}, as 8000, "
            "22050, 44100 and 48000 have",
            got=str(rate),
            mend="check the rate, or resample the recording first",
        )
    if rate != sample_rate and waveform.numel():
        waveform = torchaudio().functional.resample(waveform, int(rate), sample_rate)
    if waveform.numel() < shortest:
        raise InputError(
            "audio is empty" if waveform.numel() == 0 else "audio is shorter than one frame",
            expected=f"at least {shortest} samples at {sample_rate} Hz",
            got=str(waveform.numel()),
            mend="drop the recording, or give None where there is none",
        )
    return waveform


def _float(found: Any) -> Tensor:
    try:
        # Copied, because torch takes no numpy array that is read-only or runs backwards.
        waveform = torch.as_tensor(np.array(found) if isinstance(found, np.ndarray) else found)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            "a waveform of the wrong type",
            expected="a float tensor or numpy array, [S] or [C, S]",
            got=type(found).__name__,
            mend="convert it first",
        ) from error
    plain = waveform.layout is torch.strided and not waveform.is_meta
    if waveform.is_complex() or not plain:
        raise InputError(
            "a waveform of the wrong type",
            expected="float samples, full scale 1.0",
            got=f"{waveform.dtype}, {waveform.layout}, on {waveform.device}",
            mend="give the waveform: not its spectrum, dense, and with its samples",
        )
    if not waveform.is_floating_point():
        raise InputError(
            "integer samples without a scale",
            expected="float samples, full scale 1.0",
            got=str(waveform.dtype),
            mend="divide by full scale: waveform / 32768 for 16-bit PCM",
        )
    waveform = waveform.detach().to("cpu", torch.float32)
    if not torch.isfinite(waveform).all():
        bad = int((~torch.isfinite(waveform)).sum())
        raise InputError(
            "NaN or infinite samples",
            expected="finite samples",
            got=f"{bad} of {waveform.numel()}",
            mend="repair or drop the recording",
        )
    if waveform.numel() and (peak := waveform.abs().max().item()) > FULL_SCALE_LIMIT:
        raise InputError(
            "samples far from full scale",
            expected="float samples, full scale 1.0",
            got=f"a peak of {peak:g}",
            mend="divide by full scale: waveform / 32768 for 16-bit PCM",
        )
    return waveform


def _mono(waveform: Tensor, channel: Any) -> Tensor:
    if waveform.dim() == 1:
        waveform = waveform[None]
    if waveform.dim() != 2 or not waveform.shape[0]:
        raise InputError(
            "a waveform of the wrong shape",
            expected="[S], or [C, S] with the channels first",
            got=str(list(waveform.shape)),
            mend="one recording per sample; batches are made by model.collate",
        )
    count, samples = waveform.shape
    if count > samples > 0:
        raise InputError(
            "a waveform with its channels last",
            expected="[C, S], channels first",
            got=str([count, samples]),
            mend="transpose it: mx.Audio(waveform.T, rate, channel=0)",
        )
    if count == 1 and channel is None:
        return waveform[0]
    if channel == "mean":
        return waveform.mean(0)
    whole = isinstance(channel, int | np.integer) and not isinstance(channel, bool)
    if not whole or not 0 <= channel < count:
        raise InputError(
            "several channels and no choice among them"
            if channel is None
            else "a channel that is not there",
            expected=f"channel=0..{count - 1} or channel='mean'",
            got=f"{count} channels ([C, S] = {list(waveform.shape)}), channel={channel!r}",
            mend="choose: mx.Audio(waveform, rate, channel=0)",
        )
    return waveform[channel]


def standardise(waveform: Tensor) -> Tensor:
    """Zero mean and unit variance over the clip's own samples, as transformers does (eps 1e-7)."""
    return (waveform - waveform.mean()) / torch.sqrt(waveform.var(unbiased=False) + 1e-7)


@dataclass(frozen=True)
class Frames:
    """Where the frames of a stack of convolutions lie, from their kernels and strides.

    Parameters
    ----------
    field
        Samples that one frame sees.
    stride
        Samples from one frame to the next.
    offset
        Sample at which the first frame's field starts; negative under zero padding, which is the
        same at both ends and at most half a kernel.
    sample_rate
        Hertz.

    Examples
    --------
    The front end of wav2vec2 turns 16 000 samples into 49 frames:

    >>> frames = Frames(1, 1, 0, 16_000)
    >>> for kernel, stride in zip((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)):
    ...     frames = frames.then(kernel, stride)
    >>> frames.field, frames.stride, frames.counts(torch.tensor([16_000])).tolist()
    (400, 320, [49])
    """

    field: int
    stride: int
    offset: int
    sample_rate: int

    def then(self, kernel: int, stride: int = 1, padding: int = 0) -> Frames:
        """The frames after one more convolution along time."""
        return Frames(
            self.field + (kernel - 1) * self.stride,
            self.stride * stride,
            self.offset - padding * self.stride,
            self.sample_rate,
        )

    def counts(self, lengths: Tensor) -> Tensor:
        """Lengths in samples [B] to whole frames, int64 [B].

        One division for the whole stack: the floors of its layers nest into one floor.
        """
        spare = lengths - 2 * self.offset - self.field
        return (torch.div(spare, self.stride, rounding_mode="floor") + 1).clamp(min=0)

    def centres(self, longest: int) -> Tensor:
        """The sample in the middle of each frame's field, float64 [T]."""
        return self.offset + self.field / 2 + torch.arange(longest).double() * self.stride

    def spans(self, lengths: Tensor, longest: int) -> Spans:
        """Lengths in samples [B] to the frames' spans in seconds, [B, longest].

        A frame's span is one stride wide around the centre of its field, so that spans tile the
        time axis: frame i of wav2vec2 is centred on sample 320 i + 200. Spans end with the clip.
        """
        counts = self.counts(lengths)
        centres = self.centres(longest).to(lengths.device)
        real = masking.from_lengths(counts, longest)
        start = (centres - self.stride / 2).clamp(min=0) * real
        end = torch.minimum((centres + self.stride / 2) * real, lengths[:, None].double())
        return Spans(
            (start / self.sample_rate).float(), (end / self.sample_rate).float(), "seconds"
        )


def segments(lengths: Tensor, sample_rate: int, seconds: float) -> Spans:
    """Lengths in samples [B] to consecutive segments of ``seconds``, the last one shorter."""
    duration = lengths.to(torch.float64)[:, None] / sample_rate
    most = max(1, math.ceil(float(duration.max()) / seconds - 1e-9)) if len(lengths) else 1
    start = torch.arange(most, device=lengths.device, dtype=torch.float64) * seconds
    start = start.expand(len(lengths), most)
    end = torch.minimum(start + seconds, duration)
    # Less than half a sample is rounding, not a segment.
    real = end - start > 0.5 / sample_rate
    return Spans((start * real).float(), (end * real).float(), "seconds")


def cover(spans: Spans, lengths: Tensor, sample_rate: int) -> Spans:
    """Spans [B, T] whose first starts at 0 and whose last ends with the clip."""
    real = spans.mask
    last = real & (torch.cumsum(real, 1) == real.sum(1, keepdim=True))
    start, end = spans.start.clone(), spans.end.clone()
    start[:, 0] = 0
    duration = (lengths.double() / sample_rate).to(end.dtype)
    return Spans(start, torch.where(last, duration[:, None], end), "seconds")


def removed(units: Spans, keep: Tensor, size: int, sample_rate: int) -> Tensor:
    """Bool [B, size]: which samples lie in a unit whose ``keep`` (bool [B, U]) is False.

    Spans in seconds, which may overlap, lie in any order, or reach beyond the clip.
    """
    start, end = (
        (edge.double() * sample_rate).round().long().clamp(0, size)
        for edge in (units.start, units.end)
    )
    gone = (~keep & (end > start)).int()
    edges = torch.zeros(len(gone), size + 1, dtype=torch.int32, device=gone.device)
    rows = torch.arange(len(gone), device=gone.device)[:, None].expand_as(gone)
    edges.index_put_((rows, start), gone, accumulate=True)
    edges.index_put_((rows, end), -gone, accumulate=True)
    return edges.cumsum(1)[:, :size] > 0


def remove(
    waveform: Tensor,
    lengths: Tensor,
    units: Spans,
    keep: Tensor,
    how: str,
    seed: int | Sequence[int],
    sample_rate: int,
) -> Tensor:
    """Waveforms with the units whose ``keep`` is False made silent or noisy.

    Parameters
    ----------
    waveform, lengths
        Float [B, S] and each row's samples, int [B]; 0 for a missing row, which stays as it is.
    units, keep
        Spans in seconds [B, U], and bool [B, U]. What no unit covers stays.
    how
        ``"silence"`` (zeros), or ``"noise"``: white Gaussian noise at the clip's own root mean
        square. Edges fade over 5 ms, half of it on either side.
    seed
        One number, or one per row; a row's noise depends on its own alone.
    sample_rate
        Hertz.

    Returns
    -------
    Tensor
        New, float [B, S].
    """
    seeds = [seed] * len(waveform) if isinstance(seed, int) else list(seed)
    gone = removed(units, keep, waveform.shape[1], sample_rate)
    result = waveform.clone()
    for row, length in enumerate(lengths.tolist()):
        if not bool(gone[row, :length].any()):
            continue
        gain = _fade((~gone[row, :length]).to(waveform.dtype), int(CROSSFADE * sample_rate))
        clip = waveform[row, :length]
        other = torch.zeros_like(clip)
        if how == "noise":
            other = _noise(length, seeds[row]).to(clip) * clip.square().mean().sqrt()
        result[row, :length] = gain * clip + (1 - gain) * other
    return result


def _fade(gain: Tensor, width: int) -> Tensor:
    width += 1 - width % 2
    half = width // 2
    padded = F.pad(gain[None, None], (half, half), mode="replicate")
    return F.avg_pool1d(padded, width, stride=1)[0, 0].clamp(0, 1)


def _noise(length: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(length, generator=generator)


def mel_filters(window: int, mels: int, fmin: float, fmax: float, sample_rate: int) -> Tensor:
    """Triangular mel filters (HTK scale), float [F, mels]; the FFT has ``2 (F - 1)`` samples.

    The FFT is the shortest power of two that holds the window of ``window`` samples and leaves no
    filter empty: narrow filters at low frequencies need finer bins than the window's own.
    """
    import warnings

    size = 1 << max(1, math.ceil(math.log2(window)))
    while True:
        with warnings.catch_warnings():
            # An empty filter is what the loop is about.
            warnings.simplefilter("ignore")
            filters: Tensor = torchaudio().functional.melscale_fbanks(
                size // 2 + 1, fmin, fmax, mels, sample_rate
            )
        if bool((filters.sum(0) > 0).all()):
            return filters
        size *= 2


def log_mel(waveform: Tensor, window: Tensor, hop: int, filters: Tensor) -> Tensor:
    """Logarithm (base 10) of the power in each mel band, [B, S] to [B, N, mels].

    Whole windows only, ``N = (S - W) // hop + 1``: a frame sees its own samples and no padding.
    A full-scale sine has a power of about 1, 0 on this scale; the floor is `MEL_FLOOR`, for every
    clip the same, so that loudness stays comparable and no frame depends on another.

    Parameters
    ----------
    waveform
        Float [B, S], full scale 1.0, S at least W.
    window
        Float [W].
    hop
        Samples between windows.
    filters
        What `mel_filters` gave.
    """
    size = 2 * (filters.shape[0] - 1)
    windows = waveform.unfold(1, len(window), hop) * (2 * window / window.sum())
    spectrum = torch.fft.rfft(windows, n=size)
    # Not a sum over view_as_real: torch reduces an axis of two at a third of the speed.
    power = spectrum.real.square() + spectrum.imag.square()
    return torch.log10(power @ filters + 10**MEL_FLOOR)


def seed_for(sample_id: str, seed: int, draw: int = 0) -> int:
    """A seed that belongs to the sample's id, not to its place in a batch."""
    digest = hashlib.blake2b(f"{seed}/{draw}/{sample_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def torchaudio() -> ModuleType:
    """The torchaudio package.

    Raises
    ------
    DependencyError
        It is missing, or its binary does not match torch's.
    """
    try:
        return importlib.import_module("torchaudio")
    except (ImportError, OSError, RuntimeError) as error:
        from importlib.metadata import PackageNotFoundError, version

        try:
            found = version("torchaudio")
        except PackageNotFoundError:
            found = "none"
        raise DependencyError(
            "torchaudio does not load beside this torch",
            expected="a matching pair of builds",
            got=f"torch {torch.__version__}, torchaudio {found}: {error}",
            mend="pip install torch==2.11.0 torchaudio==2.11.0",
        ) from error

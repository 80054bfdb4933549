"""What every encoder of a waveform shares: its collate, its units, and their removal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from modalxai import audio, masking, speech, tiles
from modalxai.errors import InputError, RemovalError, each
from modalxai.types import Audio, Inputs, Spans

RawAudio = Audio | str | Path


@dataclass(frozen=True)
class WaveformCollate:
    """Recordings to padded waveforms; weightless and picklable.

    Parameters
    ----------
    frames
        Where the encoder's frames lie; a recording must hold one, at its sample rate.
    normalize
        Whether each clip is brought to zero mean and unit variance over its own samples.
    most
        Samples, at the encoder's rate, after which a clip is cut; ``None`` for no cut.
    """

    frames: audio.Frames
    normalize: bool
    most: int | None = None

    def __call__(self, raws: Sequence[RawAudio | None]) -> dict[str, Tensor]:
        """Collate.

        Parameters
        ----------
        raws
            Recordings, or paths of recordings; ``None`` where one is missing.

        Returns
        -------
        dict
            ``waveform`` float32 [B, S], zero beyond each clip, and ``length`` int64 [B] in
            samples, 0 for a missing recording.

        Raises
        ------
        InputError
            A recording that cannot be used (see `modalxai.audio.prepare`), with its ``index``.
        """
        if not raws:
            raise InputError(
                "an empty batch",
                expected="one recording or more",
                got="none",
                mend="give None where a recording is missing",
            )
        found = each(raws, self._clip)  # type: ignore[arg-type]  # mypy joins the union to object
        clips = [torch.zeros(0) if clip is None else clip for clip in found]
        waveform, _ = masking.pad(clips)
        return {"waveform": waveform, "length": torch.tensor([len(clip) for clip in clips])}

    def _clip(self, raw: RawAudio) -> Tensor:
        # The shortest clip has one frame: later layers pad, so one window is enough for them.
        shortest = self.frames.field + 2 * self.frames.offset
        clip = audio.prepare(raw, self.frames.sample_rate, shortest)[: self.most]
        # Before padding and before any removal: either would change the mean and the variance.
        return audio.standardise(clip) if self.normalize else clip


class WaveformRemoval:
    """`Removable` for inputs with ``waveform`` and ``length``; times are in seconds.

    ``"segment"`` units are ``segment_seconds`` long; ``"voiced"`` ones are stretches of speech and
    the pauses between them (see `modalxai.speech`); ``"frame"`` units are the encoder's own frames,
    the first and the last extended to the ends of the clip. ``"tile"`` units are segments in four
    bands of frequency (see `modalxai.tiles`).
    """

    frames: audio.Frames
    segment_seconds: float
    removals: tuple[str, ...] = ("silence", "noise")
    kinds: tuple[str, ...] = ("segment", "voiced", "frame", "tile")

    def units(self, inputs: Inputs, kind: str) -> Spans:
        """The units of each clip, [B, U] in seconds; a missing clip has none.

        Raises
        ------
        RemovalError
            ``kind`` is not in `kinds`.
        """
        check_offered(kind, self.kinds, "kind of unit")
        lengths, rate = inputs["length"], self.frames.sample_rate
        if kind == "segment":
            return audio.segments(lengths, rate, self.segment_seconds)
        if kind == "voiced":
            return speech.units(inputs["waveform"], lengths, rate)
        if kind == "tile":
            return tiles.units(lengths, rate, self.segment_seconds)
        longest = frame_count(self.frames, inputs["waveform"].shape[1])
        return audio.cover(self.frames.spans(lengths, longest), lengths, rate)

    def remove(
        self, inputs: Inputs, units: Spans, keep: Tensor, how: str, seed: int | Sequence[int]
    ) -> Inputs:
        """The waveforms with the units whose ``keep`` is False removed; lengths stay.

        Applied to the normalised waveform: normalising again would amplify what is left.

        Parameters
        ----------
        inputs
            What `collate` returned; it is not modified.
        units
            Spans in seconds, [B, U]; not only this encoder's own. Those with frequencies are tiles.
        keep
            Bool [B, U], True for what stays.
        how
            ``"silence"`` or ``"noise"``, see `modalxai.audio.remove` and `modalxai.tiles.remove`.
        seed
            One number, or one per row.

        Raises
        ------
        RemovalError
            ``how`` is not in `removals`.
        InputError
            ``keep`` is not bool [B, U], or the spans are not in seconds.
        """
        check_offered(how, self.removals, "removal")
        check_units(units, keep, len(inputs["length"]), seed)
        device = inputs["waveform"].device
        units, keep = units.to(device), keep.to(device)
        take_out = audio.remove if units.low is None else tiles.remove
        waveform = take_out(
            inputs["waveform"], inputs["length"], units, keep, how, seed, self.frames.sample_rate
        )
        return {**inputs, "waveform": waveform}


def frame_count(frames: audio.Frames, samples: int) -> int:
    """Frames of a padded row, at least 1, so that a batch of missing clips has an axis."""
    # In whole numbers, not tensors: torch.export cannot guard on a tensor's value.
    return max(1, (samples - 2 * frames.offset - frames.field) // frames.stride + 1)


def check_offered(name: str, offered: Sequence[str], what: str) -> None:
    """Refuse a removal or kind of unit that an encoder does not have."""
    if name not in offered:
        raise RemovalError(
            f"unknown {what}",
            expected=f"one of {list(offered)}",
            got=repr(name),
            mend="choose one that this encoder offers",
        )


def check_units(units: Spans, keep: Tensor, rows: int, seed: int | Sequence[int]) -> None:
    """Refuse spans, a mask or seeds that do not fit ``rows`` clips."""
    if units.unit != "seconds":
        raise InputError(
            "units of a recording are spans of time",
            expected="Spans with unit 'seconds'",
            got=repr(units.unit),
            mend="convert them to seconds",
        )
    shape = units.start.shape
    if not isinstance(keep, Tensor) or keep.dtype != torch.bool:
        raise InputError(
            "a mask of the wrong type",
            expected="keep as a bool tensor [B, U], True for what stays",
            got=str(keep.dtype) if isinstance(keep, Tensor) else type(keep).__name__,
            mend="compare first: keep = weights > 0.5",
        )
    if keep.shape != shape or len(keep) != rows:
        raise InputError(
            "a mask of the wrong shape",
            expected=f"{[rows, *shape[1:]]}, a row per recording and a column per unit",
            got=f"keep {list(keep.shape)}, units {list(shape)}",
            mend="make it from the units: torch.ones_like(units.mask)",
        )
    if not isinstance(seed, int) and len(seed) != rows:
        raise InputError(
            "not one seed per row",
            expected=f"one number, or {rows}",
            got=str(len(seed)),
            mend="use modalxai.audio.seed_for(sample_id, seed) for each row",
        )


def check_positive(name: str, value: float) -> None:
    """Refuse a setting that is no positive number."""
    if not value > 0:
        raise InputError(
            f"{name} must be positive",
            expected="a number above 0",
            got=repr(value),
            mend=f"choose another {name}",
        )

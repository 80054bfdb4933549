"""Stretches of a raw recording as players, for models whose encoder is not known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from modalxai import audio
from modalxai.errors import InputError
from modalxai.types import Audio, Spans
from modalxai.voice.players import kept
from modalxai.voice.world import RawAudio, mono


@dataclass(frozen=True)
class SegmentDivision:
    """Consecutive segments of a recording; a removed one is silent, its edges fade over 5 ms.

    The removal comes before whatever normalisation the model does, which then rescales what is
    left: half a clip silenced makes the other half about 1.4 times as loud. Encoders of modalxai
    remove after it, so use their own ``"segment"`` units where there are any.

    Parameters
    ----------
    seconds
        Length of a segment; the last one is shorter.

    Raises
    ------
    InputError
        A length that is not a number from 0.01 on.
    """

    seconds: float = 0.5

    def __post_init__(self) -> None:
        if not isinstance(self.seconds, int | float) or not 0.01 <= self.seconds < float("inf"):
            raise InputError(
                "an impossible length of segments",
                expected="seconds, from 0.01 on",
                got=repr(self.seconds),
                mend="leave the default, 0.5",
            )

    def units(self, raw: RawAudio) -> Spans:
        """The segments of one recording, seconds [1, U], named by their times."""
        clip, rate = mono(raw)
        spans = audio.segments(torch.tensor([len(clip)]), rate, self.seconds)
        times = zip(spans.start[0].tolist(), spans.end[0].tolist(), strict=True)
        names = tuple(f"{start:.2f}-{end:.2f} s" for start, end in times)
        return Spans(spans.start, spans.end, "seconds", names=(names,))

    def render(self, raw: RawAudio, keep: Tensor) -> Any:
        """The recording with the segments left that ``keep``, bool [U], names.

        Everything kept is the raw value itself; otherwise a new `Audio`, mono.

        Raises
        ------
        InputError
            A mask that does not fit, or a recording that cannot be used (see
            `modalxai.audio.prepare`).
        """
        units = self.units(raw)
        if all(kept(keep, units.start.shape[1])):
            return raw
        clip, rate = mono(raw)
        lengths = torch.tensor([len(clip)])
        left = audio.remove(clip[None], lengths, units, keep[None].cpu(), "silence", 0, rate)
        return Audio(left[0], rate)

"""Tiles of time and frequency of a raw recording as players, for models of any kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from modalxai import tiles
from modalxai.errors import InputError
from modalxai.types import Audio, Spans
from modalxai.voice.players import kept
from modalxai.voice.world import RawAudio, mono


@dataclass(frozen=True)
class TileDivision:
    """Segments of a recording, each in bands of frequency; see `modalxai.tiles`.

    A removed tile is silent: its cells of the short-time Fourier transform are 0, the phases of
    the others stay. What was said of `SegmentDivision` about normalisation holds here, too:
    encoders of modalxai remove ``"tile"`` units after it.

    Parameters
    ----------
    seconds
        Length of a segment; the last one is shorter.
    bands
        How many, equally wide in mel from 0 to half the sample rate of the recording.

    Raises
    ------
    InputError
        A length that is not a number from 0.01 on, or no whole number of bands from 1 to 64.
    """

    seconds: float = 0.5
    bands: int = tiles.BANDS

    def __post_init__(self) -> None:
        if not isinstance(self.seconds, int | float) or not 0.01 <= self.seconds < float("inf"):
            raise InputError(
                "an impossible length of tiles",
                expected="seconds, from 0.01 on",
                got=repr(self.seconds),
                mend="leave the default, 0.5",
            )
        tiles.edges(2, self.bands)  # refuses what is no number of bands

    def units(self, raw: RawAudio) -> Spans:
        """The tiles of one recording, seconds and hertz [1, U], named by both."""
        clip, rate = mono(raw)
        spans = tiles.units(torch.tensor([len(clip)]), rate, self.seconds, self.bands)
        sides = (spans.start, spans.end, spans.low, spans.high)
        rows = zip(*(side[0].tolist() for side in sides if side is not None), strict=True)
        names = tuple(f"{a:.2f}-{b:.2f} s, {low:.0f}-{high:.0f} Hz" for a, b, low, high in rows)
        return Spans(spans.start, spans.end, "seconds", spans.low, spans.high, (names,))

    def render(self, raw: RawAudio, keep: Tensor) -> Any:
        """The recording with the tiles left that ``keep``, bool [U], names.

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
        left = tiles.remove(clip[None], lengths, units, keep[None].cpu(), "silence", 0, rate)
        return Audio(left[0], rate)

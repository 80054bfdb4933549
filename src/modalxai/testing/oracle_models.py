"""Oracle models: modules with hand-set weights, whose every answer is known before they are asked.

A text encoder that looks words up, an audio encoder that hears tones, and a fusion that is a truth
table. Nothing is learnt, everything else is real: collate, tensors, padding, removal, alignment.
What `truth` says of a sample must come back from a game of the model, word by word.

Examples
--------
>>> from modalxai.types import labels
>>> words = LexiconEncoder({"잘했다": 1.0})
>>> tones = ToneEncoder({200: 10.0}, segment_seconds=0.1)
>>> fusion = CueFusion({"text": 1, "audio": 1}, labels("joy", kind="dimensional"), [0, 0, 0, 2])

``modalxai.EmotionModel({"text": words, "audio": tones}, fusion)`` says 2 where the word and a tenth
of a second of the tone come together, and half of it is due to each:

>>> truth(fusion, {"text": [0.0, 1.0], "audio": [1.0, 0.0]}).shapley()[:, 0].tolist()
[0.0, 1.0, 1.0, 0.0]
"""

from __future__ import annotations

import math
import string
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from modalxai import audio, masking
from modalxai.encoders import text_units
from modalxai.encoders.byte_text import BEGIN, FIRST_BYTE, MASK, PAD, VOCABULARY, ByteCollate
from modalxai.encoders.waveforms import (
    WaveformCollate,
    WaveformRemoval,
    check_positive,
    frame_count,
)
from modalxai.errors import InputError
from modalxai.pretrained import Pretrained
from modalxai.testing.cue_tables import CueFusion, truth
from modalxai.types import Audio, Features, Inputs, Spans

__all__ = ["CueFusion", "LexiconEncoder", "ToneEncoder", "tones", "truth"]

RATE = 16_000
HOP = 160
"""Samples of a frame of `ToneEncoder`, 10 ms: tones 100 Hz apart do not disturb each other."""
AUDIBLE = 0.1
"""Amplitude from which a tone counts, full scale 1.0."""

_EDGE = 256
"""Channel of what stands beside a word: the ends of the text, whitespace, punctuation."""


class LexiconEncoder(Pretrained):
    """Looks words up in UTF-8 bytes: one number per byte, a word's value at its last byte.

    One convolution whose kernels spell the words, an edge on either side, then a ReLU that is 1
    where all of it fits and 0 elsewhere. A word counts in composed (NFC) and decomposed form, with
    punctuation beside it, and not within another word.

    Parameters
    ----------
    words
        Value by word.
    max_bytes
        The longest text.

    Raises
    ------
    InputError
        No words, or one with whitespace or ASCII punctuation in it.
    """

    removals: tuple[str, ...] = text_units.REMOVALS
    kinds: tuple[str, ...] = ("word", "byte")
    dim = 1

    def __init__(self, words: Mapping[str, float], max_bytes: int = 1024) -> None:
        super().__init__()
        bad = [word for word in words if not word or set(word) & set(_BESIDE)]
        if bad or not words:
            raise InputError(
                "a lexicon that holds no words",
                expected="words without whitespace and punctuation, and their values",
                got=repr(bad[:3]),
                mend='write LexiconEncoder({"잘했다": 1.0}), say',
            )
        self._settings = {
            "words": [[w, float(v)] for w, v in words.items()],
            "max_bytes": max_bytes,
        }
        self.collate = ByteCollate(max_bytes)
        forms = {
            unicodedata.normalize(form, word).encode(): float(value)
            for word, value in words.items()
            for form in ("NFC", "NFD")
        }
        longest = max(len(spelt) for spelt in forms)
        self.letters = nn.Embedding(VOCABULARY, _EDGE + 1)
        self.spelling = nn.Conv1d(_EDGE + 1, len(forms), longest + 2)
        self.worth = nn.Linear(len(forms), 1, bias=False)
        with torch.no_grad():
            self.letters.weight.copy_(_letters())
            self.spelling.weight.zero_()
            for row, (spelt, value) in enumerate(forms.items()):
                # From the right: an edge, the word's bytes, an edge.
                for place, byte in enumerate((_EDGE, *reversed(spelt), _EDGE)):
                    self.spelling.weight[row, byte, -1 - place] = 1
                self.spelling.bias[row] = -1.0 - len(spelt)  # type: ignore[index]  # it has one
                self.worth.weight[0, row] = value

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return dict(self._settings)

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Self:
        """The same encoder again."""
        return cls(**settings | {"words": dict(settings["words"])})

    def forward(self, inputs: Inputs) -> Features:
        """Bytes [B, T] to values [B, T, 1]."""
        mask = inputs["attention_mask"]
        # Beyond the text there is an edge, whatever the padding holds.
        beyond = torch.zeros(_EDGE + 1, dtype=self.worth.weight.dtype, device=mask.device)
        beyond[_EDGE] = 1
        letters = torch.where(mask[..., None], self.letters(inputs["input_ids"]), beyond)
        before = self.spelling.kernel_size[0] - 2
        end = beyond.expand(len(letters), 1, -1)
        start = torch.zeros_like(end).expand(-1, before, -1)
        padded = torch.cat([start, letters, end], dim=1).transpose(1, 2)
        found = self.spelling(padded).relu().transpose(1, 2)
        values = masking.blank(self.worth(found), mask)
        return Features(values, mask, text_units.spans(inputs))

    def units(self, inputs: Inputs, kind: str) -> Spans:
        """As `modalxai.encoders.ByteTextEncoder`."""
        return text_units.units(inputs, kind, self.kinds)

    def remove(
        self, inputs: Inputs, units: Spans, keep: Tensor, how: str, seed: int | Sequence[int] = 0
    ) -> Inputs:
        """As `modalxai.encoders.ByteTextEncoder`."""
        return text_units.remove(inputs, units, keep, how, self.removals, MASK, PAD)


_BESIDE = string.whitespace + string.punctuation


def _letters() -> Tensor:
    """What each id of the vocabulary is, [ids, bytes + 1]: a byte, an edge, or (masked) nothing."""
    table = torch.zeros(VOCABULARY, _EDGE + 1)
    table[BEGIN, _EDGE] = 1
    for byte in range(256):
        edge = chr(byte) in _BESIDE
        table[FIRST_BYTE + byte, byte] = 1
        table[FIRST_BYTE + byte, _EDGE] = float(edge)
    return table


class ToneEncoder(WaveformRemoval, Pretrained):
    """Hears pure tones: one number per 10 ms, the values of the tones sounding through it.

    Two kernels for each tone, a cosine and a sine, and a step: a frame counts in full where the
    tone's amplitude is `AUDIBLE` or more, and not at all elsewhere.

    Parameters
    ----------
    tones
        Value of one second, by frequency in hertz: multiples of 100.
    segment_seconds
        Length of a ``"segment"`` unit.

    Raises
    ------
    InputError
        No tones, or one that frames of 10 ms do not hold apart.
    """

    dim = 1

    def __init__(self, tones: Mapping[int, float], segment_seconds: float = 0.5) -> None:
        super().__init__()
        check_positive("segment_seconds", segment_seconds)
        if not tones or any(tone % 100 or not 0 < tone < RATE / 2 for tone in tones):
            raise InputError(
                "tones that frames of 10 ms do not hold apart",
                expected=f"multiples of 100 Hz below {RATE // 2}",
                got=repr(list(tones)),
                mend="write ToneEncoder({200: 1.0}), say",
            )
        self._settings = {
            "tones": [[tone, float(value)] for tone, value in tones.items()],
            "segment_seconds": segment_seconds,
        }
        self.segment_seconds = segment_seconds
        self.frames = audio.Frames(HOP, HOP, 0, RATE)
        self.collate = WaveformCollate(self.frames, normalize=False)
        self.waves = nn.Conv1d(1, 2 * len(tones), HOP, HOP, bias=False)
        self.worth = nn.Linear(len(tones), 1, bias=False)
        phase = 2 * math.pi * torch.arange(HOP, dtype=torch.float64) / RATE
        with torch.no_grad():
            for row, (tone, value) in enumerate(tones.items()):
                self.waves.weight[2 * row, 0] = (phase * tone).cos() * 2 / HOP
                self.waves.weight[2 * row + 1, 0] = (phase * tone).sin() * 2 / HOP
                self.worth.weight[0, row] = value * HOP / RATE

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return dict(self._settings)

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Self:
        """The same encoder again."""
        return cls(**settings | {"tones": dict(settings["tones"])})

    def forward(self, inputs: Inputs) -> Features:
        """Waveforms [B, S] to values [B, T, 1]."""
        waveform, lengths = inputs["waveform"], inputs["length"]
        padded = masking.lengthen(waveform, HOP).to(self.waves.weight.dtype)
        parts = torch.unflatten(self.waves(padded[:, None]), 1, (-1, 2)).square().sum(2)
        heard = (parts >= AUDIBLE**2).to(parts.dtype).transpose(1, 2)
        longest = frame_count(self.frames, waveform.shape[1])
        mask = masking.from_lengths(self.frames.counts(lengths), longest)
        values = masking.blank(self.worth(heard), mask)
        return Features(values, mask, self.frames.spans(lengths, longest))


def tones(seconds: float, at: Sequence[tuple[float, float, int]], hiss: float = 0.002) -> Audio:
    """A recording at 16 kHz of faint noise, with tones in it.

    Parameters
    ----------
    seconds
        Its length.
    at
        Start and end in seconds, whole hundredths, and hertz of each tone.
    hiss
        Amplitude of the noise, the same in every recording.
    """
    count = round(seconds * RATE)
    draw = torch.Generator().manual_seed(0)
    waveform = hiss * torch.randn(count, generator=draw)
    clock = torch.arange(count, dtype=torch.float64) / RATE
    for start, end, hertz in at:
        first, last = round(start * RATE), round(end * RATE)
        waveform[first:last] += 0.5 * (2 * math.pi * hertz * clock[first:last]).sin().float()
    return Audio(waveform, RATE)

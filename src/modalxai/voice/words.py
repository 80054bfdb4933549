"""Words of a raw text as players, for models whose encoder is not known."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import torch
from torch import Tensor

from modalxai.errors import InputError
from modalxai.types import Spans
from modalxai.voice.players import kept


@dataclass(frozen=True)
class WordDivision:
    """The words of a text, divided at whitespace; a removed one is left out or masked.

    Parameters
    ----------
    mask
        What stands for a removed word, the model's mask token say. Empty: the word goes, with the
        whitespace before it.

    Raises
    ------
    InputError
        A mask that is no text, or that holds whitespace and so would be several words.
    """

    mask: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.mask, str) or any(one.isspace() for one in self.mask):
            raise InputError(
                "a mask that is not one word",
                expected="a text without whitespace, or an empty one",
                got=repr(self.mask),
                mend='write WordDivision(mask="[MASK]"), say',
            )

    def units(self, raw: str) -> Spans:
        """The words of one text, characters of the raw text [1, U].

        Names are the words in composed form (NFC), so that a word is called the same however its
        letters are stored.
        """
        places = _words(raw)
        edges = torch.tensor(places, dtype=torch.float32)
        names = tuple(unicodedata.normalize("NFC", raw[start:end]) for start, end in places)
        return Spans(edges[None, :, 0], edges[None, :, 1], "characters", names=(names,))

    def render(self, raw: str, keep: Tensor) -> str:
        """The text with the words left that ``keep``, bool [U], names.

        Everything kept is the text itself. Otherwise what is left keeps its own characters, and
        whitespace at the ends goes; nothing kept and no mask is the empty text.

        Raises
        ------
        InputError
            A blank text, or a mask that does not fit.
        """
        places = _words(raw)
        left = kept(keep, len(places))
        if all(left):
            return raw
        text = ""
        for index, (start, end) in enumerate(places):
            if not left[index] and not self.mask:
                continue
            # The whitespace before a word goes and stays with it; the first that is left has none.
            before = places[index - 1][1] if index and text else start
            text += raw[before:start] + (raw[start:end] if left[index] else self.mask)
        return text


def _words(raw: str) -> list[tuple[int, int]]:
    """Start and end of each word."""
    if not isinstance(raw, str) or not raw.strip():
        raise InputError(
            "no text to divide into words",
            expected="a str with one word or more, or None where the text is missing",
            got=repr(raw)[:40],
            mend="give None where the text is missing",
        )
    places, start = [], None
    for place, character in enumerate(raw + " "):
        if character.isspace():
            if start is not None:
                places.append((start, place))
            start = None
        elif start is None:
            start = place
    return places

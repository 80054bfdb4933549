"""Errors in a text, one at a time, until an optimal alignment counts as many as wanted."""

from __future__ import annotations

import random
import string
import unicodedata
from dataclasses import dataclass
from functools import cache

from modalxai.errors import InputError
from modalxai.metrics.texts import edits as distance

FIRST, LEADS, VOWELS, TAILS = 0xAC00, 19, 21, 28
"""Hangul syllables in Unicode: lead * 588 + vowel * 28 + tail, the tail 0 for none."""
SIZES = (LEADS, VOWELS, TAILS)
SYLLABLES = LEADS * VOWELS * TAILS
TRIES = 300
"""Draws for one edit. An edit may undo another, and is then drawn again."""


@dataclass(frozen=True)
class Corruption:
    """A corrupted text.

    Parameters
    ----------
    text
        In NFC, with single spaces.
    edits
        Its edit distance from the true text.
    characters
        Of the true text, in NFC and with single spaces.
    """

    text: str
    edits: int
    characters: int

    @property
    def cer(self) -> float:
        """The character error rate that was reached."""
        return self.edits / self.characters


def corrupt(
    text: str, cer: float, seed: int, mix: tuple[float, float, float], hangul: str
) -> Corruption:
    """``text`` with ``cer * n`` edits, rounded up or down by a draw that keeps the mean.

    Parameters
    ----------
    text
        What was said.
    cer
        Edits per character, 0 to 1.
    seed
        Decides everything.
    mix
        Weights of substitutions, deletions and insertions.
    hangul
        ``"jamo"``, ``"common"`` or ``"syllable"``, see `SimulatedTranscriber`.

    Raises
    ------
    InputError
        No character.
    """
    true = tidy(text)
    if not true:
        raise InputError(
            "an empty transcript",
            expected="a text with a letter in it",
            got=repr(text),
            mend="leave the sample out, or give None where there is no text",
        )
    draw = random.Random(seed)
    wanted = min(len(true), int(cer * len(true) + draw.random()))
    heard, edits = true, 0
    for _ in range(wanted):
        for _ in range(TRIES):
            edited = tidy(_edit(heard, draw, mix, hangul))
            # Exactly one further from the truth: not undone, not two at once by a joined space.
            if edited != heard and distance(true, edited) == edits + 1:
                heard, edits = edited, edits + 1
                break
    return Corruption(heard, edits, len(true))


def tidy(text: str) -> str:
    """NFC, with single spaces and none at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def _edit(text: str, draw: random.Random, mix: tuple[float, float, float], hangul: str) -> str:
    kind = draw.choices(("substitute", "delete", "insert"), mix)[0]
    place = draw.randrange(len(text)) if text else 0
    letter = text[place] if text else "a"
    if kind == "delete":
        return text[:place] + text[place + 1 :]
    other = _other(letter, text, draw, hangul)
    if kind == "insert":
        return text[:place] + other + text[place:]
    return text[:place] + other + text[place + 1 :]


def _other(letter: str, text: str, draw: random.Random, hangul: str) -> str:
    """Another character of the same kind."""
    code = ord(letter) - FIRST
    if 0 <= code < SYLLABLES:
        return _syllable(code, draw, hangul)
    for letters in (string.ascii_lowercase, string.ascii_uppercase, string.digits):
        if letter in letters:
            return draw.choice(letters.replace(letter, ""))
    # Of other scripts, what the text itself shows; a space or a comma becomes a letter.
    if letter.isalpha():
        return draw.choice(sorted({found for found in text if found.isalpha()}))
    spoken = [found for found in text if found.isalnum() and found != letter]
    return _other(draw.choice(spoken), text, draw, hangul) if spoken else draw.choice("aeiou")


def _syllable(code: int, draw: random.Random, hangul: str) -> str:
    if hangul == "syllable":
        return chr(FIRST + (code + draw.randrange(1, SYLLABLES)) % SYLLABLES)
    if hangul == "common":
        return draw.choice(_common(code))
    which = draw.randrange(3)
    return _changed(code, which, draw.randrange(1, SIZES[which]))


def _changed(code: int, which: int, by: int) -> str:
    """A syllable with one of its three letters moved on by so many places."""
    parts = [code // (VOWELS * TAILS), code // TAILS % VOWELS, code % TAILS]
    parts[which] = (parts[which] + by) % SIZES[which]
    return chr(FIRST + (parts[0] * VOWELS + parts[1]) * TAILS + parts[2])


@cache
def _common(code: int) -> tuple[str, ...]:
    """The syllables of KS X 1001 that differ from one in one letter; any, where there is none."""
    every = [_changed(code, which, by) for which in range(3) for by in range(1, SIZES[which])]
    # Two bytes in EUC-KR; what the standard lacks is spelt out there, by eight.
    return tuple(one for one in every if len(one.encode("euc_kr")) == 2) or tuple(every)

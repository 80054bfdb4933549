"""Speech sounds as formant templates, and the pronunciation of Korean and English letters."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from modalxai.errors import InputError


@dataclass(frozen=True)
class Phone:
    """One speech sound.

    Parameters
    ----------
    formants
        First three resonances, hertz, of an average vocal tract.
    seconds
        Usual length, before rate and fitting.
    voice, noise
        Amplitude of the voiced source and of frication, 0..1.
    centre
        Hertz about which the frication is strongest.
    vowel
        Whether it is one.
    """

    formants: tuple[float, float, float]
    seconds: float
    voice: float
    noise: float = 0.0
    centre: float = 3000.0
    vowel: bool = False


def _vowel(first: float, second: float, third: float) -> Phone:
    return Phone((first, second, third), 0.09, 1.0, vowel=True)


PHONES: dict[str, Phone] = {
    "a": _vowel(800, 1300, 2600),
    "e": _vowel(530, 1850, 2600),
    "i": _vowel(300, 2300, 3000),
    "o": _vowel(450, 850, 2500),
    "u": _vowel(330, 900, 2300),
    "v": _vowel(600, 1050, 2600),  # the Korean eo
    "y": _vowel(370, 1450, 2400),  # the Korean eu
    "m": Phone((280, 1000, 2200), 0.06, 0.45),
    "n": Phone((280, 1600, 2500), 0.06, 0.45),
    "N": Phone((280, 2000, 2700), 0.06, 0.45),
    "l": Phone((380, 1200, 2700), 0.05, 0.6),
    "p": Phone((350, 900, 2200), 0.06, 0.05, 0.12, 900),
    "t": Phone((350, 1750, 2600), 0.06, 0.05, 0.2, 4000),
    "k": Phone((350, 2000, 2500), 0.06, 0.05, 0.18, 2000),
    "s": Phone((350, 1750, 2600), 0.08, 0.0, 0.35, 5500),
    "c": Phone((350, 2000, 2700), 0.08, 0.02, 0.3, 3500),  # affricate
    "h": Phone((500, 1500, 2500), 0.05, 0.15, 0.2, 1500),
}
"""The inventory both languages share; every letter is spelled by one or two of these."""

VOWELS = tuple(name for name, phone in PHONES.items() if phone.vowel)
CONSONANTS = tuple(name for name, phone in PHONES.items() if not phone.vowel)

_INITIALS = "k kk n t tt l m p pp s ss - c cc c k t p h".split()
_MEDIALS = "a e ia ie v e iv ie o oa oe oe io u uv ue ui iu y yi i".split()
_FINALS = "- k k k n n n t l l l l l l l l m p p t t N t t k t p h".split()
_LATIN = dict(
    zip(
        "abcdefghijklmnopqrstuvwxyz",
        "a p k t e p k h i c k l m n o p k l s t u p u k i s".split(),
        strict=True,
    )
)


def spell(word: str) -> str:
    """The names of a word's phones, always the same for the same letters.

    Hangul syllables are taken apart into initial, medial and final; Latin letters are read one by
    one. It is a code that keeps words apart, not a model of either language's phonology.

    Raises
    ------
    InputError
        Nothing in the word can be pronounced.
    """
    names = ""
    for letter in unicodedata.normalize("NFC", word).lower():
        place = ord(letter) - 0xAC00
        if 0 <= place < 11172:
            final, medial, initial = place % 28, place // 28 % 21, place // 588
            syllable = _INITIALS[initial] + _MEDIALS[medial] + _FINALS[final]
            names += syllable.replace("-", "")
        else:
            names += _LATIN.get(letter, "")
    if not names:
        raise InputError(
            f"{word!r} cannot be pronounced",
            expected="Hangul syllables or the letters a to z",
            got=repr(word),
            mend="spell the word in one of the two",
        )
    return names


def babble(pattern: str, generator: np.random.Generator) -> str:
    """Phones drawn afresh on the pattern of vowels and consonants of another spelling."""
    return "".join(
        str(generator.choice(VOWELS if PHONES[name].vowel else CONSONANTS)) for name in pattern
    )


def sounds(names: str) -> Sequence[Phone]:
    """The phones behind their names."""
    return [PHONES[name] for name in names]

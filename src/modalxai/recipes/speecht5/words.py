"""From Korean lines to what SpeechT5 can read: translations, or letters for the sounds.

SpeechT5 reads some eighty English characters. Korean is translated by any plugin of the group
``modalxai.translators``; without one a stand-in is used, and `Words.said` tells which. Nothing is
translated silently, and nothing is left out uncounted.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modalxai import plugins
from modalxai.datasets import translate_corpus
from modalxai.datasets.columns import WithColumn
from modalxai.datasets.columns import column as read_column
from modalxai.datasets.tonebench.lexicon import lexicon
from modalxai.errors import InputError
from modalxai.protocols import Line, Samples, Translator

COLUMN = "english"

DIGITS = "zero one two three four five six seven eight nine".split()
PLAIN = str.maketrans("‘’“”–—…·", "''\"\"--. ")  # these very characters
FIRST = "g kk n d tt r m b pp s ss  j jj ch k t p h".split(" ")
VOWELS = "a ae ya yae eo e yeo ye o wa wae oe yo u wo we wi yu eu ui i".split()
LAST = " k k k n n n t l k m l l l p l m p p t t ng t t k t p t".split(" ")
"""Letters of Hangul's first, middle and last sounds in the order of Unicode."""


@dataclass(frozen=True)
class LexiconTranslator:
    """A stand-in for synthetic speech: each word of the lexicon by its fellow in English.

    It reads no context, since words of the lexicon mean the same everywhere.
    """

    source: str = "ko"
    target: str = "en"
    name: str = "parallel lexicon"
    batch_size: int = 64
    context: tuple[int, int] = (0, 0)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The two languages."""
        return {"source": self.source, "target": self.target}

    def translate(self, lines: Sequence[Line]) -> list[str]:
        """Word by word, the full stop at its place.

        Raises
        ------
        InputError
            A word that the lexicon does not hold; its ``index`` is the line's place.
        """
        theirs, ours = (lexicon(one).words for one in (self.source, self.target))
        fellows = dict(zip(theirs, ours, strict=True))
        made = []
        for index, line in enumerate(lines):
            words = line.text.removesuffix(".").split()
            if unknown := [word for word in words if word not in fellows]:
                raise InputError(
                    "words that the lexicon does not hold",
                    expected="a sentence of synthetic speech",
                    got=str(unknown[:5]),
                    mend="ask for a real translator",
                    index=index,
                )
            made.append(" ".join(fellows[word] for word in words) + ".")
        return made


@dataclass(frozen=True)
class Words:
    """How texts become readable.

    Parameters
    ----------
    translator
        ``None`` spells Korean in Latin letters, which SpeechT5 can read but not understand.
    said
        The same in a sentence.
    """

    translator: Translator | None
    said: str

    def readable(self, samples: Samples, cache: Path) -> Samples:
        """The samples with a column `COLUMN`; a real translator's answers are kept in ``cache``."""
        if self.translator is not None:
            kept = None if isinstance(self.translator, LexiconTranslator) else cache
            return translate_corpus(self.translator, samples, cache=kept, column=COLUMN)
        texts = read_column(samples, "text")
        return WithColumn(samples, COLUMN, [None if t is None else romanise(t) for t in texts])


def words_for(asked: str | None, synthetic: bool) -> Words:
    """The translator that was asked for, else what stands in for it.

    Parameters
    ----------
    asked
        As `modalxai.recipes.options.Options.translator`.
    synthetic
        Whether the speech is synthetic, so that its words have known fellows.

    Raises
    ------
    InputError
        Settings that are no json object.
    PluginError
        No such plugin.
    """
    if asked:
        name, _, rest = asked.strip().partition(" ")
        try:
            settings = json.loads(rest or "{}")
        except (ValueError, RecursionError):
            settings = None
        if not isinstance(settings, dict):
            raise InputError(
                "a translator that cannot be read",
                expected='a plugin and json: openai-compatible {"model": "gpt-4o-mini", ...}',
                got=repr(rest[:80]),
                mend="write the plugin's settings as one json object after its name",
            )
        made: Translator = plugins.create("translators", name, **settings)
        before, after = made.context
        around = f"with {before} turns before and {after} after" if before or after else "alone"
        return Words(made, f"Korean is translated to English by {made.name}, each turn {around}.")
    if synthetic:
        return Words(
            LexiconTranslator(),
            "No translator was asked for: the lexicon's own English words stand in for one.",
        )
    return Words(
        None,
        "No translator was asked for (--translator): nothing is translated. Korean is spelt in "
        "Latin letters, which an English model reads without understanding; text figures are no "
        "comparison with the paper's.",
    )


def romanise(text: str) -> str:
    """Hangul in Latin letters, syllable by syllable (Revised Romanization without assimilation).

    Examples
    --------
    >>> romanise("참 잘했다.")
    'cham jalhaetda.'
    """
    return "".join(_syllable(one) for one in unicodedata.normalize("NFC", text))


def spell(text: str | None, known: frozenset[str]) -> tuple[str | None, int]:
    """A text in the characters of a vocabulary, and how many of its characters were left out.

    Digits become words, typographic marks and accents plain letters; what else is unknown goes.
    ``None`` where nothing is left.
    """
    if text is None:
        return None, 0
    plain = unicodedata.normalize("NFC", text).translate(PLAIN)
    plain = "".join(f" {DIGITS[int(one)]} " if one in "0123456789" else one for one in plain)
    kept, lost = [], 0
    for one in plain:
        parts = [one] if one in known or one.isspace() else unicodedata.normalize("NFKD", one)
        found = [_cased(part, known) for part in parts]
        lost += not any(found)
        kept += found
    return " ".join("".join(kept).split()) or None, lost


def _cased(one: str, known: frozenset[str]) -> str:
    if one.isspace():
        return " "
    return next((way for way in (one, one.lower(), one.upper()) if way in known), "")


def _syllable(one: str) -> str:
    place = ord(one) - 0xAC00
    if not 0 <= place < len(FIRST) * len(VOWELS) * len(LAST):
        return one
    rest, last = divmod(place, len(LAST))
    first, vowel = divmod(rest, len(VOWELS))
    return FIRST[first] + VOWELS[vowel] + LAST[last]

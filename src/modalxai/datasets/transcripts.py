"""Transcripts of the KEMDy corpora: annotation tags out, words kept.

Two-character tags say what else is heard: ``c/`` run-on speech, ``n/`` a brief noise, ``N/`` noise
over half of the segment, ``u/`` an unintelligible word, ``l/`` a drawn "음", ``b/`` breath or
cough; ``o/`` and ``s/`` occur too. A mark stands behind a word: ``*`` partly heard, ``+`` a
stuttered repetition, a bare ``/`` a filler word. The tags must go first: without its slash a
tag's letter would pass for a word.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import Literal

TAGS = ("c/", "n/", "N/", "u/", "l/", "b/", "o/", "s/")
MARKS = ("*", "+", "/")

# A letter that ends a Latin word ("plan/") is part of the word, and its slash marks a filler.
_TAG = re.compile(r"(?<![A-Za-z0-9])[cnNulbos]/")
_FILLER = re.compile(r"[^\s/*+()]+[*+]*/(?!\w)")
_BETWEEN = re.compile(r"(?<=\w)[*+/]+(?=\w)")
_MARK = re.compile(r"[*+/]+")
_BRACKETS = re.compile(r"\([^()]*\)")


def normalise(text: str) -> str:
    """Unicode NFC, so that composed and decomposed Hangul are equal; runs of space become one."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def tags(text: str) -> dict[str, int]:
    """How often each tag and mark occurs, ``n/`` and ``N/`` apart; those that do not are left out.

    Examples
    --------
    >>> tags("n/ 어/ 그래+ 그래서 N/ n/")
    {'n/': 2, 'N/': 1, '+': 1, '/': 1}
    """
    text = normalise(text)
    found = Counter(_TAG.findall(text))
    rest = _TAG.sub(" ", text)
    found.update({mark: rest.count(mark) for mark in MARKS})
    return {name: found[name] for name in (*TAGS, *MARKS) if found[name]}


def clean(
    text: str,
    *,
    fillers: Literal["keep", "drop"] = "keep",
    brackets: Literal["keep", "drop"] = "keep",
) -> str:
    """The words that were said, in NFC, without tags and marks.

    Parameters
    ----------
    text
        A transcript with tags.
    fillers
        Whether words marked as fillers (``어/``) stay, without their mark.
    brackets
        Whether text in round brackets stays; some published readers drop it.

    Examples
    --------
    >>> clean("c/ 어/ 그+ 그래서* n/ 참 잘했다.")
    '어 그 그래서 참 잘했다.'
    >>> clean("어/ 참 잘했다.", fillers="drop")
    '참 잘했다.'
    """
    text = _TAG.sub(" ", normalise(text))
    if brackets == "drop":
        text = _BRACKETS.sub(" ", text)
    if fillers == "drop":
        text = _FILLER.sub(" ", text)
    return normalise(_MARK.sub("", _BETWEEN.sub(" ", text)))

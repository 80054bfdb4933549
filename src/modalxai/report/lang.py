"""In which language a text is written, as far as its letters tell."""

from __future__ import annotations

import unicodedata


def language(text: str) -> str | None:
    """``"ko"`` with Hangul, ``"ja"`` with kana, else None: letters alone do not tell.

    Composed and decomposed letters count alike.

    Examples
    --------
    >>> language("참 잘했다."), language("anger")
    ('ko', None)
    """
    names = [unicodedata.name(letter, "") for letter in text if letter.isalpha()]
    if any("HANGUL" in name for name in names):
        return "ko"
    if any(name.startswith(("HIRAGANA", "KATAKANA")) for name in names):
        return "ja"
    return None

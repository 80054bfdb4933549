"""Morpheme analysers: the protocol, and the user's own Moran library behind it."""

from __future__ import annotations

import ctypes
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from modalxai.errors import DependencyError, InputError

BUFFER = 102_400
"""Bytes of the library's buffers, as the published tokenizer has them."""


class Morpheme(NamedTuple):
    """One morpheme.

    Parameters
    ----------
    form
        How the vocabulary writes it: marked ``~`` or ``~~`` where it continues a word.
    start, end
        Its characters in the text.
    """

    form: str
    start: int
    end: int


class MorphemeAnalyser(Protocol):
    """A picklable callable that cuts a text into morphemes, in order."""

    def __call__(self, text: str) -> Sequence[Morpheme]:
        """The morphemes of a text."""
        ...


@dataclass(frozen=True)
class Moran:
    """The analyser published with HanBERT, a shared library that its user has (Linux only).

    The library is opened at the first text, once per process, and runs as any program of the user
    does: name one that you trust. No library is part of modalxai, and none was at hand when this
    was written. The calls are those of the published tokenizer; checked against a stand-in are the
    calls, the marks and the places, not the library's own answers, nor where it looks for its
    tables (``moran.db`` and the rest belong beside it, or in ``/usr/local/moran``).

    Parameters
    ----------
    library
        ``libmoran4dnlp.so``.

    References
    ----------
    ``tokenization_hanbert.py`` of the repository monologg/HanBert-Transformers (Apache-2.0).
    """

    library: str | Path

    def __post_init__(self) -> None:
        if not Path(self.library).is_file():
            raise DependencyError(
                "the morpheme library is missing",
                expected="libmoran4dnlp.so, which comes with HanBERT",
                got=f"no file {self.library}",
                mend="give the path where it is: analyser='.../libmoran4dnlp.so'",
            )

    def __call__(self, text: str) -> list[Morpheme]:
        """The morphemes of a text.

        Raises
        ------
        DependencyError
            The library is not there, or is not this library.
        InputError
            A text that does not fit its buffers.
        """
        cleaned, origins = clean(text)
        data = cleaned.encode()
        if len(data) >= BUFFER:
            raise InputError(
                "a text that is too long for the morpheme analyser",
                expected=f"fewer than {BUFFER} bytes",
                got=str(len(data)),
                mend="cut it into sentences",
            )
        output = ctypes.create_string_buffer(BUFFER)
        found = _open(str(self.library)).Moran4dnlp(
            ctypes.create_string_buffer(data, BUFFER), output, BUFFER
        )
        forms = (found or b"").decode("utf-8", "replace").split()
        spans = align(cleaned, [surface(form) for form in forms])
        return [
            Morpheme(form, origins[start], origins[end - 1] + 1)
            for form, (start, end) in zip(forms, spans, strict=True)
        ]


def surface(form: str) -> str:
    """A morpheme without its marks."""
    return form.lstrip("~") or form


def clean(text: str) -> tuple[str, list[int]]:
    """The text as the published tokenizer gives it to the library, and each character's origin.

    Control characters go, whitespace becomes a space, and Chinese characters stand alone.
    """
    found: list[tuple[str, int]] = []
    for place, character in enumerate(text):
        if character.isspace():
            found.append((" ", place))
        elif unicodedata.category(character).startswith("C") or character == "\ufffd":
            continue
        elif _chinese(ord(character)):
            found += [(" ", place), (character, place), (" ", place)]
        else:
            found.append((character, place))
    return "".join(character for character, _ in found), [place for _, place in found]


def align(text: str, surfaces: Sequence[str]) -> list[tuple[int, int]]:
    """Where pieces of a text lie in it, as first and last character + 1.

    For analysers that give no places. Where the pieces are the text's letters, which is the rule,
    the places are exact. One that is written in another way (a contraction taken apart) takes the
    letters between its neighbours; where none are left it shares its neighbour's, and is removed
    together with it.
    """
    written = [place for place, character in enumerate(text) if not character.isspace()]
    matcher = SequenceMatcher(
        None, "".join(surfaces), "".join(text[place] for place in written), autojunk=False
    )
    place_of = {
        block.a + step: written[block.b + step]
        for block in matcher.get_matching_blocks()
        for step in range(block.size)
    }
    found: list[tuple[int, int] | None] = []
    at = 0
    for form in surfaces:
        places = [place_of[index] for index in range(at, at + len(form)) if index in place_of]
        found.append((places[0], places[-1] + 1) if places else None)
        at += len(form)
    return [
        span if span is not None else _between(text, found, index)
        for index, span in enumerate(found)
    ]


def _between(text: str, found: Sequence[tuple[int, int] | None], index: int) -> tuple[int, int]:
    before = [span for span in found[:index] if span is not None]
    after = [span for span in found[index:] if span is not None]
    left = before[-1][1] if before else 0
    right = after[0][0] if after else len(text)
    left += len(text[left:right]) - len(text[left:right].lstrip())
    right -= len(text[left:right]) - len(text[left:right].rstrip())
    if left < right:
        return left, right
    return (before or after)[-1 if before else 0]


def _chinese(point: int) -> bool:
    return (
        0x3400 <= point <= 0x4DBF
        or 0x4E00 <= point <= 0x9FFF
        or 0xF900 <= point <= 0xFAFF
        or 0x20000 <= point <= 0x2CEAF
        or 0x2F800 <= point <= 0x2FA1F
    )


@lru_cache(maxsize=4)
def _open(library: str) -> Any:
    try:
        found = ctypes.CDLL(str(Path(library).resolve()))
        found.Moran4dnlp.restype = ctypes.c_char_p
        found.Moran4dnlp.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int]
        found.MorAn16_open_dbs()
    except (OSError, AttributeError) as error:
        raise DependencyError(
            "the morpheme library cannot be used",
            expected="libmoran4dnlp.so, which runs on Linux (Ubuntu) only",
            got=str(error),
            mend="use it on such a machine, or another encoder: klue needs no library",
        ) from error
    return found

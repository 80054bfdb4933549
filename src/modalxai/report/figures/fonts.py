"""Which installed fonts can write a text. They are looked for when a picture is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from modalxai.report.figures.palette import INK, SOFT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_KOREAN = (
    "Noto Sans CJK KR",
    "Noto Sans KR",
    "NanumGothic",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
    "Noto Sans CJK JP",
)
MISSING = (
    "No installed font has the letters of every name here: those are numbered. "
    "Install one that has them (for Korean Noto Sans CJK KR) and draw again."
)


class Written(NamedTuple):
    """Texts as a picture can show them.

    ``families`` are names of fonts, ``texts`` the texts, a stand-in where no font has the letters,
    and ``missing`` whether there is such a one.
    """

    families: list[str]
    texts: list[str]
    missing: bool

    @property
    def style(self) -> dict[str, Any]:
        """Keywords of matplotlib's texts; no ``$`` of the user's is mathematics."""
        return {"family": self.families, "color": INK, "parse_math": False}


def write(texts: Sequence[str], stand_in: str = "line") -> Written:
    """Font families for these texts, and the texts with ``line 3`` for what none can write.

    The shipped DejaVu Sans comes first; where it lacks letters (Korean), the installed fonts are
    searched, those known for Korean first.
    """
    families, missing = _families(frozenset(_letters(texts)))
    gone = [bool(_letters([text]) & missing) for text in texts]
    written = [
        f"{stand_in} {place}" if lost else clean(text)
        for place, (text, lost) in enumerate(zip(texts, gone, strict=True), 1)
    ]
    return Written(list(families), written, any(gone))


def writable(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """The families and the texts of `write`."""
    written = write(texts)
    return written.families, written.texts


def confess(figure: Figure, missing: bool) -> None:
    """Say in the picture that some names could not be written, where it is so."""
    if missing:
        figure.supxlabel(MISSING, fontsize=7, color=SOFT, wrap=True)


@lru_cache(maxsize=256)
def _families(letters: frozenset[int]) -> tuple[tuple[str, ...], frozenset[int]]:
    """Families that write these characters, and those that none can."""
    from matplotlib.font_manager import fontManager

    families = ["DejaVu Sans"]
    missing = letters - covered(fontManager.findfont(families[0]), letters)
    if missing:
        entries = sorted(
            fontManager.ttflist,
            key=lambda font: (
                _KOREAN.index(font.name) if font.name in _KOREAN else len(_KOREAN),
                font.style != "normal" or font.weight not in (400, "normal", "regular"),
                font.name,
            ),
        )
        for font in entries:
            if font.name in families:
                continue
            found = covered(font.fname, missing)
            if found:
                families.append(font.name)
                missing -= found
            if not missing:
                break
    return tuple(families), frozenset(missing)


def covered(path: str, letters: frozenset[int]) -> frozenset[int]:
    """Which of the characters a font file has."""
    from matplotlib.font_manager import get_font

    font = get_font(path)
    return frozenset(letter for letter in letters if font.get_char_index(letter))


def entry(name: str) -> str:
    """A name for a legend, which would leave out one that begins with an underscore."""
    return f" {name}" if name.startswith("_") else name


def clean(text: str) -> str:
    """Text without line breaks, control characters and halves of surrogate pairs."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def short(text: str, most: int = 24) -> str:
    """The text, or its beginning and an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _letters(texts: Iterable[str]) -> set[int]:
    return {ord(letter) for text in texts for letter in clean(text)}

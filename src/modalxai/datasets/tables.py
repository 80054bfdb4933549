"""Text files as found: their bytes, their encoding, their rows with line numbers."""

from __future__ import annotations

import csv
import io
import os
import unicodedata
from pathlib import Path

from modalxai.errors import InputError

Line = tuple[int, list[str]]
"""The line on which a row starts, from 1, and its cells."""


def read_bytes(path: Path, kind: str = "a csv file") -> bytes:
    """The bytes of a file, or an InputError."""
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read", expected=kind, got=str(error), mend="check the path"
        ) from error


def decode(raw: bytes, name: str, encoding: str = "utf-8") -> str:
    """Text in one encoding, a UTF-8 byte order mark tolerated; InputError names the line."""
    try:
        return raw.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise InputError(
            f"{name}, line {line}: not {encoding.upper()}",
            expected=f"text in {encoding.upper()}",
            got=f"byte {raw[error.start]:#04x}",
            mend="save the file as UTF-8 (spreadsheets call it CSV UTF-8)",
        ) from error
    except LookupError as error:
        raise InputError(
            f"{name}: there is no encoding {encoding!r}",
            expected="a name that Python knows, such as utf-8 or cp949",
            got=repr(encoding),
            mend="correct encoding=...",
        ) from error


def decode_korean(raw: bytes, name: str, declared: str) -> tuple[str, str]:
    r"""Korean text that is UTF-8 or cp949, and which of the two it was.

    Neither encoding refuses all bytes of the other: ``b"\xc2\xa5"`` is "짜" in cp949 and a yen
    sign in UTF-8. So the declared one is taken if it yields Hangul, ASCII and common marks only,
    else the other one if that does, else whichever decodes.

    Parameters
    ----------
    raw
        The bytes.
    name
        What to call the file in an error.
    declared
        ``"utf-8"`` or ``"cp949"``: what the corpus says it uses.

    Raises
    ------
    InputError
        Neither decodes.
    """
    if raw.startswith(b"\xef\xbb\xbf"):
        return decode(raw, name), "utf-8"
    texts = {}
    for encoding in (declared, "cp949" if declared == "utf-8" else "utf-8"):
        try:
            texts[encoding] = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        if all(map(_common, texts[encoding])):
            return texts[encoding], encoding
    for encoding, text in texts.items():
        return text, encoding
    decode(raw, name, declared)
    raise AssertionError("unreachable: decode has raised")


def _common(character: str) -> bool:
    code = ord(character)
    return (
        code < 0x80
        or 0xAC00 <= code <= 0xD7A3  # syllables
        or 0x1100 <= code <= 0x11FF  # conjoining letters
        or 0x3000 <= code <= 0x303F  # marks
        or 0x3130 <= code <= 0x318F  # letters
        or 0x2010 <= code <= 0x203F  # quotes, dashes, ellipsis
        or 0xFF00 <= code <= 0xFFEF  # full width
    )


def rows(text: str, name: str) -> list[Line]:
    """The rows of a csv text, blank ones left out; InputError names the line."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    found: list[Line] = []
    before = 0
    try:
        for cells in reader:
            if cells:
                found.append((before + 1, cells))
            before = reader.line_num
    except csv.Error as error:
        raise InputError(
            f"{name}, line {before + 1}: not a row of csv",
            expected='cells between commas; quotes inside a cell doubled: "say ""yes"""',
            got=str(error),
            mend="correct the quotes of the row",
        ) from error
    return found


def width_error(name: str, line: int, cells: list[str], width: int) -> InputError:
    """What to raise for a row that has not as many cells as the header."""
    return InputError(
        f"{name}, line {line}: a row with {len(cells)} cells",
        expected=f"{width} cells, as in the header",
        got=repr(cells)[:200],
        mend='put a cell that holds commas into quotes: "well, yes"',
    )


def inside(folder: Path, name: str, place: str) -> Path:
    """The path that a file name inside a list means, refused if it leaves the folder.

    Links that lie in the folder are the user's own and are followed.

    Raises
    ------
    InputError
        The name leads out of the folder (``..``, an absolute path or a drive elsewhere), or can
        be none (a NUL byte).
    """
    base = os.path.abspath(folder)
    path = os.path.normpath(os.path.join(base, name))
    try:
        out = os.path.commonpath([base, path]) != base
    except ValueError:  # two drives of Windows
        out = True
    if out or "\0" in name:
        raise InputError(
            f"{place}: a path that leads out of the folder",
            expected=f"a file in {folder}",
            got=repr(name),
            mend="correct the path, or give the folder that holds every file: root=...",
        )
    return folder / os.path.relpath(path, base)


def same_name(one: str, other: str) -> bool:
    """Whether two file names are equal; some systems store Korean names decomposed."""
    return unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)

"""Paths that come from users and files: asked about without surprises."""

from __future__ import annotations

import os
from pathlib import Path

from modalxai.errors import InputError


def possible(path: str | Path) -> Path:
    """A path that something could lie at, there or not.

    Raises
    ------
    InputError
        The system refuses to look: a NUL byte, a name that is too long, a ring of links.
    """
    try:
        found = Path(path)  # first: to stat, a number is an open file
        os.stat(found)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{path!r:.80} is no path",
            expected="the path of a file or folder",
            got=str(getattr(error, "strerror", None) or error),
            mend="check the path",
        ) from error
    return found


def is_file(path: Path) -> bool:
    """Whether there is such a file; what is no path at all is none."""
    try:
        return possible(path).is_file()
    except (InputError, OSError):
        return False

"""Packages that are imported where they are used."""

from __future__ import annotations

import importlib
from typing import Any

from modalxai.errors import DependencyError


def require(package: str) -> Any:
    """The package.

    Raises
    ------
    DependencyError
        It is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise DependencyError(
            f"this needs {package}",
            expected=package,
            got=f"it cannot be imported: {error}",
            mend=f"pip install {package}",
        ) from error

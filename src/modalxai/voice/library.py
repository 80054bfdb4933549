"""The only module that loads pyworld, which is an extra."""

from __future__ import annotations

import importlib
import warnings
from types import ModuleType

from modalxai.errors import DependencyError


def pyworld() -> ModuleType:
    """The pyworld package.

    Raises
    ------
    DependencyError
        It is missing, or setuptools, which it reads its version with, is missing or too new.
    """
    try:
        with warnings.catch_warnings():
            # It imports pkg_resources, which says at every import that it will go away.
            warnings.simplefilter("ignore")
            return importlib.import_module("pyworld")
    except ImportError as error:
        raise DependencyError(
            "the voice cannot be taken apart without pyworld",
            expected="pyworld, and a setuptools older than 82",
            got=str(error),
            mend="pip install 'modalxai[prosody]'",
        ) from error

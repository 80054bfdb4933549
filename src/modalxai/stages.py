"""A folder in which what is finished stays finished, so that a killed run goes on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from modalxai import storage
from modalxai.errors import CheckpointError

RECORD = "run.json"
DONE = "done.json"

Make = Callable[[Path], Mapping[str, Any]]


class Stages:
    """Stages of a run, with a folder each.

    Parameters
    ----------
    folder
        Of the run; made if it is not there.
    settings
        What decides the figures of every stage.

    Raises
    ------
    CheckpointError
        The folder holds a run with other settings.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        claim(folder / RECORD, settings)

    def record(self) -> dict[str, Any]:
        """Settings and versions with which the run began."""
        return storage.read_json(self.folder / RECORD)

    def place(self, name: str) -> Path:
        """The folder of a stage, which outlives a kill; a name is a path: ``"seed-0/audio"``."""
        return self.folder / "stages" / name

    def finished(self, name: str) -> bool:
        """Whether a stage is done."""
        return (self.place(name) / DONE).is_file()

    def stage(self, name: str, make: Make) -> dict[str, Any]:
        """What ``make`` returned, now or in an earlier run.

        Parameters
        ----------
        name
            See `place`.
        make
            Takes the stage's own folder and returns what json can hold.
        """
        place = self.place(name)
        if not self.finished(name):
            storage.require_folder(place)
            storage.write_json(place / DONE, plain(make(place)))
        return storage.read_json(place / DONE)


def claim(record: Path, settings: Mapping[str, Any]) -> None:
    """Write down what a folder's run is, or find the same written there.

    Raises
    ------
    CheckpointError
        The record is another run's.
    """
    asked = plain(settings)
    if not record.is_file():
        storage.write_json(record, {**asked, "versions": storage.versions()})
        return
    held = storage.read_json(record)
    held.pop("versions", None)
    if held != asked:
        names = [name for name in held | asked if held.get(name) != asked.get(name)]
        raise CheckpointError(
            f"{record.parent} holds another run",
            expected="; ".join(f"{name} = {asked.get(name)!r}" for name in names)[:500],
            got="; ".join(f"{name} = {held.get(name)!r}" for name in names)[:500],
            mend="give another folder, or delete this one",
        )


def plain(value: Any, nan: float | None = math.nan) -> Any:
    """The same as json can hold it; what is no finite number becomes ``nan``."""
    if isinstance(value, Mapping):
        return {str(name): plain(one, nan) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one, nan) for one in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist(), nan)
    if isinstance(value, float) and not math.isfinite(value):
        return nan
    return value

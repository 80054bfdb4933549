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


class Folder:
    """Stages with a folder each.

    Families and seeds are no part of what decides a stage: a run of some of them goes on as a run
    of more.

    Parameters
    ----------
    path
        Of the run; made if it is not there.
    settings
        What decides the figures.

    Raises
    ------
    CheckpointError
        The folder holds a run with other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        asked = plain(settings)
        storage.require_folder(path)
        record = path / RECORD
        if not record.is_file():
            storage.write_json(record, {**asked, "versions": storage.versions()})
            return
        held = storage.read_json(record)
        held.pop("versions", None)
        if held != asked:
            names = [name for name in held | asked if held.get(name) != asked.get(name)]
            raise CheckpointError(
                f"{path} holds another run",
                expected="; ".join(f"{name} = {asked.get(name)!r}" for name in names)[:500],
                got="; ".join(f"{name} = {held.get(name)!r}" for name in names)[:500],
                mend="give another folder, or delete this one",
            )

    def place(self, name: str) -> Path:
        """The folder of a stage, which outlives a kill."""
        return self.path / "stages" / name

    def stage(self, name: str, make: Make) -> dict[str, Any]:
        """What ``make`` returned, now or in an earlier run; it is given the stage's folder."""
        place = self.place(name)
        if not (place / DONE).is_file():
            storage.require_folder(place)
            storage.write_json(place / DONE, plain(make(place)))
        return storage.read_json(place / DONE)


def plain(value: Any) -> Any:
    """The same as json can hold it; numbers that are not finite become ``None``."""
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

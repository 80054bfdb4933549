"""The measurements of a run, each kept when it is done, so that a killed run goes on."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from modalxai import storage
from modalxai.benchmark.speed.settings import Settings
from modalxai.errors import CheckpointError

EDITION = 1
"""Of what is measured: results of two editions are not compared."""
PACKAGES = ("modalxai", "torch", "transformers", "captum", "shap", "shapiq", "numpy")


class Stages:
    """A folder with one file for each measurement.

    Parameters
    ----------
    settings, out
        What is measured, and where it is kept.
    quiet
        Say nothing.
    seconds
        On the wall, after which no measurement is begun any more.

    Raises
    ------
    CheckpointError
        The folder holds a run with other settings.
    """

    def __init__(
        self, settings: Settings, out: Path, quiet: bool, seconds: float = math.inf
    ) -> None:
        self.folder, self._quiet = out / "stages", quiet
        self._end = time.monotonic() + seconds
        storage.require_folder(self.folder)
        asked = {"edition": EDITION, **asdict(settings)}
        record = self.folder / "settings.json"
        if record.is_file():
            if (found := storage.read_json(record)) != asked:
                raise CheckpointError(
                    f"{out} holds another run",
                    expected=str(asked),
                    got=str(found),
                    mend="give another folder, or delete this one",
                )
        else:
            storage.write_json(record, asked)

    def __call__(self, name: str, measure: Callable[[], Any]) -> Any:
        """What ``measure`` gives, now or in an earlier run; nothing, [], where time is up."""
        place = self.folder / f"{name}.json"
        if not place.is_file():
            if time.monotonic() > self._end:
                return []
            if not self._quiet:
                print(f"{name} ...", flush=True)
            start = time.process_time()
            found = measure()
            seconds = time.process_time() - start
            storage.write_json(place, {"found": plain(found), "cpu_seconds": round(seconds, 1)})
        return storage.read_json(place)["found"]

    def seconds(self) -> float:
        """CPU seconds of all measurements."""
        places = sorted(self.folder.glob("*.json"))
        return float(sum(storage.read_json(place).get("cpu_seconds", 0) for place in places))


def plain(value: Any) -> Any:
    """What json can hold: no number that is none."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float) and value != value:
        return None
    return value


def where_and_when() -> dict[str, Any]:
    """The machine, the versions and the date."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "processor": _processor(),
            "cores": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "python": platform.python_version(),
        },
        "versions": {name: _version(name) for name in PACKAGES},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """Its name, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} visible" if names else platform.processor()

"""The measurements of a run, each kept when it is done, so that a killed run goes on."""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from modalxai import storage
from modalxai.benchmark.speed.settings import Settings
from modalxai.stages import claim, plain

EDITION = 2
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
        claim(self.folder / "settings.json", asked)

    def __call__(self, name: str, measure: Callable[[], Any]) -> Any:
        """What ``measure`` gives, now or in an earlier run; nothing, [], where time is up."""
        place = self.folder / f"{name}.json"
        if not place.is_file():
            if time.monotonic() > self._end:
                return []
            if not self._quiet:
                print(f"{name} ...", flush=True)
            beside = {"date": _today(), "load": _load()}
            start = time.process_time()
            found = measure()
            seconds = round(time.process_time() - start, 1)
            storage.write_json(
                place, {"found": plain(found, nan=None), "cpu_seconds": seconds, **beside}
            )
        return storage.read_json(place)["found"]

    def seconds(self) -> float:
        """CPU seconds of all measurements."""
        return float(sum(piece["cpu_seconds"] for piece in self.pieces().values()))

    def pieces(self) -> dict[str, dict[str, Any]]:
        """By measurement its CPU seconds, its date, and what ran beside it; ``None`` if unknown.

        ``load`` is how many processes wanted a processor in the minute before.
        """
        files = {place.stem: place for place in sorted(self.folder.glob("*.json"))}
        files.pop("settings")
        keys = ("cpu_seconds", "date", "load")
        return {
            name: {key: one.get(key) for key in keys}
            for name, one in ((name, storage.read_json(place)) for name, place in files.items())
        }


def where_and_when() -> dict[str, Any]:
    """The machine, the versions and the date."""
    return {
        "date": _today(),
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "processor": _processor(),
            "cores": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "python": platform.python_version(),
        },
        "versions": {name: _version(name) for name in PACKAGES},
    }


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _load() -> float | None:
    """Not every system tells."""
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None


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

"""Record what a newer shapiq does with the games of the speed table, on a Python of its own.

shapiq 1.6 and later need Python 3.12, and their best methods a gradient boosting library. The speed
table leaves its games behind: every score of every coalition of words and moments. This script asks
shapiq about them, one label at a time, and writes errors against the exact values and how many
coalitions it asked about; the table reads the record from src/modalxai/benchmark/speed/recorded/.

Sizes whose games are not in the folder stay as they were recorded.

Run: python3.12 -m venv other && other/bin/pip install shapiq lightgbm xgboost safetensors
     other/bin/python benchmarks/shapiq_recorded.py build/speed/games \
         src/modalxai/benchmark/speed/recorded/shapiq.json
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
import warnings
from datetime import UTC, datetime
from importlib.metadata import version
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import shapiq.approximator as approximators
from numpy.typing import NDArray
from safetensors.numpy import load_file

BUDGETS = {
    8: (128, 192, 256, 320, 384, 512, 1024, 4096),
    10: (256, 384, 512, 640, 768, 1024, 2048, 8192),
}
EVERY = 99
PAIRED = {"pairing_trick": True}
METHODS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "shapiq OddSHAP": ("OddSHAP", EVERY, {}),
    "shapiq PolySHAP, order 3": ("PolySHAP", 1, {"max_order": 3, **PAIRED}),
    "shapiq ProxySHAP, lightgbm, adjusted": (
        "ProxySHAP",
        2,
        {"max_order": 1, "index": "SV", "proxy_model": "lightgbm", "adjustment": True},
    ),
    "shapiq KernelSHAP, paired": ("KernelSHAP", 1, PAIRED),
}
"""Class, labels of each game that are asked about (another one first in each), and settings."""


class Table:
    """One label of one game; coalitions that were asked about before cost nothing."""

    def __init__(self, values: NDArray[np.float64], players: int) -> None:
        self.values, self.bits = values - values[0], 1 << np.arange(players)
        self.asked: set[int] = set()

    def __call__(self, masks: NDArray[Any]) -> NDArray[np.float64]:
        places = (np.atleast_2d(masks).astype(np.int64) * self.bits).sum(1)
        self.asked.update(places.tolist())
        return self.values[places]


def exact(values: NDArray[np.float64], players: int) -> NDArray[np.float64]:
    """Shapley values from the definition, size by size."""
    rows = np.arange(2**players)
    sizes = np.zeros(len(rows), dtype=np.int64)
    for player in range(players):
        sizes += rows >> player & 1
    weights = np.array([1 / (players * comb(players - 1, size)) for size in range(players)])
    found = np.empty(players)
    for player in range(players):
        without = rows[(rows >> player & 1) == 0]
        gains = values[without | 1 << player] - values[without]
        found[player] = (weights[sizes[without]] * gains).sum()
    return found


def ask(name: str, settings: dict[str, Any], table: Table, budget: int, seed: int) -> Any:
    players = len(table.bits)
    made = getattr(approximators, name)(n=players, random_state=seed, **settings)
    values = made.approximate(budget, table)
    return np.array([float(values[(player,)]) for player in range(players)])


def curve(
    head: dict[str, Any],
    games: list[tuple[NDArray[np.float64], NDArray[np.float64]]],
    units: int,
    method: str,
    labels: int,
    settings: dict[str, Any],
    budget: int,
) -> dict[str, Any]:
    errors: list[list[float]] = []
    asked = []
    try:
        for number, (values, truths) in enumerate(games):
            errors.append([])
            every = values.shape[1]
            for label in ((number + k) % every for k in range(min(labels, every))):
                table, truth = Table(values[:, label], 2 * units), truths[label]
                found = ask(method, settings, table, budget, 0)
                errors[-1].append(float(np.linalg.norm(found - truth) / np.linalg.norm(truth)))
                asked.append(len(table.asked))
    except Exception as error:  # a method that gives up is a line of the table
        return {**head, "budget": budget, "note": f"{type(error).__name__}: {error}"[:200]}
    return {
        **head,
        "budget": budget,
        "error": statistics.median(one for game in errors for one in game),
        "by_game": [round(statistics.median(game), 5) for game in errors],
        "rows": statistics.mean(asked),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description="Record a newer shapiq.")
    arguments.add_argument("games", type=Path)
    arguments.add_argument("out", type=Path)
    given = arguments.parse_args()
    warnings.filterwarnings("ignore")
    start, rows = time.process_time(), []
    for units, budgets in BUDGETS.items():
        place = given.games / f"{units}.safetensors"
        if not place.is_file():
            continue
        games = []
        for _, values in sorted(load_file(place).items()):
            wide = values.astype(np.float64)
            truths = np.stack([exact(column, 2 * units) for column in wide.T])
            games.append((wide, truths))
        for name, (method, labels, settings) in METHODS.items():
            head = {"units": f"{units} + {units}", "contestant": name}
            for budget in budgets:
                rows.append(curve(head, games, units, method, labels, settings, budget))
                print(rows[-1], flush=True)
    kept = json.loads(given.out.read_text(encoding="utf-8"))["rows"] if given.out.is_file() else []
    fresh = {row["units"] for row in rows}
    rows = [row for row in kept if row["units"] not in fresh] + rows
    record = {
        "shapiq": version("shapiq"),
        "python": platform.python_version(),
        "date": datetime.now(UTC).date().isoformat(),
        "cpu_seconds": round(time.process_time() - start),
        "rows": rows,
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

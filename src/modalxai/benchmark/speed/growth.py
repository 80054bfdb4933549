"""How cost grows: with the clip, the players, the labels and the corpus; exponents fitted."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from modalxai.attribution import UnitShapley
from modalxai.benchmark.speed import corpus, counting
from modalxai.benchmark.speed.modality import Asked, Cell
from modalxai.benchmark.speed.models import REPLACED, Shape, Size, make, spoken
from modalxai.games import ModelGame
from modalxai.types import Attribution

UNITS = {"text": "word", "audio": "segment"}
SEGMENT = 0.5


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """The slope of log y over log x: 1 is proportional, 2 quadratic."""
    slope: float = np.polyfit(np.log(x), np.log(y), 1)[0]
    return float(slope)


def doubling(x: Sequence[float], y: Sequence[float]) -> float:
    """The slope of log2 y over x: 1 is a factor of two for each step."""
    slope: float = np.polyfit(x, np.log2(y), 1)[0]
    return float(slope)


def with_clip(shape: Shape, seconds: Sequence[float], seed: int = 0) -> list[dict[str, Any]]:
    """FLOPs of predicting and explaining, by the length of the clip."""
    rows = []
    for length in seconds:
        asked = Asked(Cell(shape, seconds=length), seed)
        rows.append({"x": length, **_ours(asked)})
    return rows


def with_labels(shape: Shape, columns: Sequence[int], seed: int = 0) -> list[dict[str, Any]]:
    """FLOPs of predicting and explaining all labels, by their number."""
    rows = []
    for count in columns:
        asked = Asked(Cell(replace(shape, columns=count), seconds=1.0), seed)
        rows.append({"x": count, **_ours(asked)})
    return rows


def with_modalities(shape: Shape, counts: Sequence[int], seed: int = 0) -> list[dict[str, Any]]:
    """Encoder rows and FLOPs by the number of modalities, and what a function of masks needs."""
    rows = []
    for count in counts:
        asked = Asked(Cell(replace(shape, modalities=count), seconds=1.0), seed)
        with counting.Rows(asked.model.encoders) as encoded:
            asked.table()
        rows.append(
            {
                "x": count,
                **_ours(asked),
                "encoder_rows": sum(encoded.rows.values()),
                "every_coalition": count * 2**count,
                "every_order": count * (math.factorial(count) * count + 1),
            }
        )
    return rows


def with_players(counts: Sequence[int], seed: int = 0) -> list[dict[str, Any]]:
    """Encoder rows of exact Shapley values of n words and n segments, and their FLOPs."""
    model = make(Shape("tiny", segment=SEGMENT), seed)
    rows = []
    for count in counts:
        sample = spoken(count, count * SEGMENT, seed)
        game = model.game([sample], removal={m: REPLACED[m] for m in model.modalities})
        attributor = UnitShapley(UNITS, budget=2 ** (count + 1))
        with counting.Rows(model.encoders) as encoded:
            flops, found = _explained(attributor, game)
        players = {name: int(mask.sum()) for name, mask in found.mask.items()}
        rows.append(
            {
                "x": count,
                "players": players,
                "flops": flops,
                "encoder_rows": sum(encoded.rows.values()),
                "every_coalition": 2 * 4**count,
                "exact": bool((found.unit_se["text"] == 0).all()),
            }
        )
    return rows


def exact_seconds(size: Size, device: str, often: int, seed: int = 0) -> float:
    """Median seconds on the wall of exact values of 10 words and 10 segments of a clip of 5 s."""
    model = make(Shape(size, segment=SEGMENT), seed, device)
    removal = {name: REPLACED[name] for name in model.modalities}
    batch = model.collate([spoken(10, 10 * SEGMENT, seed)]).to(device)

    def explain() -> Attribution:
        return UnitShapley(UNITS).attribute(model.game(batch, removal=removal))

    explain()
    return statistics.median(counting.wall_seconds(explain) for _ in range(often))


def _explained(attributor: UnitShapley, game: ModelGame) -> tuple[int, Attribution]:
    found: list[Attribution] = []
    flops = counting.flops(lambda: found.append(attributor.attribute(game)))
    return flops, found[0]


def with_corpus(clips: Sequence[int], seed: int = 0) -> list[dict[str, Any]]:
    """FLOPs of explaining a corpus over predicting it, references shared, by its size."""
    return [{"x": count, **corpus.measure(count, seed)} for count in clips]


def _ours(asked: Asked) -> dict[str, int]:
    def spent(call: Callable[[], Tensor]) -> int:
        return counting.flops(call)

    return {
        "predict": spent(asked.predict),
        "table": spent(asked.table),
        "table_and_cam": spent(asked.table_and_cam),
    }

"""The whole speed table: measure, write results, page and pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from modalxai import storage
from modalxai.benchmark.speed import growth, modality, padding, pictures, toy, training, units
from modalxai.benchmark.speed.floors import floors
from modalxai.benchmark.speed.modality import TABLE, TABLE_AND_CAM, Cell
from modalxai.benchmark.speed.models import FusionName, Shape, Size
from modalxai.benchmark.speed.page import page
from modalxai.benchmark.speed.peers import FOR_MODALITIES, FOR_UNITS, Peer
from modalxai.benchmark.speed.played import Known
from modalxai.benchmark.speed.recorded import as_rows, recorded
from modalxai.benchmark.speed.rows import row_costs
from modalxai.benchmark.speed.settings import Settings
from modalxai.benchmark.speed.stages import EDITION, Stages, where_and_when
from modalxai.benchmark.speed.table import csv_of
from modalxai.model import EmotionModel
from modalxai.stages import plain

PARTS = ("modality", "units", "growth", "padding", "training")
FUSIONS: tuple[FusionName, ...] = ("pooled", "transformer")
BASE: tuple[tuple[FusionName, str], ...] = (
    ("pooled", "absent"),
    ("transformer", "absent"),
    ("pooled", "replaced"),
    ("wide transformer", "absent"),
)
"""Cells at the published sizes."""
AT_BASE = tuple(
    peer
    for peer in FOR_MODALITIES
    if peer.name in ("SHAP Exact", "Captum ShapleyValues", "Captum FeatureAblation")
)
PLAYED = {8: (4.0, 24), 10: (5.0, 30)}
"""Players of each modality: seconds and tokens of the clip whose encodings they cost."""


def run(settings: Settings, out: Path, *, quiet: bool = False, seconds: float = math.inf) -> Path:
    """Measure what is not measured yet, and write everything.

    Parameters
    ----------
    settings
        How much.
    out
        A folder; what a killed run measured is there, and is not measured again.
    quiet
        Say nothing.
    seconds
        On the wall, after which no measurement is begun any more; the page says what there is, and
        a later run goes on.

    Returns
    -------
    Path
        The page, ``speed.md``. Beside it ``results.json``, ``results.csv`` and ``pictures``.

    Raises
    ------
    CheckpointError
        The folder holds a run with other settings.
    """
    out = Path(out)
    stage = Stages(settings, out, quiet, seconds)
    played = Played(settings, out)
    results: dict[str, Any] = {
        "benchmark": "speed",
        "edition": EDITION,
        "quick": settings.quick,
        **(stage("machine", where_and_when) or where_and_when()),
        "recorded": (recorded() or {}).get("shapiq"),
        **{part: [] for part in PARTS},
    }
    # The page is written after each part: one of a killed run says what there is.
    measures: list[tuple[str, Callable[[], Any]]] = [
        ("modality", lambda: _modalities(settings, stage)),
        ("units", lambda: _units(settings, stage, played)),
        ("growth", lambda: _growth(settings, stage)),
        ("training", lambda: _training(settings, stage)),
        ("padding", lambda: stage("padding", lambda: _padding(settings))),
        ("modality", lambda: [*results["modality"], *_others(settings, stage)]),
    ]
    if settings.device != "cpu":
        results["gpu"] = stage("gpu", lambda: _on_gpu(settings))
    for part, measure in measures:
        results[part] = measure()
        if part == "units":
            results["toy"] = stage("toy", played.accuracy) or {"accuracy": math.nan}
        results["cpu_seconds"] = round(stage.seconds())
        results["pieces"] = stage.pieces()
        write(results, out)
    return out / "speed.md"


def write(results: Mapping[str, Any], out: Path) -> None:
    """Results, page and pictures, of the parts that were measured."""
    known: dict[str, Any] = plain(results, nan=None)
    lines = floors(known)
    known["floors"] = [line.row() for line in lines]
    storage.write_json(out / "results.json", plain(known, nan=None))
    storage.write_text(out / "results.csv", csv_of(known))
    pictures.write(known, out / "pictures")
    storage.write_text(out / "speed.md", page(known, lines))


def _modalities(settings: Settings, stage: Stages) -> list[Any]:
    """Everything about whole modalities: a stage for each cell."""
    rows: list[Any] = []
    repeats, seed, device = settings.repeats, settings.seed, settings.device
    cells: list[tuple[Cell, modality.Gradients | None]] = []
    counts = (2,) if settings.quick else (2, 3, 5)
    for count in counts:
        for fusion in FUSIONS:
            shape = Shape("small", fusion, count)
            for removal in ("absent", "replaced"):
                followed = count == 2 and removal == "absent"
                cells.append((Cell(shape, removal), "all" if followed else None))
    for cell, gradients in cells:
        measure = partial(modality.measure, cell, seed=seed, device=device)
        rows += stage(_named(cell), partial(measure, gradients=gradients, pairs=1))
    if settings.quick:
        return rows
    for fusion, removal in BASE:
        cell = Cell(Shape("base", fusion), removal)
        rows += stage(
            _named(cell),
            partial(
                modality.measure,
                cell,
                own=(TABLE, TABLE_AND_CAM) if removal == "absent" else (TABLE,),
                # Whoever needs a whole prediction for every row is timed at the small size.
                peers=(),
                memory=False,
                pairs=repeats,
                seed=seed,
                device=device,
            ),
        )
    return rows


def _others(settings: Settings, stage: Stages) -> list[Any]:
    """Other lengths and batches, and the peers at the published sizes."""
    if settings.quick:
        return []
    rows: list[Any] = []
    seed, device = settings.seed, settings.device
    others = [Cell(Shape(), seconds=seconds) for seconds in (1.0, 8.0, 15.0)]
    others += [Cell(Shape(), batch=batch) for batch in (4, 16, 32)]
    for cell in others:
        measure = partial(modality.measure, cell, seed=seed, device=device)
        rows += stage(_named(cell), partial(measure, peers=AT_BASE[:2], pairs=1))
    cell = Cell(Shape("base"))
    measure = partial(modality.measure, cell, own=(), peers=AT_BASE, seed=seed, device=device)
    found = stage(f"{_named(cell)}-others", partial(measure, gradients="fusion", memory=False))
    return rows + [row for row in found if row["contestant"] != modality.PREDICTION]


def _named(cell: Cell) -> str:
    shape = cell.shape
    return (
        f"{shape.size}-{shape.fusion}-M{shape.modalities}-{cell.removal}-"
        f"{cell.seconds:g}s-B{cell.batch}"
    )


OUR_BUDGETS = {
    8: (36, 40, 44, 48, 64, 96, 128, 266),
    10: (44, 48, 52, 56, 64, 80, 128, 256, 1060),
}
REPEATS = 1
THEIR_BUDGETS = {8: (64, 256, 1024, 4096), 10: (128, 512, 2048, 8192)}
SAMPLES = 8


class Played:
    """The games of words and moments, made when they are first asked for.

    Parameters
    ----------
    settings, out
        How many; where the trained weights are kept, and the games for other versions.
    """

    def __init__(self, settings: Settings, out: Path) -> None:
        self._settings, self._out = settings, out
        self._known: dict[int, list[Known]] = {}

    def accuracy(self) -> dict[str, float]:
        """Of the model, held out."""
        return {"accuracy": toy.accuracy(self._model())}

    def _model(self) -> EmotionModel:
        steps = toy.QUICK_STEPS if self._settings.quick else toy.STEPS
        return toy.kept(self._out / "games" / "model.safetensors", steps, self._settings.seed)

    def known(self, count: int) -> list[Known]:
        """Games of ``count`` words and as many moments."""
        if count not in self._known:
            samples = 1 if self._settings.quick else SAMPLES
            self._known[count] = units.games(self._model(), count, samples)
            tables = {
                f"values{row}": one.values.float() for row, one in enumerate(self._known[count])
            }
            storage.write_tensors(self._out / "games" / f"{count}.safetensors", tables)
        return self._known[count]


def _units(settings: Settings, stage: Stages, played: Played) -> list[Any]:
    """Words and moments, at both sizes."""
    rows: list[Any] = []
    sizes = (8,) if settings.quick else (8, 10)
    repeats = 1 if settings.quick else REPEATS
    costs = {f"{count} + {count}": row_costs(*PLAYED[count]) for count in sizes}
    for count in sizes:
        price = costs[f"{count} + {count}"]
        budgets = THEIR_BUDGETS[count][:3] if settings.quick else THEIR_BUDGETS[count]
        rows += stage(
            f"units-{count}-ours",
            partial(_ours, played, count, price, repeats),
        )
        for place, peer in enumerate(FOR_UNITS):
            rows += stage(
                f"units-{count}-peer-{place}",
                partial(_theirs, played, count, peer, budgets, price, repeats),
            )
    if (record := recorded()) is not None:
        rows += as_rows(record, costs)
    return rows


def _ours(played: Played, count: int, costs: Mapping[str, float], repeats: int) -> list[Any]:
    return units.our_curve(played.known(count), OUR_BUDGETS[count], costs, repeats)


def _theirs(
    played: Played,
    count: int,
    peer: Peer,
    budgets: Sequence[int],
    costs: Mapping[str, float],
    repeats: int,
) -> list[Any]:
    return units.peer_curve(peer, played.known(count), budgets, costs, repeats)


def _growth(settings: Settings, stage: Stages) -> dict[str, list[Any]]:
    """Every curve."""
    seed, small = settings.seed, Shape("small", "transformer")
    clip, players = [1.0, 2.0], [2, 3]
    columns, sizes, long = [2, 7], [4, 8], small
    if not settings.quick:
        clip, players = [1.0, 3.0, 9.0], [2, 4, 6, 8, 10]
        columns, sizes = [2, 7, 28, 112], [10, 100, settings.clips]
        long = Shape("base", "wide transformer")
    made = {
        "corpus": lambda: growth.with_corpus(sizes, seed),
        "players": lambda: growth.with_players(players, seed),
        "modalities": lambda: growth.with_modalities(small, (2, 3, 4, 5), seed),
        "labels": lambda: growth.with_labels(small, columns, seed),
        "seconds": lambda: growth.with_clip(long, clip, seed),
    }
    return {name: stage(f"growth-{name}", measure) for name, measure in made.items()}


def _on_gpu(settings: Settings) -> float:
    return growth.exact_seconds("base", settings.device, 3, settings.seed)


def _padding(settings: Settings) -> dict[str, Any]:
    size: Size = "small" if settings.quick else "base"
    return padding.measure(min(2, settings.repeats), settings.seed, size)


def _training(settings: Settings, stage: Stages) -> list[Any]:
    pairs = 2 if settings.quick else 12
    rows: list[Any] = stage("training", lambda: training.measure(pairs))
    if settings.quick:
        return rows
    return [*rows, *stage("training-compiled", lambda: training.measure_compiled(pairs))]

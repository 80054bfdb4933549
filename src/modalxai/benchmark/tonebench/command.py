"""The whole contest: train, gate, ask everybody, score, write the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modalxai import storage
from modalxai.benchmark.tonebench.arenas import arena
from modalxai.benchmark.tonebench.contest import compete
from modalxai.benchmark.tonebench.contestant import Contestant
from modalxai.benchmark.tonebench.contestants import everybody
from modalxai.benchmark.tonebench.page import page
from modalxai.benchmark.tonebench.pictures import draw
from modalxai.benchmark.tonebench.results import Results, gather
from modalxai.benchmark.tonebench.settings import MOST_FAILED, Settings
from modalxai.stages import Stages, plain

RENDERING = ("content-tone", "prosody")
"""Contestants that resynthesise voices, which takes longer than all others together."""
RENDERED = ("TONE", "SARC")
"""Families in which they take part: those of the tone, and of the tone against the words."""
SHIFTED = ("CONFLICT", "BIO")
"""Families on whose first models the reparametrisation gap is measured: it is the method's."""


def run(settings: Settings, out: Path, *, quiet: bool = False) -> Path:
    """Run what is not done yet; write ``results.json``, ``results.csv``, the page and pictures.

    Families and seeds of earlier runs in the same folder are not thrown away, but the results are
    of those that are asked for.

    Parameters
    ----------
    settings
        What to run.
    out
        A folder. A killed run goes on there.
    quiet
        Print nothing.

    Returns
    -------
    Path
        ``out/results.json``.

    Raises
    ------
    CheckpointError
        The folder holds a run with other settings.
    """
    folder = Stages(out, settings.deciding())
    field = everybody()

    def say(text: str) -> None:
        if not quiet:
            print(text, flush=True)

    gates: list[dict[str, Any]] = []
    records: list[Mapping[str, Any]] = []
    counted = Counter[str]()
    for seed in range(settings.seeds + MOST_FAILED):
        for family in settings.families:
            if counted[family] == settings.seeds:
                continue
            record = _record(family, seed, counted[family], settings, folder, field, gates, say)
            if record is not None:
                counted[family] += 1
                records.append(record)
    return write(gather(settings, gates, records, field), out)


def _record(
    family: str,
    seed: int,
    before: int,
    settings: Settings,
    folder: Stages,
    field: Sequence[Contestant],
    gates: list[dict[str, Any]],
    say: Any,
) -> Mapping[str, Any] | None:
    """What everybody said about a model after ``before`` others; none where its gate is closed."""
    name = f"{family}/seed-{seed}"
    made, gate = arena(family, seed, settings, folder, say)
    gates.append({"seed": seed, **gate})
    if made is None:
        say(f"{family}, seed {seed}: gate not passed: {gate['why']}")
        return None

    def make(where: Path) -> Mapping[str, Any]:
        say(f"{family}, seed {seed}: {len(field)} contestants")
        rendered = family in RENDERED and before < settings.rendering
        return compete(
            made, field, () if rendered else RENDERING, shifted=family in SHIFTED and before == 0
        )

    return folder.stage(f"{name}/contest", make)


def write(results: Results, out: Path) -> Path:
    """The files of a run."""
    storage.write_json(out / "results.json", plain(results.record(), nan=None))
    storage.write_text(out / "results.csv", results.csv())
    pictures = draw(results, out / "pictures")
    storage.write_text(out / "tonebench.md", page(results, pictures))
    return out / "results.json"

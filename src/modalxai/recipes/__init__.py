"""The five published systems, each one command: ``modalxai recipe NAME``.

Every recipe is a folder whose `recipe` is one file over public parts, to copy as the start of an
experiment of your own. `Options` says what is asked, `Run` keeps what is finished, `Checkpoints`
makes or loads the encoders, `ResultsTable` lays the figures out beside the paper's.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from modalxai.errors import InputError
from modalxai.recipes.options import Options
from modalxai.recipes.results import Line, ResultsTable
from modalxai.recipes.runs import Run

__all__ = ["RECIPES", "Line", "Options", "ResultsTable", "Run", "run_recipe"]

RECIPES = {
    "content-or-tone": ("s0", "modalxai.recipes.content_or_tone.recipe"),
    "late-fusion": ("s1", "modalxai.recipes.late_fusion.recipe"),
    "consistency": ("s2", "modalxai.recipes.consistency.recipe"),
    "valence-arousal": ("s3", "modalxai.recipes.valence_arousal.recipe"),
    "speecht5": ("s4", "modalxai.recipes.speecht5.recipe"),
}
"""By readable name: the short name, and the module whose ``run(options)`` does it."""


def run_recipe(name: str, options: Options) -> Path:
    """Run a recipe by either of its names.

    Returns
    -------
    Path
        ``metrics.json``; beside it ``results.md``, ``results.csv``, ``figures/``, ``report.html``.

    Raises
    ------
    InputError
        No such recipe.
    """
    modules = {key: module for long, (short, module) in RECIPES.items() for key in (long, short)}
    if name not in modules:
        raise InputError(
            f"there is no recipe {name!r}",
            expected=", ".join(f"{long} ({short})" for long, (short, _) in RECIPES.items()),
            got=repr(name),
            mend="use one of these names",
        )
    importlib.import_module(modules[name]).run(options)
    return Path(options.out) / "metrics.json"

"""A recipe's folder: what is finished stays finished, and a killed run goes on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modalxai import storage
from modalxai.errors import CheckpointError
from modalxai.model import EmotionModel
from modalxai.recipes.checkpoints import Checkpoints
from modalxai.recipes.options import Options
from modalxai.recipes.results import ResultsTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECORD = "run.json"
DONE = "done.json"

Stage = Callable[[Path], Mapping[str, Any]]


class Run:
    """Stages with a folder each, under ``options.out``.

    Parameters
    ----------
    recipe
        Its name.
    options
        What was asked.
    settings
        What else decides the figures: sizes, learning rates, departures from the paper.

    Raises
    ------
    CheckpointError
        The folder holds a run of another recipe or with other settings.
    InputError
        An option that this recipe does not take.

    Examples
    --------
    ::

        run = Run("late-fusion", options, {"epochs": 50})
        scores = run.stage("audio", lambda folder: train_audio(folder))   # {"accuracy": ...}
        run.metrics({"audio": scores})
    """

    def __init__(self, recipe: str, options: Options, settings: Mapping[str, Any]) -> None:
        options.require_for(recipe)
        self.recipe, self.options, self.folder = recipe, options, Path(options.out)
        asked = plain({"recipe": recipe, **options.deciding(), **settings})
        record = self.folder / RECORD
        if record.is_file():
            found = storage.read_json(record)
            held = {name: value for name, value in found.items() if name != "versions"}
            if held != asked:
                names = [name for name in held | asked if held.get(name) != asked.get(name)]
                raise CheckpointError(
                    f"{self.folder} holds another run",
                    expected="; ".join(f"{name} = {asked.get(name)!r}" for name in names)[:500],
                    got="; ".join(f"{name} = {held.get(name)!r}" for name in names)[:500],
                    mend="give another folder, or delete this one",
                )
        else:
            storage.write_json(record, {**asked, "versions": storage.versions()})

    def stage(self, name: str, make: Stage) -> dict[str, Any]:
        """What ``make`` returned, now or in an earlier run.

        Parameters
        ----------
        name
            A path inside the run: ``"seed-0/audio"``.
        make
            Takes the stage's own folder, which outlives a kill, and returns what json can hold.
        """
        place = self.place(name)
        if self.finished(name):
            return storage.read_json(place / DONE)
        self.say(f"{name} ...")
        storage.require_folder(place)
        storage.write_json(place / DONE, plain(make(place)))
        return storage.read_json(place / DONE)

    def finished(self, name: str) -> bool:
        """Whether a stage is done."""
        return (self.place(name) / DONE).is_file()

    def model(self, name: str, make: Callable[[Path], EmotionModel]) -> EmotionModel:
        """The model that ``make`` trained, now or in an earlier run; in eval mode."""

        def trained(place: Path) -> Mapping[str, Any]:
            make(place).save_pretrained(place / "model")
            return {}

        self.stage(name, trained)
        model = EmotionModel.from_pretrained(self.place(name) / "model")
        return model.to(self.options.device).eval()

    def place(self, name: str) -> Path:
        """The folder of a stage."""
        return self.folder / "stages" / name

    def checkpoints(self, language: str = "ko") -> Checkpoints:
        """Where the run's encoders come from; what was loaded stays known in its folder."""
        options = self.options
        return Checkpoints(
            options.checkpoints,
            options.encoder_size,
            language=language,
            record=self.place("checkpoints"),
        )

    def metrics(self, figures: Mapping[str, Any]) -> None:
        """Write ``metrics.json``: every figure, with the recipe and its settings."""
        record = storage.read_json(self.folder / RECORD)
        storage.write_json(
            self.folder / "metrics.json", {"run": record, "metrics": plain(figures, nan=None)}
        )

    def tables(self, tables: Iterable[ResultsTable]) -> None:
        """Print the results, and write them as ``results.md`` and ``results.csv``."""
        made = list(tables)
        storage.write_text(self.folder / "results.md", "\n\n".join(t.markdown() for t in made))
        storage.write_text(
            self.folder / "results.csv", "".join(t.csv(head=t is made[0]) for t in made)
        )
        for table in made:
            self.say(f"\n{table}")

    def figure(self, name: str, figure: Figure) -> Path:
        """Write a figure as ``figures/<name>.png``."""
        path = self.folder / "figures" / f"{name}.png"
        storage.require_folder(path.parent)
        figure.savefig(path, dpi=150, bbox_inches="tight")
        return path

    def say(self, text: str) -> None:
        """Print, unless the run is quiet."""
        if not self.options.quiet:
            print(text, flush=True)


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

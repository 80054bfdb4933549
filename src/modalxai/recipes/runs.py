"""A recipe's folder: what is finished stays finished, and a killed run goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modalxai import storage
from modalxai.model import EmotionModel
from modalxai.recipes.checkpoints import Checkpoints
from modalxai.recipes.options import Options
from modalxai.recipes.results import ResultsTable
from modalxai.stages import Make, Stages, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Run(Stages):
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
        self.recipe, self.options = recipe, options
        super().__init__(Path(options.out), {"recipe": recipe, **options.deciding(), **settings})

    def stage(self, name: str, make: Make) -> dict[str, Any]:
        """What ``make`` returned, now or in an earlier run; says what is begun."""
        if not self.finished(name):
            self.say(f"{name} ...")
        return super().stage(name, make)

    def model(self, name: str, make: Callable[[Path], EmotionModel]) -> EmotionModel:
        """The model that ``make`` trained, now or in an earlier run; in eval mode."""

        def trained(place: Path) -> Mapping[str, Any]:
            make(place).save_pretrained(place / "model")
            return {}

        self.stage(name, trained)
        model = EmotionModel.from_pretrained(self.place(name) / "model")
        return model.to(self.options.device).eval()

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
        storage.write_json(
            self.folder / "metrics.json",
            {"run": self.record(), "metrics": plain(figures, nan=None)},
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

"""S2, consistency regularisation: a model of emotion that bears a recogniser's errors.

Every utterance has two texts, what was said and what a recogniser heard. Models trained on the
recogniser's words lose; a model trained on the true ones, and to say the same on the others, loses
less. On AI-Hub's multimodal video set, on a ``manifest.csv`` of recordings, or on synthetic speech
with a planted truth.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import modalxai as mx
from modalxai.datasets import random_split
from modalxai.evaluation import latency
from modalxai.metrics import confusion, weighted_accuracy, weighted_f1
from modalxai.protocols import Samples
from modalxai.recipes.checkpoints import TINY
from modalxai.recipes.consistency import analysis as analysis
from modalxai.recipes.consistency import conclusion as conclusion
from modalxai.recipes.consistency.data import Talk, View, larger, rates, read
from modalxai.recipes.consistency.models import SHALLOW, TRUE, Maker, System, systems
from modalxai.recipes.consistency.settings import Settings, settings_for
from modalxai.recipes.memory import forget
from modalxai.recipes.options import Options
from modalxai.recipes.runs import Run
from modalxai.recipes.workers import deal
from modalxai.training import ConsistencyCollate, fit

PARTS = ("train", "dev", "test")
BACKGROUND = 100
"""Training samples that lend their features where a modality is removed."""
CLOCKED = 10
"""Utterances whose latency is measured."""
REMOVALS = ("absent", "mean", "marginal")
"""Of the report: the first is what its model was trained for, the others stand beside it."""

Task = tuple[int, System] | None
"""A seed and one model of the comparison; ``None`` for the model of the report."""


def run(options: Options, settings: Settings | None = None) -> dict[str, Any]:
    """Train every model of every seed, score it, explain, and write what came of it.

    Parameters
    ----------
    options
        What is asked.
    settings
        Others than `settings_for` gives: another weight of the loss, say, or a recogniser of yours.

    Returns
    -------
    dict
        The figures of ``metrics.json``.
    """
    chosen = settings_for(options) if settings is None else settings
    study = Study.begin(options, chosen)
    every, seeds = systems(chosen), range(chosen.seeds)
    # The longest first.
    tasks: list[Task] = [None, *((seed, one) for one in reversed(every) for seed in seeds)]
    deal(
        partial(_elsewhere, options, chosen) if options.processes > 1 else lambda: study.do,
        [task for task in tasks if not study.done(task)],
        options.processes,
        # So that the tiny form's figures are the same on any machine's cores.
        threads=1 if options.checkpoints == TINY else None,
    )
    return conclusion.conclude(
        study,
        {one.key: [study.stage(seed, one) for seed in seeds] for one in every},
        [study.contributions(seed) for seed in seeds],
        study.explain(),
    )


def _elsewhere(options: Options, settings: Settings) -> Callable[[Task], None]:
    """What another process of the run does tasks by."""
    return Study.begin(options, settings).do


@dataclass(frozen=True)
class Study:
    """One run: its corpus, and how its models are made, trained, scored and explained.

    Parameters
    ----------
    run, settings, talk
        Where it is kept, how it is done, on what.
    maker
        Of the models.
    """

    run: Run
    settings: Settings
    talk: Talk
    maker: Maker
    _parts: dict[int, dict[str, Samples]] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def begin(cls, options: Options, settings: Settings) -> Self:
        """A run's folder, and its corpus, read."""
        run = Run("consistency", options, asdict(settings))
        talk = read(options.data, settings, run.place("heard"))
        maker = Maker(settings, run.checkpoints(), talk.labels, talk.samples, talk.columns)
        return cls(run, settings, talk, maker)

    def do(self, task: Task) -> None:
        """Leave a task's stages finished."""
        if task is None:
            self.explanations()
            return
        self.stage(*task)
        if task[1] == SHALLOW:
            self.contributions(task[0])

    def done(self, task: Task) -> bool:
        """Whether a task's stages are finished."""
        if task is None:
            return self.run.finished("explanations")
        seed, system = task
        last = "contributions" if system == SHALLOW else system.key
        return self.run.finished(f"seed-{seed}/{last}")

    def parts(self, seed: int) -> dict[str, Samples]:
        """Training, validation and test part; at random, as in the paper: speakers are shared."""
        if seed not in self._parts:
            sizes = dict(zip(PARTS, self.settings.parts, strict=True))
            split = random_split(self.talk.samples, sizes, leak="papers", seed=seed)
            self._parts[seed] = {name: split.part(self.talk.samples, name) for name in PARTS}
        return self._parts[seed]

    def stage(self, seed: int, system: System) -> dict[str, Any]:
        """Train one model and score it, once."""
        return self.run.stage(
            f"seed-{seed}/{system.key}", lambda place: self._scored(seed, system, place)
        )

    def _scored(self, seed: int, system: System, place: Path) -> dict[str, Any]:
        model = self.maker.model(system, seed).to(self.run.options.device)
        self.train(model, system, seed, place / "training")
        tested = [system.words]
        if system.words == TRUE and None not in (system.audio, system.text):
            # Not in the paper: what a model that never heard of errors makes of them.
            tested += self.talk.columns
        test = self.parts(seed)["test"]
        scores = {words: self.score(model, self.view(test, model, words)) for words in tested}
        if system == SHALLOW:
            forget(model).save_pretrained(place / "model")
        return scores

    def train(
        self,
        model: mx.EmotionModel,
        system: System,
        seed: int,
        folder: Path,
        epochs: int | None = None,
    ) -> None:
        """Fit, and keep the epoch that is best on the words that the model is tested on."""
        parts = self.parts(seed)
        column = self.talk.columns[system.words] if system.consistency else None
        step = self.maker.objective(model, column)
        dev = self.view(parts["dev"], model, system.words)
        training = self.settings.training
        fit(
            step,
            self.view(parts["train"], model, TRUE if column else system.words),
            ConsistencyCollate(model.collate, recognised=column) if column else model.collate,
            replace(training, seed=seed, epochs=epochs or training.epochs),
            validate=lambda: self.score(model, dev)["f1"],
            folder=folder,
        )
        # What a resumed run needed; a finished one keeps its scores.
        shutil.rmtree(folder)

    def view(self, samples: Samples, model: mx.EmotionModel, words: str) -> Samples:
        """The samples as the model takes them, with these words as their text."""
        return View(samples, model.modalities, self.talk.columns.get(words, "text"))

    def score(self, model: mx.EmotionModel, samples: Samples) -> dict[str, Any]:
        """Weighted F1, weighted accuracy, and counts: rows true, columns said."""
        names = list(self.talk.labels)
        best = model.predict(samples, batch_size=64).scores.argmax(1).tolist()
        said = [names[index] for index in best]
        truth = [next(iter(samples[row]["labels"])) for row in range(len(samples))]
        return {
            "f1": weighted_f1(truth, said, classes=names),
            "accuracy": weighted_accuracy(truth, said),
            "confusion": confusion(truth, said, classes=names).counts,
        }

    def contributions(self, seed: int) -> dict[str, Any]:
        """Of each encoder of the Shallow Fusion model, by label, once."""

        def made(place: Path) -> Mapping[str, Any]:
            model = self._shallow(seed)
            parts = self.parts(seed)
            return analysis.contributions(
                model, parts["test"], _some(parts["train"], BACKGROUND), self.settings.donors
            )

        return self.run.stage(f"seed-{seed}/contributions", made)

    def _shallow(self, seed: int) -> mx.EmotionModel:
        folder = self.run.place(f"seed-{seed}/{SHALLOW.key}") / "model"
        return mx.EmotionModel.from_pretrained(folder).to(self.run.options.device).eval()

    def explanations(self) -> list[mx.Explanation]:
        """A Shallow Fusion that has seen "absent", on the test part of seed 0, by removal, once.

        On synthetic speech it learns from more utterances than the compared ones: the planted
        truth is that of a model that has learnt it.
        """

        def made(place: Path) -> Mapping[str, Any]:
            study = self._larger()
            model, parts = study._reported(), study.parts(0)
            background = _some(parts["train"], BACKGROUND)
            for removal in REMOVALS:
                draws = self.settings.donors if removal == "marginal" else 1
                mx.explain(
                    model, parts["test"], removal=removal, background=background, draws=draws,
                    batch_size=32,
                ).save(place / removal)  # fmt: skip
            return {}

        self.run.stage("explanations", made)
        return [mx.Explanation.load(self.run.place("explanations") / one) for one in REMOVALS]

    def _larger(self) -> Self:
        """The study of the report's model."""
        if self.talk.rule is None:
            return self
        talk = larger(self.talk, self.settings)
        maker = Maker(self.settings, self.maker.checkpoints, talk.labels, talk.samples, {})
        return type(self)(self.run, self.settings, talk, maker)

    def _reported(self) -> mx.EmotionModel:
        chosen = self.settings

        def trained(place: Path) -> mx.EmotionModel:
            model = self.maker.model(SHALLOW, 0, dropout=chosen.explained_dropout)
            model.to(self.run.options.device)
            self.train(model, SHALLOW, 0, place / "training", chosen.explained_epochs)
            return forget(model)

        return self.run.model("explained", trained)

    def explain(self) -> mx.Report:
        """The page on the report's model, beside the planted truth where there is one."""
        explanation, *others = self.explanations()
        gold = analysis.planted(self.talk.rule, "absent", "predicted")
        report = mx.Report(explanation, cluster="speaker", alternatives=others, gold=gold)
        report.save_html(self.run.folder / "report.html")
        self.run.say(report.table())
        return report

    def rates(self) -> dict[str, Any]:
        """How wrong each recogniser is, counted once."""
        return self.run.stage("rates", lambda _: rates(self.talk, self.settings.spaced))

    def latency(self) -> dict[str, Any]:
        """Of the Shallow Fusion on the CPU, for whole utterances and windows of one second."""

        def measured(_: Path) -> dict[str, Any]:
            samples = _some(self.parts(0)["test"], CLOCKED)
            found = latency(self._shallow(0).cpu(), samples)
            return {**asdict(found), "said": str(found)}

        return self.run.stage("latency", measured)


def _some(samples: Samples, most: int) -> list[Any]:
    """So many, evenly through the samples."""
    step = max(1, len(samples) // most)
    return [samples[row] for row in range(0, len(samples), step)][:most]

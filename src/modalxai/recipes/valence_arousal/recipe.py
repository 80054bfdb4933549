"""Valence and arousal first, emotions after: two regressors, and what their blocks are worth.

Tests select the modalities; one regressor hears arousal, one reads valence; their blocks start the
emotion model, whose labels are few and uneven. On KEMDy20, or on synthetic speech of its shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import modalxai as mx
from modalxai.metrics import ccc, confusion, macro_f1, rmse, weighted_f1
from modalxai.recipes.checkpoints import TINY
from modalxai.recipes.options import Options
from modalxai.recipes.runs import Run
from modalxai.recipes.valence_arousal import results as results
from modalxai.recipes.valence_arousal import statistics as selection
from modalxai.recipes.valence_arousal.augmentation import oversampled
from modalxai.recipes.valence_arousal.data import Corpus, Task, kemdy20, synthetic
from modalxai.recipes.valence_arousal.models import (
    Depths,
    Settings,
    audio_block,
    emotion_model,
    regressor,
    settings_for,
    text_block,
)
from modalxai.recipes.workers import deal
from modalxai.report import Report, figures
from modalxai.training import EmotionLoss, FitSettings, Objective, fit

BATCH = 32
DONORS = 16
BOTH = ("audio", "text")


def run(options: Options, settings: Settings | None = None) -> dict[str, Any]:
    """Select modalities, train regressors, transfer them, score, explain.

    Parameters
    ----------
    options
        What is asked.
    settings
        Others than `settings_for` gives.

    Returns
    -------
    dict
        What ``metrics.json`` holds.
    """
    chosen = settings_for(options) if settings is None else settings
    system = System(options, chosen)
    system.run.say(system.about())
    tests = system.select()
    regressors = system.each(
        System.regress,
        {
            f"{dimension}-{depth}": (dimension, depth)
            for dimension, depths in (
                ("arousal", chosen.arousal_depths),
                ("valence", chosen.valence_depths),
            )
            for depth in depths
        },
    )
    emotions = system.each(
        System.recognise, {f"emotion-{a}-{t}": ((a, t),) for a, t in chosen.pairs}
    )
    best = best_of(emotions)
    starts = [
        (best, seed, start)
        for seed in range(chosen.seeds)
        for start in (results.SCRATCH, results.TRANSFER)
    ]
    few = results.paired(
        system.each(System.few_labels, {results.few_stage(*one[1:]): one for one in starts})
    )
    report, planted = system.explain(best)
    quick = system.latency(best)

    on = system.corpus_name
    run = system.run
    run.figure("rmse", results.depth_figure(regressors))
    run.figure("shares", report.figure())
    tables = [
        *selection.tables(tests["dimensions"], tests["bodies"], on),
        results.regression_table(regressors, on),
        *results.emotion_tables(emotions, system.corpus.emotions, on),
        results.few_table(few, on),
        *([results.planted_table(planted, on)] if planted else []),
    ]
    figures = {
        "about": system.about(),
        "checkpoints": system.checkpoints.describe(),
        "emotions": {"kept": system.corpus.emotions, "counts": system.corpus.counts},
        "selection": tests,
        "regression": regressors,
        "emotion": emotions,
        "chosen": best,
        "few_labels": few,
        "planted": planted,
        "latency": quick,
    }
    run.tables(tables)
    run.metrics(figures)
    run.say("\n".join(["", *tests["words"], "", report.table(), "", str(quick["said"])]))
    return figures


def best_of(emotions: Mapping[str, Mapping[str, Any]]) -> Depths:
    """The depths with the highest macro F1 on the validation part.

    A model that never says a rare label is not chosen, whatever its weighted F1.
    """
    audio, text = max(emotions.values(), key=lambda one: one["dev_macro_f1"])["depths"]
    return audio, text


def _elsewhere(
    options: Options, settings: Settings, make: Callable[..., Any]
) -> Callable[[tuple[Any, ...]], Any]:
    """What another process of the run does tasks by."""
    system = System(options, settings)
    return lambda task: make(system, *task)


class System:
    """The stages, each kept in the run's folder once it is done."""

    def __init__(self, options: Options, settings: Settings) -> None:
        self.options, self.settings = options, settings
        self.run = Run("valence-arousal", options, asdict(settings))
        self.checkpoints = self.run.checkpoints()
        self.corpus: Corpus = (
            synthetic([int(size) for size in settings.parts], settings.fewest, settings.seed)
            if options.data is None
            else kemdy20(options.data, settings.parts, settings.fewest, settings.seed)
        )
        self.corpus_name = "synthetic speech" if options.data is None else "KEMDy20"

    def about(self) -> str:
        """On what, and how it departs from the paper."""
        dropped = [name for name in self.corpus.counts if name not in self.corpus.emotions]
        said = [
            f"Valence and arousal pre-training on {self.corpus_name}, "
            f"{self.options.checkpoints} checkpoints.",
            f"Left out, with fewer than {self.settings.fewest} samples: {', '.join(dropped)}.",
            "Padding is masked, where the paper attends to it; speakers are in one part only.",
        ]
        if self.settings.modality_dropout:
            said.append(
                f"Departure: modality dropout {self.settings.modality_dropout}, which the "
                "explanation by absence supposes; the paper has none."
            )
        return " ".join(said)

    def each(
        self, make: Callable[..., dict[str, Any]], tasks: Mapping[str, tuple[Any, ...]]
    ) -> dict[str, Any]:
        """What ``make`` returns for each task, by the name of its stage; several at once."""
        options, settings = self.options, self.settings
        deal(
            partial(_elsewhere, options, settings, make)
            if options.processes > 1
            else lambda: lambda task: make(self, *task),
            [task for name, task in tasks.items() if not self.run.finished(f"{name}/scores")],
            options.processes,
            # So that the tiny form's figures are the same on any machine's cores.
            threads=1 if options.checkpoints == TINY else None,
        )
        return {name: make(self, *task) for name, task in tasks.items()}

    def select(self) -> dict[str, Any]:
        """Which modalities say anything about the emotion."""

        def make(_: Path) -> Mapping[str, Any]:
            train, kept, chosen = self.corpus.parts["train"], self.corpus.emotions, self.settings
            dimensions = selection.dimension_tests(train, kept)
            bodies = selection.body_tests(train, kept, chosen.bodies, chosen.clusters, chosen.seed)
            words = selection.words(dimensions, bodies)
            return {"dimensions": dimensions, "bodies": bodies, "words": words}

        return self.run.stage("selection", make)

    def regress(self, dimension: str, depth: int) -> dict[str, Any]:
        """Train a regressor; its scores on the test part."""
        modality = "audio" if dimension == "arousal" else "text"
        train, dev, test = (
            Task(self.corpus.parts[part], [modality], [dimension])
            for part in ("train", "dev", "test")
        )
        name = f"{dimension}-{depth}"
        model = self.trained(
            name,
            lambda: regressor(
                modality, self.block(modality, depth), dimension, float(np.mean(train.truth))
            ),
            train,
            self.settings.regression,
            lambda model: -rmse(dev.truth, model.predict(dev, BATCH).scores[:, 0]),
        )

        def make(_: Path) -> Mapping[str, Any]:
            said = model.predict(test, BATCH).scores[:, 0].cpu()
            errors = {"rmse": rmse(test.truth, said), "ccc": ccc(test.truth, said)}
            return {"dimension": dimension, "depth": depth, "clips": len(train), **errors}

        return self.run.stage(f"{name}/scores", make)

    def recognise(self, depths: Depths) -> dict[str, Any]:
        """Train an emotion model from the blocks of two regressors; its scores."""
        train, dev, test = (self.task(part) for part in ("train", "dev", "test"))
        name = f"emotion-{depths[0]}-{depths[1]}"
        model = self.trained(
            name,
            lambda: self.emotion_model(depths, transfer=True),
            self.augmented(train),
            self.settings.emotion,
            lambda model: macro_f1(dev.truth, named(model, dev)),
        )

        def make(_: Path) -> Mapping[str, Any]:
            said, truth, names = named(model, test), test.truth, self.corpus.emotions
            table = confusion(truth, said, classes=names)
            self.run.figure(
                f"confusion-{depths[0]}-{depths[1]}",
                figures.confusion(table, f"depths {depths[0]}, {depths[1]}"),
            )
            recalls = np.diag(table.rates()).tolist()
            return {
                "depths": depths,
                "clips": len(train),
                "weighted_f1": weighted_f1(truth, said),
                "macro_f1": macro_f1(truth, said),
                "dev_macro_f1": macro_f1(dev.truth, named(model, dev)),
                "recall": dict(zip(names, recalls, strict=True)),
                "said": {one: said.count(one) / len(said) for one in names},
                "confusion": table.counts,
            }

        return self.run.stage(f"{name}/scores", make)

    def few_labels(self, depths: Depths, seed: int, start: str) -> dict[str, Any]:
        """Scores on few labels; of one seed, both starts differ by their first weights alone."""
        train, test = self.task("train").few(self.settings.few_labels, seed), self.task("test")
        name = results.few_stage(seed, start)
        model = self.trained(
            name,
            partial(self.emotion_model, depths, start == results.TRANSFER),
            train,
            replace(self.settings.few, seed=seed),
        )

        def make(_: Path) -> Mapping[str, Any]:
            truth, said = test.truth, named(model, test)
            scores = {"macro_f1": macro_f1(truth, said), "weighted_f1": weighted_f1(truth, said)}
            return {"start": start, "seed": seed, "labels": len(train), **scores}

        return self.run.stage(f"{name}/scores", make)

    def explain(self, depths: Depths) -> tuple[Report, dict[str, dict[str, float]]]:
        """The report of the test part, and on synthetic speech what was planted beside it."""
        model, test = self.emotion(depths), self.task("test")
        known = [self.task("train")[row] for row in range(0, len(self.task("train")), 10)]
        absent = "absent" if model.modality_dropout else {"audio": "silence", "text": "mask"}
        removals: list[tuple[Any, int]] = [(absent, 1), ("mean", 1), ("marginal", DONORS)]

        def explained(removal: Any, draws: int) -> mx.Explanation:
            return mx.explain(
                model, test, removal=removal, background=known,
                draws=min(draws, len(known)), batch_size=BATCH,
            )  # fmt: skip

        first, *others = [explained(*one) for one in removals]
        planted = self.corpus.planted
        report = Report(first, cluster="speaker", alternatives=others, gold=planted)
        report.save_html(self.run.folder / "report.html")
        return report, {
            row.label: {
                "found": row.share["audio"],
                "planted": planted[row.label]["audio"],
                "apart": abs(row.share["audio"] - planted[row.label]["audio"]),
            }
            for row in report.shares()
            if row.label in planted
        }

    def latency(self, depths: Depths) -> dict[str, Any]:
        """Seconds per utterance on a CPU, whole and in windows of a second."""

        def make(_: Path) -> Mapping[str, Any]:
            test = self.task("test")
            samples = [test[row] for row in range(min(20, len(test)))]
            measured = mx.evaluation.latency(self.emotion(depths).cpu(), samples)
            return {**asdict(measured), "said": str(measured)}

        return self.run.stage("latency", make)

    def emotion_model(self, depths: Depths, transfer: bool) -> mx.EmotionModel:
        """A model for the emotions that are kept, its blocks from the regressors or from chance."""
        audio, text = (self.block(name, depth) for name, depth in zip(BOTH, depths, strict=True))
        model = emotion_model(self.settings, audio, text, self.corpus.emotions)
        if transfer:
            for modality, source in zip(BOTH, ("arousal", "valence"), strict=True):
                depth = depths[BOTH.index(modality)]
                loaded = model.load_encoder(modality, self.run.place(f"{source}-{depth}") / "model")
                self.run.say(f"transfer of {loaded}")
        return model

    def emotion(self, depths: Depths) -> mx.EmotionModel:
        """The trained one."""
        folder = self.run.place(f"emotion-{depths[0]}-{depths[1]}") / "model"
        return mx.EmotionModel.from_pretrained(folder).to(self.options.device).eval()

    def block(self, modality: str, depth: int) -> Any:
        """A feature block with new weights; the embeddings of the text are the checkpoint's."""
        if modality == "audio":
            return audio_block(self.settings, depth)
        kobert = self.checkpoints.encoder("kobert", max_length=self.settings.tokens, truncate=True)
        return text_block(self.settings, depth, kobert)

    def task(self, part: str) -> Task:
        """A part with the emotions that are kept."""
        return Task(self.corpus.parts[part], BOTH, self.corpus.emotions)

    def augmented(self, train: Task) -> Any:
        """The training part, rare labels with changed copies: audio, text, both, half each."""
        return oversampled(train, self.corpus.emotions, self.settings)

    def trained(
        self,
        name: str,
        build: Callable[[], mx.EmotionModel],
        samples: Any,
        settings: FitSettings,
        score: Callable[[mx.EmotionModel], float] | None = None,
    ) -> mx.EmotionModel:
        """The model of a stage, trained now or before; a killed training goes on."""

        def make(place: Path) -> mx.EmotionModel:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(settings.seed)
                model = build().to(self.options.device)
            fit(
                Objective(model, EmotionLoss()),
                samples,
                model.collate,
                settings,
                validate=None if score is None else lambda: score(model),
                folder=place / "fit",
                title=None if self.options.quiet else name,
            )
            return model

        return self.run.model(name, make)


def named(model: mx.EmotionModel, samples: Sequence[Any] | Any) -> list[str]:
    """The emotion that a model says of each sample."""
    found = model.predict(samples, BATCH).scores.argmax(-1).tolist()
    return [model.labels[column].name for column in found]

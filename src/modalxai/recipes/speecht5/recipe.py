"""SpeechT5 with meta-attention: sets of emotions, valence and arousal, from speech and English.

Korean lines are translated, SpeechT5's speech and text encoders are tuned alone and then frozen,
meta-attention mixes what they say. On KEMDy19 and KEMDy20 together, or on synthetic speech.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import torch

import modalxai as mx
from modalxai.plugins import create
from modalxai.recipes.checkpoints import PLUGINS, TINY
from modalxai.recipes.options import Options
from modalxai.recipes.runs import Run
from modalxai.recipes.speecht5 import results as results
from modalxai.recipes.speecht5.data import Corpus, Task, kemdy, synthetic
from modalxai.recipes.speecht5.models import (
    Settings,
    build,
    labels_for,
    settings_for,
    siamese,
    start_at,
)
from modalxai.recipes.speecht5.vectors import Vectors, pooled
from modalxai.recipes.speecht5.words import words_for
from modalxai.recipes.workers import deal
from modalxai.report import Report
from modalxai.training import EmotionLoss, FitSettings, Objective, fit

BATCH = 32
DONORS = 160
"""Utterances of the training part that stand in for what is removed, all for each sample."""
SHOWN = 20
"""Utterances whose latency is measured."""
ENCODERS = {
    "vc": ("audio", "speecht5-speech"),
    "tts": ("text", "speecht5-text"),
    "wav2vec2": ("audio", "wav2vec2-korean"),
}
"""By name in the results: the modality, and the checkpoint."""
JOINED = ("vc", "tts")
MODELS = {"with": ("vc", "tts", "wav2vec2", "both"), "without": ("vc", "tts", "both")}
"""What is trained with the valence and arousal task, and what without."""


def run(options: Options, settings: Settings | None = None) -> dict[str, Any]:
    """Translate, tune each encoder alone, freeze, train the joint model, score, explain.

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
    run, seeds = system.run, range(chosen.seeds)
    run.say(system.about())
    checkpoints = system.sources()
    deal(
        partial(_elsewhere, options, chosen) if options.processes > 1 else lambda: system.train,
        [one for one in product(seeds, MODELS) if not system.trained(one)],
        options.processes,
        # So that the tiny form's figures are the same on any machine's cores.
        threads=1 if options.checkpoints == TINY else None,
    )
    scores = {
        arm: {name: [system.scores(seed, name, arm) for seed in seeds] for name in names}
        for arm, names in MODELS.items()
    }
    level = [system.constant(seed) for seed in seeds]
    speakers = [system.task(seed, "test", ("text",), "with").column("speaker") for seed in seeds]
    ours = scores["with"]["both"]
    gains = {
        f"both against {results.NAMES[name]}": results.paired(ours, scores["with"][name], speakers)
        for name in ENCODERS
    } | {
        f"{results.NAMES[name]}, with against without valence and arousal": results.paired(
            scores["with"][name], scores["without"][name], speakers
        )
        for name in MODELS["without"]
    }
    reports = [system.explain(seed) for seed in seeds]
    reports[0].save_html(run.folder / "report.html")
    corpus = system.corpus(0)
    planted = results.planted_shares(reports, corpus.planted)
    quick = system.latency()

    run.figure("exact-match", results.match_figure(scores, level[0]["exact match"]))
    run.figure("shares", reports[0].figure())
    run.tables(
        [
            results.main_table(scores, level, corpus.best, corpus.name),
            results.gain_table(gains, corpus.name),
            *([results.planted_table(planted, corpus.name)] if planted else []),
        ]
    )
    figures = {
        "about": system.about(),
        "checkpoints": checkpoints,
        "scores": results.without_samples(scores),
        "constant": level,
        "best": corpus.best,
        "gains": gains,
        "planted": planted,
        "texts": system.texts(),
        "latency": quick,
    }
    run.metrics(figures)
    run.say("\n".join(["", reports[0].table(), "", str(quick["said"])]))
    return figures


def _elsewhere(options: Options, settings: Settings) -> Callable[[tuple[int, str]], None]:
    """What another process of the run trains by."""
    return System(options, settings).train


class System:
    """The stages, each kept in the run's folder once it is done."""

    def __init__(self, options: Options, settings: Settings) -> None:
        self.options, self.settings = options, settings
        self.run = Run("speecht5", options, asdict(settings))
        self.checkpoints = self.run.checkpoints()
        self.words = words_for(options.translator, options.data is None)
        self.corpus = cache(self._corpus)
        self.known = cache(self._known)

    def about(self) -> str:
        """On what, and how it departs from the paper."""
        chosen = self.settings
        starts = {
            "architecture": "two copies of one architecture, each with its checkpoint's weights",
            "weights": "the text encoder's transformer starts as a copy of the speech encoder's",
        }
        said = [
            f"SpeechT5 with meta-attention on {self.corpus(0).name}, "
            f"{self.options.checkpoints} checkpoints, {chosen.seeds} seeds.",
            self.words.said,
            f"Siamese initialisation: {starts[chosen.siamese]}.",
            "Without valence and arousal, the encoders are tuned without them too.",
            "Speakers are in one part only.",
            "Explained by marginal removal, for which no modality has to be dropped in training.",
        ]
        return " ".join(said)

    def sources(self) -> dict[str, Any]:
        """Where every encoder comes from."""

        def make(_: Path) -> Mapping[str, Any]:
            for name in ENCODERS:
                self.encoder(name)
            return self.checkpoints.describe()

        return self.run.stage("checkpoints", make)

    def train(self, task: tuple[int, str]) -> None:
        """Leave every model of a seed and an arm trained and scored."""
        seed, arm = task
        for name in MODELS[arm]:
            self.scores(seed, name, arm)

    def trained(self, task: tuple[int, str]) -> bool:
        """Whether `train` was done."""
        seed, arm = task
        stages = [f"{self.place(seed, name, arm)}/scores" for name in MODELS[arm]]
        return all(map(self.run.finished, stages))

    def scores(self, seed: int, name: str, arm: str) -> dict[str, Any]:
        """Train a model of the table, and score it on the test part."""
        joint = name == "both"
        model = self.joint(seed, arm) if joint else self.alone(seed, name, arm)

        def make(_: Path) -> Mapping[str, Any]:
            test = self.task(seed, "test", model.modalities, arm)
            return results.scored(model.predict(test, BATCH), test.column("labels"))

        return self.run.stage(f"{self.place(seed, name, arm)}/scores", make)

    def alone(self, seed: int, name: str, arm: str) -> mx.EmotionModel:
        """One encoder with a linear head of its own: a baseline, and the start of the joint one."""
        modality = ENCODERS[name][0]

        def make(place: Path) -> mx.EmotionModel:
            train = self.task(seed, "train", (modality,), arm)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                encoders = {modality: self.encoder(name)}
                model = build(encoders, labels_for(arm == "with"), self.settings)
            chosen = self.settings.speech if modality == "audio" else self.settings.text
            self.fit(model, train, train, replace(chosen, seed=seed), place)
            return model

        return self.run.model(self.place(seed, name, arm), make)

    def joint(self, seed: int, arm: str) -> mx.EmotionModel:
        """Meta-attention and heads over both tuned encoders, which are frozen by now."""

        def make(place: Path) -> mx.EmotionModel:
            train = self.task(seed, "train", ("audio", "text"), arm)
            encoders = {ENCODERS[name][0]: self.frozen(seed, name, arm) for name in JOINED}
            rows = pooled(encoders, train, place / "features", self.options.device, BATCH)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                vectors = {modality: Vectors(one.dim) for modality, one in encoders.items()}
                heads = build(vectors, labels_for(arm == "with"), self.settings)
            self.fit(heads, rows, train, replace(self.settings.joint, seed=seed), place)
            return mx.EmotionModel(encoders, heads.fusion, heads.modality_dropout)

        for name in JOINED:
            self.alone(seed, name, arm)
        return self.run.model(self.place(seed, "both", arm), make)

    def encoder(self, name: str) -> Any:
        """An encoder as its checkpoint has it; the two of SpeechT5 are siamese twins."""
        modality, checkpoint = ENCODERS[name]
        own: dict[str, Any] = {"trainable": self.settings.trainable}
        if modality == "text":
            own |= {"max_length": self.settings.tokens, "truncate": True}
            own |= {"trainable": "all"} if own["trainable"] == "transformer" else {}
        made = self.checkpoints.encoder(checkpoint, **own)
        if name == "tts":
            siamese(self.checkpoints.encoder(ENCODERS["vc"][1]), made, self.settings.siamese)
        return made

    def frozen(self, seed: int, name: str, arm: str) -> Any:
        """An encoder as it was tuned alone; nothing of it learns any more."""
        modality, checkpoint = ENCODERS[name]
        folder = self.run.place(self.place(seed, name, arm)) / "model" / "encoders" / modality
        plugin = PLUGINS.get(checkpoint, checkpoint)
        made = create("encoders", plugin, checkpoint=folder, trainable="none")
        return made.to(self.options.device).eval()

    def fit(
        self,
        model: mx.EmotionModel,
        samples: Any,
        task: Task,
        settings: FitSettings,
        place: Path,
    ) -> None:
        """Cross-entropy of every emotion and squared error of the dimensions, together."""
        truth, known = results.truth_of(model.labels, task.column("labels"))
        start_at(model.fusion, ((truth * known).sum(0) / known.sum(0).clip(1)).tolist())
        loss = EmotionLoss(
            model.labels, task_weights={"dimensional": self.settings.dimension_weight}
        )
        model.to(self.options.device)
        title = None if self.options.quiet else str(place.relative_to(self.run.place("")))
        step = Objective(model, loss)
        fit(step, samples, model.collate, settings, folder=place / "fit", title=title)

    def explain(self, seed: int) -> Report:
        """How much words and voice contribute to every label of the test part."""
        model = self.joint(seed, "with")
        test, train = (
            self.task(seed, part, ("audio", "text"), "with") for part in ("test", "train")
        )
        spread = range(0, len(train), max(1, len(train) // DONORS))[:DONORS]
        known = [train[row] for row in spread]
        edits = {"audio": "silence", "text": "mask"}
        removals: list[tuple[Any, Any]] = [("marginal", "all"), ("mean", 1), (edits, 1)]
        first, *others = [
            mx.explain(
                model, test, removal=removal, background=known, draws=draws, batch_size=BATCH
            )
            for removal, draws in removals
        ]
        planted = self.corpus(seed).planted
        return Report(first, cluster="speaker", alternatives=others, gold=planted)

    def latency(self) -> dict[str, Any]:
        """Seconds per utterance on a CPU, whole and in windows of a second."""

        def make(_: Path) -> Mapping[str, Any]:
            test = self.task(0, "test", ("audio", "text"), "with")
            samples = [test[row] for row in range(min(SHOWN, len(test)))]
            measured = mx.evaluation.latency(self.joint(0, "with").cpu(), samples)
            return {**asdict(measured), "said": str(measured)}

        return self.run.stage("latency", make)

    def constant(self, seed: int) -> dict[str, Any]:
        """The score of a model that always says the same."""
        told = [
            self.task(seed, part, ("text",), "with").column("labels") for part in ("train", "test")
        ]
        return results.constant(labels_for(True), *told)

    def texts(self) -> dict[str, Any]:
        """How many samples have no readable text, and how many characters could not be read."""
        tasks = [self.task(0, part, ("text",), "with") for part in ("train", "test")]
        return {
            "how": self.words.said,
            "samples left out": sum(len(task.samples) - len(task) for task in tasks),
            "characters left out": sum(task.lost for task in tasks),
        }

    def task(self, seed: int, part: str, modalities: Sequence[str], arm: str) -> Task:
        """A part as a model of one arm sees it."""
        names = [label.name for label in labels_for(arm == "with")]
        return Task(self.corpus(seed).parts[part], modalities, names, self.known())

    def place(self, seed: int, name: str, arm: str) -> str:
        """The stage of a model."""
        return f"seed-{seed}/{arm}/{name}"

    def _corpus(self, seed: int) -> Corpus:
        translations = self.run.place("translations")
        sizes = self.settings.parts
        if self.options.data is not None:
            return kemdy(self.options.data, sizes, seed, self.words, translations)
        return synthetic([int(size) for size in sizes], seed, self.words, translations)

    def _known(self) -> frozenset[str]:
        """Characters that the text encoder reads."""
        tokenizer = self.encoder("tts").collate.tokenizer
        return frozenset(one for one in tokenizer.get_vocab() if len(one) == 1)

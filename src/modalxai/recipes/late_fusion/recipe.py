"""Speech, words and biosignals, each with a model of its own, and what they are worth together.

Every modality's model is trained alone and saved; a late fusion is the mean of their
log-probabilities, for every combination. On KEMDy19, or on synthetic speech and bodies of its shape
with a planted truth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import modalxai as mx
from modalxai.annotations import annotate
from modalxai.attribution import Explanation
from modalxai.batching import batches
from modalxai.datasets import tonebench
from modalxai.metrics import score_card
from modalxai.recipes.late_fusion import results as results
from modalxai.recipes.late_fusion.data import Corpus, Utterances, kemdy19, standards, synthetic
from modalxai.recipes.late_fusion.settings import (
    BODY,
    COMBINATIONS,
    SPLIT,
    Settings,
    settings_for,
    unimodal,
)
from modalxai.recipes.options import Options
from modalxai.recipes.runs import Run
from modalxai.report import Report
from modalxai.training import EmotionLoss, Objective, fit
from modalxai.types import Prediction, Targets

REFERENCE = (
    "Trained without modality dropout, the models never saw what 'absent' means. But their fusion "
    "is a sum over modalities, and for a sum there is one exact answer: an absent modality says "
    "what it says on average over the training part. That is the removal 'marginal' with every "
    "donor, and no network is asked about anything but real recordings. Each head is linear, so "
    "its mean answer is the one to the mean training vector, which the recipe stores as the "
    "fusion's 'missing' vector; a sample that lacks a modality is treated the same."
)
ALTERNATIVES = (
    "The reports hold two alternatives beside it: 'marginal' with {donors} donors, the same "
    "question asked by sampling, and the practice of papers (silence, [MASK], resting values), "
    "inputs that no model here was trained on. The dominant modality changes under them in "
    "{changes} of the samples: where a row is called baseline-dependent, see which one made it so."
)
DROPOUT = (
    "Departure from the source: trained with modality dropout of {:g}, each model has learnt what "
    "to say of a sample without its modality, and 'absent' means that."
)
PRACTICE = {"audio": "silence", "text": "mask", "bio": "baseline"} | dict.fromkeys(BODY, "baseline")
"""What papers put in place of a modality; no model here has been trained on it."""
EXPLAINED: Mapping[str, tuple[str, ...]] = {"three": COMBINATIONS["all"], "five": SPLIT["all five"]}
LATENCY = 16
"""Utterances that latency is measured on."""


def run(options: Options, settings: Settings | None = None) -> dict[str, Any]:
    """Train each modality alone, combine, score every combination, explain with M = 3 and M = 5.

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
    corpus, kept = system.corpus, system.run
    for line in system.about:
        kept.say(line)
    numbers = range(options.seeds or 1)
    seeds = [system.scores(seed) for seed in numbers]
    every = {name: [system.report(name, seed) for seed in numbers] for name in EXPLAINED}
    reports = {name: found[0] for name, found in every.items()}
    reports["three"].save_html(kept.folder / "report.html")
    reports["five"].save_html(kept.folder / "report_five.html")
    scores, gains = [one["scores"] for one in seeds], [one["gains"] for one in seeds]
    tables = [
        results.scores_table(scores, corpus.name, chosen),
        results.gains_table(gains, corpus.name),
    ]
    errors = {}
    for name, report in reports.items():
        kept.figure(f"shares-{name}", report.figure())
        if report.gold:
            table, errors[name] = results.planted(every[name], corpus.name)
            tables.append(table)
    kept.figure("scores", results.scores_figure(scores[0], corpus.name))
    quick = system.latency()
    changes = {name: system.changes(report) for name, report in reports.items()}
    about = [
        *system.about,
        *(
            f"{name.capitalize()} modalities. "
            + ALTERNATIVES.format(
                donors=chosen.donors,
                changes=", ".join(f"{100 * part:.0f} % ({kind})" for kind, part in one.items()),
            )
            for name, one in changes.items()
        ),
    ]
    figures = {
        "about": about,
        "encoders": system.encoders(),
        "scores": scores,
        "gains": gains,
        "shares": {
            name: {row.label: dict(row.share) for row in report.shares()}
            for name, report in reports.items()
        },
        "planted": {name: {k: dict(v) for k, v in reports[name].gold.items()} for name in errors},
        "planted_error": errors,
        "dominant_changes": changes,
        "latency": quick,
    }
    kept.tables(tables)
    kept.metrics(figures)
    told = [*(report.table() for report in reports.values()), *about[len(system.about) :]]
    kept.say("\n\n".join(["", *told, quick["said"]]))
    return figures


class System:
    """The stages, each kept in the run's folder once it is done."""

    def __init__(self, options: Options, settings: Settings) -> None:
        self.options, self.settings = options, settings
        self.run = Run("late-fusion", options, asdict(settings))
        self.checkpoints = self.run.checkpoints()
        self.corpora: dict[int, Corpus] = {}

    @property
    def corpus(self) -> Corpus:
        """That of the first seed."""
        return self.dealt(0)

    def dealt(self, seed: int) -> Corpus:
        """The corpus as one seed splits it."""
        if seed not in self.corpora:
            folder = self.options.data
            self.corpora[seed] = (
                synthetic(self.settings, seed)
                if folder is None
                else kemdy19(folder, self.settings, seed)
            )
        return self.corpora[seed]

    @property
    def about(self) -> list[str]:
        """What a reader of the figures must know."""
        dropout = self.settings.modality_dropout
        said = [DROPOUT.format(dropout) if dropout else REFERENCE]
        if self.corpus.leak:
            said.append(f"The split may leak, so that scores are too high: {self.corpus.leak}.")
        return said

    def alone(self, modality: str, seed: int) -> Path:
        """The folder of one modality's model, trained on that modality alone."""
        name = f"seed-{seed}/{modality}"

        def trained(place: Path) -> mx.EmotionModel:
            corpus, settings = self.dealt(seed), self.settings
            samples = corpus.train.only(modality)
            body = modality == "bio" or modality in BODY
            scale = standards(corpus.train, modality) if body else None
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                model = unimodal(modality, settings, self.checkpoints, corpus.labels, scale)
            model.to(self.options.device)
            fit(
                Objective(model, EmotionLoss()),
                samples,
                model.collate,
                replace(settings.training(modality), seed=seed),
                folder=place / "fit",
                title=None if self.options.quiet else name,
            )
            if not settings.modality_dropout:
                settle(model, samples)
            return model

        self.run.model(name, trained)
        return self.run.place(name) / "model"

    def combined(self, modalities: Sequence[str], seed: int = 0) -> mx.EmotionModel:
        """The late fusion of models that were trained alone."""
        folders = {name: self.alone(name, seed) for name in modalities}
        model = mx.EmotionModel.combine(folders, self.settings.combine)
        return model.to(self.options.device).eval()

    def scores(self, seed: int) -> dict[str, Any]:
        """Accuracy and F1 of every combination on the test part, and what all have over fewer."""
        for modality in ("audio", "text", "bio", *BODY):
            self.alone(modality, seed)

        def scored(_: Path) -> dict[str, Any]:
            corpus = self.dealt(seed)
            said = {
                name: predicted(self.combined(modalities, seed), corpus.test)
                for name, modalities in {**COMBINATIONS, **SPLIT}.items()
            }
            told = [annotate(corpus.labels, labels) for labels in corpus.test.column("labels")]
            card = score_card(
                Prediction(said.pop("all"), corpus.labels),
                Targets(*(torch.stack(one) for one in zip(*told, strict=True))),
                baselines={name: Prediction(one, corpus.labels) for name, one in said.items()},
                clusters=corpus.test.column("speaker"),
                leak=corpus.leak,
            )
            self.run.say(str(card))
            rows = {
                "accuracy": card.row("weighted accuracy"),
                "F1": card.row(f"{self.settings.average} F1"),
            }
            return {
                "scores": {
                    "all" if name == "model" else name: {
                        metric: row.scores[name].value for metric, row in rows.items()
                    }
                    for name in ("model", *said)
                },
                "gains": {
                    name: {metric: asdict(row.gains[name]) for metric, row in rows.items()}
                    for name in said
                },
            }

        return self.run.stage(f"seed-{seed}/scores", scored)

    def report(self, name: str, seed: int = 0) -> Report:
        """Who decides, of three modalities or of five; exact, under three removals."""
        modalities, stage = EXPLAINED[name], f"seed-{seed}/explained-{name}"

        def explained(place: Path) -> dict[str, Any]:
            corpus = self.dealt(seed)
            model, samples = self.combined(modalities, seed), corpus.test.only(*modalities)
            donors = corpus.train.only(*modalities)
            practice = {one: PRACTICE[one] for one in modalities}
            for kind, asked in (
                ("absent", {"removal": "absent"}),
                (
                    "marginal",
                    {
                        "removal": "marginal",
                        "background": [donors[i] for i in range(0, len(donors), 4)],
                        "draws": self.settings.donors,
                    },
                ),
                ("practice", {"removal": practice}),
            ):
                mx.explain(model, samples, batch_size=32, **asked).save(place / kind)
            return {}

        self.run.stage(stage, explained)
        first, *others = (
            Explanation.load(self.run.place(stage) / kind)
            for kind in ("absent", "marginal", "practice")
        )
        return Report(first, alternatives=others, gold=self.planted(name))

    def changes(self, report: Report) -> dict[str, float]:
        """By alternative removal, in what part of the samples another modality dominates."""
        own = dominant(report.explanation)
        return {
            kind: float((dominant(other) != own).double().mean())
            for kind, other in zip(("marginal", "practice"), report.alternatives, strict=True)
        }

    def planted(self, name: str) -> dict[str, dict[str, float]]:
        """The true shares, of synthetic speech; none of a real corpus."""
        rule = self.corpus.rule
        if rule is None:
            return {}
        channels: dict[str, Sequence[str]] = {"audio": ["tone"], "text": ["content"], "bio": BODY}
        if name == "five":
            channels = {"audio": ["tone"], "text": ["content"], **{one: [one] for one in BODY}}
        # The mean answer in place of a modality; with dropout, what is known without it.
        removal: Any = "absent" if self.settings.modality_dropout else "marginal"
        found = tonebench.gold(rule, channels=channels, removal=removal)
        return {label: dict(one.share) for label, one in found.items() if one.reason is None}

    def encoders(self) -> dict[str, str]:
        """What each modality's encoder is."""
        model = self.combined(SPLIT["all five"])
        made = {name: type(model.encoder(name)).__name__ for name in model.modalities}
        return made | self.checkpoints.describe()

    def latency(self) -> dict[str, Any]:
        """Of all three together, for whole utterances and for windows of one second."""

        def measured(_: Path) -> dict[str, Any]:
            test = self.corpus.test.only("audio")
            samples = [test[index] for index in range(min(LATENCY, len(test)))]
            found = mx.evaluation.latency(self.combined(COMBINATIONS["all"]), samples)
            return asdict(found) | {"said": str(found), "device": self.options.device}

        return self.run.stage("latency", measured)


def settle(model: mx.EmotionModel, samples: Utterances) -> None:
    """Put the mean training vector in the place of a missing one, see `REFERENCE`."""
    (name,) = model.modalities
    fusion: Any = model.fusion
    model.eval()
    with torch.no_grad():
        pooled = [
            fusion.pooled(name, model.encode_one(name, batch.to(model.device)[name])).double()
            for batch in batches(model.collate, samples, 32)
        ]
        fusion.missing[name].copy_(torch.cat(pooled).mean(0))


def dominant(explanation: Explanation) -> Tensor:
    """The modality with the largest contribution to the predicted label, int [N]."""
    phi = explanation.shapley().totals.abs()
    rows = torch.arange(len(phi))
    return phi[rows, explanation.scores[-1].argmax(-1)].argmax(-1)


def predicted(model: mx.EmotionModel, samples: Utterances) -> Tensor:
    """Scores [N, K]; NaN for a sample that has none of the model's modalities."""
    usable = samples.only(*model.modalities)
    found = model.predict(usable, batch_size=32).scores.float().cpu()
    rows = {name: row for row, name in enumerate(samples.column("id"))}
    scores = torch.full((len(samples), len(model.labels)), torch.nan)
    scores[[rows[name] for name in usable.column("id")]] = found
    return scores

"""S2, consistency regularisation: a model of emotion that bears a recogniser's errors.

Every utterance has two texts, what was said and what a recogniser heard. Models trained on the
recogniser's words lose; a model trained on the true ones, and to say the same on the others, loses
less. On AI-Hub's multimodal video set, on a ``manifest.csv`` of recordings, or on synthetic speech
with a planted truth.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

import modalxai as mx
from modalxai.datasets import random_split
from modalxai.evaluation import latency
from modalxai.metrics import confusion, weighted_accuracy, weighted_f1
from modalxai.protocols import Samples
from modalxai.recipes.checkpoints import Checkpoints
from modalxai.recipes.consistency import analysis as analysis
from modalxai.recipes.consistency import tables as tables
from modalxai.recipes.consistency.data import Talk, View, larger, read
from modalxai.recipes.consistency.models import FUSIONS, TRUE, Maker, System, fused, systems
from modalxai.recipes.consistency.settings import Settings, settings_for
from modalxai.recipes.memory import forget
from modalxai.recipes.options import Options
from modalxai.recipes.runs import Run
from modalxai.training import ConsistencyCollate, fit

PARTS = ("train", "dev", "test")
SHALLOW = fused("shallow")
"""The model that the paper's contributions are of: Shallow Fusion on true text."""
BACKGROUND = 100
"""Training samples that lend their features where a modality is removed."""
CLOCKED = 10
"""Utterances whose latency is measured."""
ALL = "mean of the three"


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
    run = Run("consistency", options, asdict(chosen))
    talk = read(options.data, chosen)
    checkpoints = Checkpoints(options.checkpoints, options.encoder_size)
    maker = Maker(chosen, checkpoints, talk.labels, talk.samples, talk.columns)
    study = Study(run, chosen, talk, maker)
    results = {
        one.key: [study.stage(seed, one) for seed in range(chosen.seeds)] for one in systems(chosen)
    }
    shares = [study.contributions(seed) for seed in range(chosen.seeds)]
    report = study.explain()
    return study.conclude(results, shares, report)


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

    def explain(self) -> mx.Report:
        """A Shallow Fusion that has seen "absent", explained on the test part of seed 0.

        On synthetic speech it learns from more utterances than the compared ones: the planted
        truth is that of a model that has learnt it.
        """
        chosen = self.settings
        if self.talk.rule is not None and not self.talk.larger:
            talk = larger(self.talk, chosen)
            maker = Maker(chosen, self.maker.checkpoints, talk.labels, talk.samples, {})
            return Study(self.run, chosen, talk, maker).explain()

        def trained(place: Path) -> mx.EmotionModel:
            model = self.maker.model(SHALLOW, 0, dropout=chosen.explained_dropout)
            model.to(self.run.options.device)
            self.train(model, SHALLOW, 0, place / "training", chosen.explained_epochs)
            return forget(model)

        model = self.run.model("explained", trained)
        parts = self.parts(0)
        background = _some(parts["train"], BACKGROUND)
        explanation, *others = (
            mx.explain(
                model,
                parts["test"],
                removal=removal,
                background=background,
                draws=draws,
                batch_size=32,
            )
            for removal, draws in (("absent", 1), ("mean", 1), ("marginal", chosen.donors))
        )
        report = mx.Report(
            explanation,
            cluster="speaker",
            alternatives=others,
            gold=analysis.planted(self.talk.rule, "absent", "predicted"),
        )
        report.save_html(self.run.folder / "report.html")
        self.run.say(report.table())
        return report

    def conclude(
        self,
        results: Mapping[str, Sequence[Mapping[str, Any]]],
        shares: Sequence[Mapping[str, Mapping[str, float]]],
        report: mx.Report,
    ) -> dict[str, Any]:
        """Tables, figures, metrics."""
        every = systems(self.settings)
        scores = {
            (one.key, words): {
                kind: [seed[words][kind] for seed in results[one.key]] for kind in found
            }
            for one in every
            for words, found in results[one.key][0].items()
        }
        recovered = {name: self._recoveries(scores, name) for name in self.talk.columns}
        right = {TRUE: analysis.recalls(scores[SHALLOW.key, TRUE]["confusion"])}
        drawn: dict[str, dict[str, Any]] = {}
        for name in self.talk.columns:
            plain, helped = (fused("shallow", name, consistency) for consistency in (False, True))
            right[f"{name}, plain"] = analysis.recalls(scores[plain.key, name]["confusion"])
            right[f"{name}, loss"] = analysis.recalls(scores[helped.key, name]["confusion"])
            drawn[name] = {
                "true text": scores[SHALLOW.key, TRUE]["confusion"],
                "trained on recognised text": scores[plain.key, name]["confusion"],
                "with the consistency loss": scores[helped.key, name]["confusion"],
            }
        audio = analysis.audio_shares(self.talk.rule, shares, report)
        note = f"{self.talk.name}, {self.settings.seeds} seeds"
        self.run.tables(
            [
                tables.scores_table(f"Emotion, {note}", every, scores),
                tables.recovery_table(f"Points of weighted F1, {note}", recovered),
                tables.rates_table(f"Recognisers, error rates in %, {note}", self.talk.rates),
                tables.labels_table(
                    f"Audio's share and part right, in %, Shallow Fusion, {note}",
                    self.talk.labels,
                    audio,
                    right,
                ),
            ]
        )
        drop = {n: right[TRUE] - right[f"{n}, plain"] for n in self.talk.columns}
        gain = {n: right[f"{n}, loss"] - right[f"{n}, plain"] for n in self.talk.columns}
        labels = self.talk.labels
        self.run.figure("confusions", analysis.confusion_figure(labels, drawn))
        self.run.figure("contributions", analysis.contribution_figure(labels, audio, drop, gain))
        wait = latency(self._shallow(0).cpu(), _some(self.parts(0)["test"], CLOCKED))
        figures = {
            "corpus": self.talk.name,
            "utterances": len(self.talk.samples),
            "labels": labels,
            "rates": self.talk.rates,
            "scores": {f"{key}, tested on {words}": one for (key, words), one in scores.items()},
            "recovery": {
                name: {fusion: asdict(one) for fusion, one in found.items()}
                for name, found in recovered.items()
            },
            "audio_share": audio,
            "right": right,
            "text_share_and_drop": {
                name: analysis.rank_correlation(audio[analysis.GRAD_CAM], drop[name], labels)
                for name in drop
            },
            "report": [
                {"label": row.label, "share": row.share, "n": row.n, "flags": row.flags}
                for row in report.shares()
            ],
            "planted_errors": analysis.planted_errors(report),
            "latency": asdict(wait),
            "checkpoints": self.maker.checkpoints.describe(),
            "departures": self.departures(),
        }
        self.run.metrics(figures)
        self.run.say(f"\nLatency, Shallow Fusion: {wait}\n" + "\n".join(self.departures()))
        return figures

    def _recoveries(
        self, scores: Mapping[tuple[str, str], Any], name: str
    ) -> dict[str, analysis.Recovery]:
        """By fusion, and of their mean."""

        def f1(system: System) -> np.ndarray:
            return np.array(scores[system.key, system.words]["f1"])

        made = [
            np.array([f1(fused(fusion)), f1(fused(fusion, name)), f1(fused(fusion, name, True))])
            for fusion in FUSIONS
        ]
        found = {
            fusion: analysis.recovery(*one.tolist())
            for fusion, one in zip(FUSIONS, made, strict=True)
        }
        return found | {ALL: analysis.recovery(*np.mean(made, axis=0).tolist())}

    def departures(self) -> list[str]:
        """Where this run is not the paper's, in sentences."""
        chosen = self.settings
        told = [
            "Open in the source, and chosen here: "
            f"lambda {chosen.weight:g}, KL {chosen.direction}, "
            f"stop-gradient {chosen.stop_gradient or 'none'}.",
            f"The report's model was trained with modality dropout {chosen.explained_dropout:g}, "
            "so that it has seen 'absent'; the compared models with "
            f"{chosen.modality_dropout:g}.",
            *(
                [
                    f"The report's model learns from {chosen.explained_samples} utterances of the "
                    "same planted truth, split alike: it can only be held against what it has "
                    "learnt."
                ]
                if self.talk.rule
                else []
            ),
            "Grad-CAM's shares are the paper's practice and no property of the model's function; "
            "the Shapley shares are.",
        ]
        if chosen.audio_trainable == "none":
            told.append(
                "wav2vec 2.0 is fine-tuned in the source. Here it is frozen, and a convolution and "
                "a transformer layer behind it learn in its place."
            )
        if any(one.plugin == "simulated" for one in chosen.recognisers):
            told.append(
                "The recognisers are simulated: they corrupt the true text at the character error "
                "rates of the paper's services, evenly, which makes more words wrong than theirs."
            )
        return told


def _some(samples: Samples, most: int) -> list[Any]:
    """So many, evenly through the samples."""
    step = max(1, len(samples) // most)
    return [samples[row] for row in range(0, len(samples), step)][:most]

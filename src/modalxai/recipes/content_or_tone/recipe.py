"""Content or tone: do emotion models listen to what is said, or to how it is said?

DistilBERT reads and wav2vec 2.0 hears (mel-cnn, in the other model). Words or voice are removed in
four ways; words, moments, tiles and prosodic features are weighed; shares are told by emotion,
by situation and beside people's; a bias is found and corrected, and the model made smaller. On
MELD, on a manifest, or on synthetic speech whose truth is planted.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

import modalxai as mx
from modalxai.recipes.content_or_tone import analyses as analyses
from modalxai.recipes.content_or_tone import changes as changes
from modalxai.recipes.content_or_tone import comparisons as comparisons
from modalxai.recipes.content_or_tone import data as data
from modalxai.recipes.content_or_tone import models as models
from modalxai.recipes.content_or_tone import results as results
from modalxai.recipes.content_or_tone import synthetic as synthetic
from modalxai.recipes.content_or_tone.data import Corpus
from modalxai.recipes.content_or_tone.models import BATCH
from modalxai.recipes.content_or_tone.settings import Settings, kind_of, settings_for
from modalxai.recipes.options import Options
from modalxai.recipes.runs import Run
from modalxai.report import Report, figures
from modalxai.training import FitSettings

KOREAN = "klue"
"""The text encoder of the model that hears the phrase."""


def run(options: Options, settings: Settings | None = None) -> dict[str, Any]:
    """Train, remove, explain, compare, correct, slim; print the tables.

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
    model = system.trained("model", system.settings.encoders)
    scored = {system.settings.encoders: system.scores("model", model)}
    mapped, name = model, "model"
    if system.settings.alternative:
        mapped, name = system.trained("alternative", system.settings.alternative), "alternative"
        scored[system.settings.alternative] = system.scores("alternative", mapped)
    report = system.report("model", model)
    shares = system.shares(report)
    found: dict[str, Any] = {
        "about": system.about(),
        "scores": scored,
        "shares": shares,
        "masking": system.masking(model),
        "words": system.words(model),
        "spectrogram": system.spectrogram(name, mapped),
        "prosody": system.prosody(model),
        "mismatch": system.mismatch(report),
        "phrase": system.phrase(),
        "situations": system.situations(model),
        "humans": system.humans(report),
        "bias": changes.bias(system, model),
        "slim": changes.slim(system, model),
        "latency": system.latency("model", model),
        "checkpoints": system.run.checkpoints().describe(),
        "further seeds": [
            again(options, replace(chosen, seed=chosen.seed + more))
            for more in range(1, options.seeds or 1)
        ],
    }
    report.save_html(system.run.folder / "report.html")
    system.run.figure("shares", report.figure())
    system.run.tables(results.tables(found, system.corpus.name))
    system.run.metrics(found)
    skipped = [
        f"{key}: skipped, {one['skipped']}" for key, one in found.items() if "skipped" in one
    ]
    system.run.say("\n".join(["", *results.share_lines(shares), "", report.table(), "", *skipped]))
    system.run.say(found["latency"]["said"])
    return found


def again(options: Options, settings: Settings) -> dict[str, Any]:
    """Scores and shares of one more seed: other weights, other voices or another split."""
    place = options.out / f"seed-{settings.seed}"
    system = System(replace(options, out=place, seeds=None), settings)
    model = system.trained("model", settings.encoders)
    shares = system.shares(changes.plain_report(system, "model", model))
    return {"seed": settings.seed, "scores": system.scores("model", model), "shares": shares}


class System:
    """The stages, each kept in the run's folder once it is done."""

    def __init__(self, options: Options, settings: Settings) -> None:
        self.options, self.settings = options, settings
        self.run = Run("content-or-tone", options, asdict(settings))
        if options.data is None:
            self.corpus = synthetic.synthetic(settings)
        elif kind_of(options.data) == "meld":
            self.corpus = data.meld(options.data, settings)
        else:
            self.corpus = data.manifest(options.data, settings)
        self.audible = "audio" in models.modalities(settings.encoders)

    def about(self) -> str:
        """On what, and how it departs from the source."""
        said = [
            f"Content or tone on {self.corpus.name}: {self.settings.encoders}, "
            f"{self.options.checkpoints} checkpoints, seed {self.settings.seed}."
        ]
        if self.settings.modality_dropout:
            said.append(
                f"Departure: modality dropout {self.settings.modality_dropout}, without which "
                "'absent' is nothing that the model has seen; the source has none."
            )
        return " ".join([*said, *self.corpus.said])

    # --- models -------------------------------------------------------------------------------

    def trained(
        self,
        name: str,
        encoders: str,
        corpus: Corpus | None = None,
        *,
        start: mx.EmotionModel | None = None,
        training: FitSettings | None = None,
        losing: models.Losing = models.plain,
        without: str | None = None,
        language: str = "en",
    ) -> mx.EmotionModel:
        """The model of a stage, trained now or before; from ``start`` on, if there is one."""
        known = self.corpus if corpus is None else corpus
        chosen = training or models.training_of(encoders, self.settings)

        def make(place: Path) -> mx.EmotionModel:
            # A copy: the model that it starts from is looked at afterwards.
            model = copy.deepcopy(start)
            if model is None:
                source = self.run.checkpoints(language)
                model = models.build(encoders, known.emotions, self.settings, source, without)
            return models.train(
                model.to(self.options.device), known, replace(chosen, seed=self.settings.seed),
                place / "fit", losing=losing, memory=self.settings.memory,
                title=None if self.options.quiet else name,
            )  # fmt: skip

        return self.run.model(name, make)

    def explained(
        self,
        name: str,
        model: mx.EmotionModel,
        samples: Any,
        removal: Any,
        draws: int | None = None,
    ) -> mx.Explanation:
        """The table of all coalitions, made now or before; with ``draws``, of others' features."""

        def make(place: Path) -> Mapping[str, Any]:
            known = None if draws is None else self.spread(self.corpus.train, 160)
            mx.explain(
                model, models.within(samples, model), removal=removal,
                background=None if known is None else models.within(known, model),
                draws=1 if known is None else min(draws or 1, len(known)), batch_size=BATCH,
            ).save(place / "explanation")  # fmt: skip
            return {}

        self.run.stage(f"explained/{name}", make)
        return mx.Explanation.load(self.run.place(f"explained/{name}") / "explanation")

    @property
    def removal(self) -> Any:
        """The first removal: what the model has seen in training, else silence and masks."""
        if self.settings.modality_dropout:
            return "absent"
        return {"audio": "silence", "text": "mask"} if self.audible else {"text": "mask"}

    @property
    def heard(self) -> Any:
        """The test part as recorded; the noisy half is a situation of its own."""
        test = self.corpus.test
        if "noise" not in self.corpus.situations:
            return test
        return [one for one in test if one["noise"] == "clean"]

    def some(self, count: int) -> list[Any]:
        """So many of them, evenly spread."""
        return self.spread(self.heard, count)

    @staticmethod
    def spread(samples: Any, count: int) -> list[Any]:
        """So many samples, evenly spread."""
        rows = np.linspace(0, len(samples) - 1, min(count, len(samples)))
        return [samples[int(row)] for row in rows]

    # --- what the models say ------------------------------------------------------------------

    def scores(self, name: str, model: mx.EmotionModel) -> dict[str, Any]:
        """Accuracy and F1, with both modalities and with one."""
        explanation = self.explained(f"{name}/first", model, self.heard, self.removal)
        found = self.run.stage(f"scores/{name}", lambda _: analyses.scores(explanation))
        f1 = {
            label: {heard: one["by_emotion"].get(label, math.nan) for heard, one in found.items()}
            for label in self.corpus.emotions
        }
        self.run.figure(f"f1-{name}", results.bar_figure(f1, "F1"))
        return found

    def report(self, name: str, model: mx.EmotionModel) -> Report:
        """Shares by emotion under three removals, on synthetic speech beside the planted ones."""
        first = self.explained(f"{name}/first", model, self.heard, self.removal)
        others = [
            self.explained(f"{name}/{how}", model, self.heard, how, draws)
            for how, draws in (("mean", 1), ("marginal", self.settings.donors))
        ]
        gold = self.corpus.planted
        return Report(first, cluster=self.corpus.cluster, alternatives=others, gold=gold)

    def shares(self, report: Report) -> dict[str, Any]:
        """By emotion the share of each modality, and how far the audio's is from the planted."""
        found: dict[str, Any] = {}
        for row in report.shares():
            planted = self.corpus.planted.get(row.label, {}).get("audio")
            found[row.label] = {
                "share": row.share, "low": row.low, "high": row.high, "n": row.n,
                "planted": planted, "reason": row.reason, "flags": row.flags,
                "apart": None if planted is None else abs(row.share["audio"] - planted),
            }  # fmt: skip
        return found

    def masking(self, model: mx.EmotionModel) -> dict[str, Any]:
        """[MASK] or an empty sentence, silence or noise."""

        def explained(removal: Mapping[str, str]) -> mx.Explanation:
            name = "-".join(removal.values())
            return self.explained(f"model/{name}", model, self.heard, dict(removal))

        found = self.run.stage("masking", lambda _: analyses.masking(explained, model.modalities))
        by = {name: one["by_emotion"] for name, one in found.items()}
        labels = sorted({label for one in by.values() for label in one})
        bars = {
            label: {name: one.get(label, math.nan) for name, one in by.items()} for label in labels
        }
        self.run.figure("masking", results.bar_figure(bars, "change of p when removed"))
        return found

    def words(self, model: mx.EmotionModel) -> dict[str, Any]:
        """Which words and segments push the emotion."""
        samples = self.some(self.settings.explained)

        def make(_: Path) -> Mapping[str, Any]:
            read, rule = models.within(samples, model), self.corpus.rule
            found = analyses.contributions(model, read, rule, self.settings.budget)
            self.run.figure("words", figures.utterance(read[0], found.pop("found")))
            return found

        return self.run.stage("words", make)

    def spectrogram(self, name: str, model: mx.EmotionModel) -> dict[str, Any]:
        """Which times and frequencies, in a model whose encoder has them."""
        encoders = self.settings.alternative if name == "alternative" else self.settings.encoders
        if models.modalities(encoders or "").get("audio") != "mel-cnn":
            return {"skipped": "no encoder with time-frequency maps"}
        samples = self.some(self.settings.pictured)

        def make(_: Path) -> Mapping[str, Any]:
            found = analyses.spectrogram(model, samples, self.removal)
            maps, pictures = found.pop("maps"), found.pop("pictures")
            self.run.figure("spectrogram", results.spectrogram_figure(maps, samples, pictures))
            return found

        return self.run.stage("spectrogram", make)

    def prosody(self, model: mx.EmotionModel) -> dict[str, Any]:
        """Pitch, rate and intensity, each against the placebo."""
        if not self.audible or not self.settings.edited:
            return {"skipped": "no voice to edit" if self.settings.edited else "not asked for"}
        samples = self.some(self.settings.edited)
        usual = [one["audio"] for one in self.spread(self.corpus.train, 12)]

        def make(_: Path) -> Mapping[str, Any]:
            return analyses.prosody(model, samples, usual, self.removal)

        found = self.run.stage("prosody", make)
        if "skipped" not in found:
            names = [name for name in found["players"] if name != "words"]
            bars = {
                label: dict(zip(names, one["size"][1:], strict=True))
                for label, one in found["by_emotion"].items()
            }
            self.run.figure("prosody", results.bar_figure(bars, "mean |Shapley value|, nats"))
        return found

    def mismatch(self, report: Report) -> dict[str, Any]:
        """Where words and voice disagree, and who wins."""
        return self.run.stage("mismatch", lambda _: comparisons.mismatch(report))

    def phrase(self) -> dict[str, Any]:
        """One sentence of praise in four tones, to a model that has learnt Korean and sarcasm."""
        if self.options.data is not None or not self.audible:
            return {"skipped": "the phrase is spoken to a model of synthetic speech"}
        corpus = synthetic.phrase_corpus(self.settings)
        voice = models.modalities(self.settings.encoders)["audio"]
        model = self.trained("phrase", f"{voice}+{KOREAN}", corpus, language="ko")
        explanation = self.explained("phrase/first", model, corpus.test, self.removal)
        found = self.run.stage("phrase/tones", lambda _: comparisons.phrase(explanation))
        bars = {
            f"{tone}: {one['deserved']}": {"audio": one["audio"], "text": one["text"]}
            for tone, one in found["tones"].items()
        }
        self.run.figure("phrase", results.bar_figure(bars, "evidence, nats"))
        report = Report(explanation, by=("predicted", "tone"), cluster="speaker")
        report.save_html(self.run.folder / "report-phrase.html")
        return found

    def situations(self, model: mx.EmotionModel) -> dict[str, Any]:
        """Which signal serves by noise, speaker and context."""
        asked = self.corpus.situations
        if not self.audible or not asked:
            return {"skipped": "one modality" if asked else "no situations are known"}
        explanation = self.explained("model/everywhere", model, self.corpus.test, self.removal)
        report = Report(explanation, by=("predicted", asked[0]), cluster=self.corpus.cluster)
        report.save_html(self.run.folder / f"report-{asked[0]}.html")
        heard = self.explained("model/first", model, self.heard, self.removal)

        def make(_: Path) -> Mapping[str, Any]:
            return comparisons.situations(explanation, asked[:1]) | comparisons.situations(
                heard, asked[1:]
            )

        return self.run.stage("situations", make)

    def humans(self, report: Report) -> dict[str, Any]:
        """People beside the model."""
        return self.run.stage("humans", lambda _: comparisons.humans(report, self.corpus.rule))

    def latency(self, name: str, model: mx.EmotionModel) -> dict[str, Any]:
        """Seconds per utterance on a CPU, whole and in windows of a second."""

        def make(_: Path) -> Mapping[str, Any]:
            measured = mx.evaluation.latency(
                model.cpu(), models.within(self.some(self.settings.timed), model)
            )
            model.to(self.options.device)
            return {**asdict(measured), "said": str(measured)}

        return self.run.stage(f"{name}/latency", make)

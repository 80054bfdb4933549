"""What follows from the analyses of recipe S0: a bias corrected, a model made smaller."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import modalxai as mx
from modalxai.recipes.content_or_tone import analyses as analyses
from modalxai.recipes.content_or_tone import models as models
from modalxai.recipes.content_or_tone import synthetic as synthetic
from modalxai.recipes.content_or_tone.comparisons import LITTLE
from modalxai.report import Report, find_bias
from modalxai.training import BalancedEvidence, EmotionLoss

if TYPE_CHECKING:
    from modalxai.recipes.content_or_tone.recipe import System


def bias(system: System, model: mx.EmotionModel) -> dict[str, Any]:
    """Find emotions that lean too much on one modality; train against it; look again.

    On synthetic speech the bias is planted: another model learns from raters who go by the voice,
    and is held against the true shares. On real data the reference is the model's own share over
    all emotions.
    """
    if not system.audible:
        return {"skipped": "one modality"}
    corpus, encoders = system.corpus, system.settings.encoders
    reference: Any = corpus.planted or "corpus"
    if corpus.rule is not None:
        corpus = synthetic.biased_corpus(system.settings)
        model = system.trained("biased", encoders, corpus)
    before = plain_report(system, "biased" if corpus.rule else "model", model)
    found = {one.label: one for one in find_bias(before, reference) if one.modality == "audio"}
    if not any(one.differs for one in found.values()):
        return {"skipped": "no emotion differs from the reference"}
    # Fixed from here on: the corrected model's own share over all emotions is another one.
    reference = {
        label: {"audio": one.reference, "text": 1 - one.reference}
        for label, one in found.items()
        if not math.isnan(one.reference)
    }
    wanted = {
        label: shares
        for label, shares in reference.items()
        if found[label].differs or corpus.rule is not None
    }

    def losing(light: mx.EmotionModel) -> Any:
        return BalancedEvidence(light, EmotionLoss(), wanted, system.settings.balance)

    corrected = system.trained(
        "corrected", encoders, corpus, start=model, training=system.settings.tuning, losing=losing
    )
    after = plain_report(system, "corrected", corrected)
    after.save_html(system.run.folder / "report-corrected.html", before=before)
    again = {one.label: one for one in find_bias(after, reference) if one.modality == "audio"}
    f1 = {
        name: analyses.scores(one.explanation)["all"]["macro F1"]
        for name, one in (("before", before), ("after", after))
    }
    return {
        "scores": f1,
        "wanted": wanted,
        "labels": {
            label: {
                "reference": one.reference, "before": one.share, "p": one.p_holm,
                "differs": one.differs, "after": again[label].share if label in again else math.nan,
                "p_after": again[label].p_holm if label in again else math.nan,
            }
            for label, one in found.items()
        },
    }  # fmt: skip


def plain_report(system: System, name: str, model: mx.EmotionModel) -> Report:
    """One removal; on synthetic speech against what the rule says, without one rater's noise."""
    explanation = system.explained(f"{name}/first", model, system.heard, system.removal)
    truth = "labels" if system.corpus.rule is None else "rule_label"
    return Report(explanation, truth=truth, cluster=system.corpus.cluster)


def slim(system: System, model: mx.EmotionModel) -> dict[str, Any]:
    """Without the modality, or the upper layers, that contribute least; tuned a little after.

    Each candidate is measured as it is first; the best of either kind is then tuned.
    """
    before = system.explained("model/first", model, system.heard, system.removal)
    f1 = analyses.scores(before)["all"]["macro F1"]
    candidates: dict[str, mx.EmotionModel] = {}
    costs = {}
    for modality in model.modalities:
        layers = models.layers_of(model, modality)
        if layers > 1:
            name = f"{modality}, lower {layers // 2} of {layers} layers"
            made = models.shortened(model, modality, layers // 2)
            candidates[name] = made
            explained = system.explained(place(name), made, system.heard, system.removal)
            costs[name] = f1 - analyses.scores(explained)["all"]["macro F1"]
    if system.audible:
        alone = analyses.scores(before)
        for gone, kept in (("audio", "text"), ("text", "audio")):
            costs[f"without {gone}"] = f1 - alone[f"{kept} alone"]["macro F1"]
    kinds = [
        [name for name in costs if name.startswith("without") is dropped]
        for dropped in (True, False)
    ]
    rows = {"everything": row(system, "model", model)}
    for least in (min(names, key=lambda name: costs[name]) for names in kinds if names):
        rows[least] = row(system, f"{place(least)}/tuned", tuned(system, least, candidates))
    if len(rows) == 1:
        return {"skipped": "one modality, and no numbered layers"}
    near = [
        n for n, one in rows.items() if one["macro F1"] >= rows["everything"]["macro F1"] - LITTLE
    ]
    chosen = min(near, key=lambda name: rows[name]["parameters"])
    return {"untuned": costs, "models": rows, "chosen": chosen}


def place(name: str) -> str:
    """A candidate's folder."""
    return "slim/" + name.replace(",", "").replace(" ", "-")


def tuned(system: System, name: str, candidates: Mapping[str, mx.EmotionModel]) -> mx.EmotionModel:
    """A smaller model after some more training."""
    encoders, stage = system.settings.encoders, f"{place(name)}/tuned"
    if name in candidates:
        return system.trained(
            stage, encoders, start=candidates[name], training=system.settings.tuning
        )
    gone = name.removeprefix("without ")
    training = models.halved(models.training_of(encoders, system.settings))
    return system.trained(stage, encoders, training=training, without=gone)


def row(system: System, name: str, model: mx.EmotionModel) -> dict[str, Any]:
    """What a model can do, and what it costs."""
    explanation = system.explained(f"{name}/first", model, system.heard, system.removal)
    scores, timed = analyses.scores(explanation)["all"], system.latency(name, model)
    return {
        "macro F1": scores["macro F1"],
        "accuracy": scores["accuracy"],
        "parameters": models.parameters(model),
        "ms per utterance": 1000 * timed["seconds"],
        "real-time factor": timed["real_time_factor"],
    }

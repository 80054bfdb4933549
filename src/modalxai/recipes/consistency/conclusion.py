"""What recipe S2 writes once its models are trained: tables, figures, ``metrics.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

import modalxai as mx
from modalxai.recipes.consistency import analysis as analysis
from modalxai.recipes.consistency import tables as tables
from modalxai.recipes.consistency.models import FUSIONS, SHALLOW, TRUE, System, fused, systems
from modalxai.recipes.consistency.settings import Settings

if TYPE_CHECKING:
    from modalxai.recipes.consistency.recipe import Study

ALL = "mean of the three"

Scores = Mapping[tuple[str, str], Any]
"""By system and words tested on, by kind, one value per seed."""


def conclude(
    study: Study,
    results: Mapping[str, Sequence[Mapping[str, Any]]],
    shares: Sequence[Mapping[str, Mapping[str, float]]],
    report: mx.Report,
) -> dict[str, Any]:
    """Write tables, figures and metrics.

    Parameters
    ----------
    study
        The run.
    results
        By system what each seed scored.
    shares
        Contributions of the encoders, of each seed.
    report
        Of the report's model.
    """
    run, talk, settings = study.run, study.talk, study.settings
    every = systems(settings)
    scores = {
        (one.key, words): {kind: [seed[words][kind] for seed in results[one.key]] for kind in found}
        for one in every
        for words, found in results[one.key][0].items()
    }
    recovered = {name: recoveries(scores, name) for name in talk.columns}
    right = {TRUE: analysis.recalls(scores[SHALLOW.key, TRUE]["confusion"])}
    drawn: dict[str, dict[str, Any]] = {}
    for name in talk.columns:
        plain, helped = (fused("shallow", name, consistency) for consistency in (False, True))
        right[f"{name}, plain"] = analysis.recalls(scores[plain.key, name]["confusion"])
        right[f"{name}, loss"] = analysis.recalls(scores[helped.key, name]["confusion"])
        drawn[name] = {
            "true text": scores[SHALLOW.key, TRUE]["confusion"],
            "trained on recognised text": scores[plain.key, name]["confusion"],
            "with the consistency loss": scores[helped.key, name]["confusion"],
        }
    labels, rates, wait = talk.labels, study.rates(), study.latency()
    audio = analysis.audio_shares(talk.rule, shares, report)
    note = f"{talk.name}, {settings.seeds} seed{'s' * (settings.seeds > 1)}"
    run.tables(
        [
            tables.scores_table(f"Emotion, {note}", every, scores),
            tables.recovery_table(f"Points of weighted F1, {note}", recovered),
            tables.rates_table(f"Recognisers, error rates in %, {note}", rates),
            tables.labels_table(
                f"Audio's share and part right, in %, Shallow Fusion, {note}", labels, audio, right
            ),
        ]
    )
    drop = {name: right[TRUE] - right[f"{name}, plain"] for name in talk.columns}
    gain = {name: right[f"{name}, loss"] - right[f"{name}, plain"] for name in talk.columns}
    run.figure("confusions", analysis.confusion_figure(labels, drawn))
    run.figure("contributions", analysis.contribution_figure(labels, audio, drop, gain))
    said = departures(settings, planted=talk.rule is not None)
    figures = {
        "corpus": talk.name,
        "utterances": len(talk.samples),
        "labels": labels,
        "rates": rates,
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
        "latency": wait,
        "checkpoints": study.maker.checkpoints.describe(),
        "departures": said,
    }
    run.metrics(figures)
    run.say("\n".join([f"\nLatency, Shallow Fusion: {wait['said']}", *said]))
    return figures


def recoveries(scores: Scores, name: str) -> dict[str, analysis.Recovery]:
    """What a recogniser's errors cost and the loss brought back: by fusion, and their mean."""

    def f1(system: System) -> list[float]:
        found: list[float] = scores[system.key, system.words]["f1"]
        return found

    made = np.array(
        [
            [f1(fused(fusion)), f1(fused(fusion, name)), f1(fused(fusion, name, True))]
            for fusion in FUSIONS
        ]
    )
    found = {
        fusion: analysis.recovery(*one.tolist()) for fusion, one in zip(FUSIONS, made, strict=True)
    }
    return found | {ALL: analysis.recovery(*made.mean(0).tolist())}


def departures(settings: Settings, planted: bool) -> list[str]:
    """Where a run is not the paper's, in sentences."""
    told = [
        "Open in the source, and chosen here: "
        f"lambda {settings.weight:g}, KL {settings.direction}, "
        f"stop-gradient {settings.stop_gradient or 'none'}.",
        f"The report's model was trained with modality dropout {settings.explained_dropout:g}, "
        "so that it has seen 'absent'; the compared models with "
        f"{settings.modality_dropout:g}.",
    ]
    if planted:
        told.append(
            f"The report's model learns from {settings.explained_samples} utterances of the same "
            "planted truth, split alike: it can only be held against what it has learnt."
        )
    told.append(
        "Grad-CAM's shares are the paper's practice and no property of the model's function; the "
        "Shapley shares are."
    )
    if settings.audio_trainable == "none":
        told.append(
            "wav2vec 2.0 is fine-tuned in the source. Here it is frozen, and a convolution and a "
            "transformer layer behind it learn in its place."
        )
    if any(one.plugin == "simulated" for one in settings.recognisers):
        told.append(
            "The recognisers are simulated: they corrupt the true text at the character error "
            "rates of the paper's services, evenly, which makes more words wrong than theirs."
        )
    return told

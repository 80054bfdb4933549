"""Scores, tables and figures of the SpeechT5 system, laid out as the paper's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from modalxai.metrics import distance, exact_match
from modalxai.recipes.results import Line, ResultsTable
from modalxai.statistics import sign_flip_test
from modalxai.types import Labels, Prediction, columns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRICS = ("exact match", "distance")
NAMES = {
    "vc": "VC only",
    "tts": "TTS only",
    "wav2vec2": "Korean wav2vec 2.0",
    "both": "both",
}
PAPER = {
    "vc": {"exact match": "82.69 %", "distance": ".07"},
    "tts": {"exact match": "79.81 %", "distance": ".12"},
    "wav2vec2": {"exact match": "84.53 %", "distance": ".178"},
    "both": {"exact match": "89.58 %", "distance": ".068"},
}
ARMS = {"with": "with valence and arousal", "without": "without valence and arousal"}


def truth_of(labels: Labels, told: Sequence[Mapping[str, float]]) -> tuple[Any, Any]:
    """Values and whether they are known, float and bool [N, K]."""
    values = np.array([[one.get(label.name, np.nan) for label in labels] for one in told])
    return np.nan_to_num(values), np.isfinite(values)


def scored(prediction: Prediction, told: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Exact match and distance, and both by sample, for paired tests."""
    labels = prediction.labels
    truth, known = truth_of(labels, told)
    said = prediction.probabilities().double().cpu().numpy()
    sets, values = columns(labels, "binary"), columns(labels, "dimensional")
    likely = (said[:, sets] > 0.5).astype(float)
    found: dict[str, Any] = {
        "exact match": exact_match(truth[:, sets], likely, known[:, sets]),
        "hits": (likely == truth[:, sets]).all(1),
        "distance": float("nan"),
        "errors": [],
    }
    if values:
        off = np.where(known, (said - truth) ** 2, np.nan)[:, values]
        found["distance"] = distance(truth[:, values], said[:, values], known[:, values])
        # A sample without either has no error of its own; it is left out of pairs.
        found["errors"] = np.where(
            known[:, values].any(1), np.nansum(off, 1) / known[:, values].sum(1).clip(1), np.nan
        )
    return found


def constant(
    labels: Labels, train: Sequence[Mapping[str, float]], test: Sequence[Mapping[str, float]]
) -> dict[str, Any]:
    """What saying the commonest set and the mean values of the training part gives."""
    sets, values = columns(labels, "binary"), columns(labels, "dimensional")
    seen, known = truth_of(labels, train)
    common = Counter(map(tuple, seen[:, sets].tolist())).most_common(1)[0][0]
    means = (seen * known).sum(0) / known.sum(0).clip(1)
    row = torch.tensor(means)
    row[sets] = torch.tensor(common).mul(2).sub(1).double()  # logits: the sign is what is said
    found = scored(Prediction(row.repeat(len(test), 1), labels), test)
    names = [name for name, held in zip(labels, common, strict=False) if held]
    return {
        "exact match": found["exact match"],
        "distance": found["distance"] if values else float("nan"),
        "set": ";".join(label.name for label in names),
    }


def paired(
    ours: Sequence[Mapping[str, Any]],
    theirs: Sequence[Mapping[str, Any]],
    speakers: Sequence[Sequence[str]],
) -> dict[str, Any]:
    """How much more often we are right, seed by seed on the same samples.

    ``"p"``: flipping the signs of whole speakers over all seeds, which tells other speakers from
    luck; five seeds cannot tell much by themselves.
    """
    gains = [a["exact match"] - b["exact match"] for a, b in zip(ours, theirs, strict=True)]
    by_sample = np.concatenate(
        [
            np.asarray(a["hits"], float) - np.asarray(b["hits"], float)
            for a, b in zip(ours, theirs, strict=True)
        ]
    )
    who = [f"{seed} {name}" for seed, names in enumerate(speakers) for name in names]
    off = [
        b["distance"] - a["distance"]
        for a, b in zip(ours, theirs, strict=True)
        if np.isfinite([a["distance"], b["distance"]]).all()
    ]
    return {
        "exact match": gains,
        "distance": off,
        "mean": float(np.mean(gains)),
        "better_in": sum(gain > 0 for gain in gains),
        "seeds": len(gains),
        "p": float(sign_flip_test(by_sample, who).p[0]),
    }


def main_table(
    scores: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]],
    level: Sequence[Mapping[str, Any]],
    best: Mapping[str, float],
    on: str,
) -> ResultsTable:
    """By arm and model, over seeds; beside them what a constant gives, and what is possible."""
    lines = [
        Line(
            NAMES[name],
            {
                metric: [_percent(metric, one[metric]) for one in found]
                for metric in METRICS
                if arm == "with" or metric == "exact match"
            },
            PAPER[name] if arm == "with" else {},
            group=ARMS[arm],
        )
        for arm, models in scores.items()
        for name, found in models.items()
    ]
    rest = "for comparison"
    lines.append(
        Line(
            "the commonest set, the mean values",
            {metric: [_percent(metric, one[metric]) for one in level] for metric in METRICS},
            group=rest,
        )
    )
    lines += [
        Line(f"best possible, knowing {NAMED[told]}", {METRICS[0]: 100 * value}, group=rest)
        for told, value in best.items()
        if told != "nothing"
    ]
    title = f"Exact match (%) of label sets, distance (MSE) of valence and arousal, {on}"
    return ResultsTable(title, METRICS, (*lines,))


NAMED = {"audio": "the voice", "text": "the words", "both": "both"}


def gain_table(gains: Mapping[str, Mapping[str, Any]], on: str) -> ResultsTable:
    """Paired differences over seeds, in points; above 0 the first one is better."""
    lines = [
        Line(
            name,
            {
                "exact match": [100 * gain for gain in one["exact match"]],
                "distance": one["distance"],
                "p": one["p"],
            },
        )
        for name, one in gains.items()
    ]
    title = f"Better by, paired over seeds (points; less distance), {on}"
    return ResultsTable(title, (*METRICS, "p"), (*lines,))


def planted_table(found: Mapping[str, Mapping[str, Any]], on: str) -> ResultsTable:
    """The audio's share of each label: found by seed, planted, and how far the mean is off."""
    metrics = ("found", "planted", "apart")
    lines = [Line(name, {key: one[key] for key in metrics}) for name, one in found.items()]
    return ResultsTable(f"Audio's share of each label, {on}", metrics, (*lines,))


def planted_shares(
    reports: Sequence[Any], planted: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, Any]]:
    """By label with a planted share: the audio's, as every seed's report found it."""
    found: dict[str, list[float]] = {}
    for report in reports:
        for row in report.shares():
            found.setdefault(row.label, []).append(row.share["audio"])
    return {
        label: {
            "found": found[label],
            "planted": shares["audio"],
            "apart": abs(float(np.mean(found[label])) - shares["audio"]),
            "furthest": float(np.max(np.abs(np.array(found[label]) - shares["audio"]))),
        }
        for label, shares in planted.items()
    }


def without_samples(
    scores: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]],
) -> dict[str, dict[str, dict[str, list[Any]]]]:
    """The scores of every seed, without those of single samples."""
    return {
        arm: {
            name: {metric: [one[metric] for one in found] for metric in METRICS}
            for name, found in models.items()
        }
        for arm, models in scores.items()
    }


def match_figure(
    scores: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]], level: float
) -> Figure:
    """Exact match of every model, a dot for each seed; the constant is a line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.2))
    axes = figure.subplots()
    names = [name for name in NAMES if any(name in models for models in scores.values())]
    for shift, (arm, models) in enumerate(scores.items()):
        points = [
            (names.index(name) + 0.16 * (shift - 0.5), 100 * one["exact match"])
            for name, found in models.items()
            for one in found
        ]
        axes.scatter(*zip(*points, strict=True), label=ARMS[arm], marker="ox"[shift])
    axes.axhline(100 * level, color="grey", linestyle=":", label="the commonest set")
    axes.set_xticks(range(len(names)), [NAMES[name] for name in names])
    axes.set_ylabel("exact match (%)")
    axes.legend(fontsize=8)
    return figure


def _percent(metric: str, value: float) -> float:
    return 100 * value if metric == METRICS[0] else value

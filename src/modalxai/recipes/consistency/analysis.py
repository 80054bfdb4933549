"""What recipe S2 reads off its figures: what was lost and recovered, and who contributed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import modalxai as mx
from modalxai.attribution.gradients import GradCAM
from modalxai.datasets import tonebench
from modalxai.metrics import Confusion
from modalxai.protocols import Samples
from modalxai.report import figures
from modalxai.report.figures import COLOURS
from modalxai.statistics import Array, cluster_interval, divide, means

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HALF = 0.5
GRAD_CAM = "Grad-CAM (the paper's practice)"


@dataclass(frozen=True)
class Recovery:
    """What the consistency loss brought back; paired over seeds.

    Parameters
    ----------
    lost
        Weighted F1 on true text minus that of the model trained and tested on recognised text, by
        seed.
    recovered
        Weighted F1 on recognised text with the loss minus without it, by seed.
    part, low, high
        Mean recovered over mean lost, and its interval over seeds (jackknife, Student's t). No
        interval for one seed, and all NaN where nothing was lost: there is no part of nothing.
    margin, margin_low, margin_high
        Mean of recovered minus half of what was lost, and its interval: above 0, at least half
        came back.
    """

    lost: tuple[float, ...]
    recovered: tuple[float, ...]
    part: float
    low: float
    high: float
    margin: float
    margin_low: float
    margin_high: float


def recovery(true: Sequence[float], plain: Sequence[float], helped: Sequence[float]) -> Recovery:
    """From the weighted F1 of every seed.

    Parameters
    ----------
    true
        On true text.
    plain, helped
        On recognised text, trained on it without the consistency loss; and with it.
    """
    lost, gained = np.subtract(true, plain), np.subtract(helped, plain)
    seeds = list(range(len(lost)))
    pairs = np.stack([gained, lost], axis=1)
    margins = np.stack([gained - HALF * lost, np.ones(len(lost))], axis=1)
    ratio = cluster_interval(
        pairs, lambda sums: divide(sums[..., :1], sums[..., 1:]), seeds, method="jackknife"
    )
    margin = cluster_interval(margins, means(1), seeds, method="jackknife")
    known = 1.0 if lost.mean() > 0 else float("nan")
    return Recovery(
        tuple(lost.tolist()),
        tuple(gained.tolist()),
        known * float(ratio.estimate[0]),
        known * float(ratio.low[0]),
        known * float(ratio.high[0]),
        float(margin.estimate[0]),
        float(margin.low[0]),
        float(margin.high[0]),
    )


def contributions(
    model: mx.EmotionModel, samples: Samples, background: Samples, donors: int
) -> dict[str, dict[str, float]]:
    """The audio's part of what decides the true label, by label, in two ways.

    ``"grad-cam"``, the paper's practice: Grad-CAM at the encoders' output vectors, its sum over
    time as a part of the sum over both encoders, averaged over the samples of a label. This is no
    property of the model's function: a constant moved between encoder and head changes it and no
    prediction. ``"shapley"``: exact Shapley values of the two modalities under marginal removal,
    on clr, ratio of mean magnitudes.

    Returns
    -------
    dict
        By method, by label; NaN for a label without samples or without evidence.
    """
    explanation = mx.explain(
        model, samples, removal="marginal", background=background, draws=donors, batch_size=32
    )
    told = [samples[row] for row in range(len(samples))]
    game = model.game(told, removal="mean", background=background)
    names = [label.name for label in model.labels]
    truth = np.array([next(iter(one["labels"])) for one in told])
    column = np.array([names.index(name) for name in truth])
    rows = np.arange(len(told))
    audio = model.modalities.index("audio")
    heat = GradCAM(scale="raw").attribute(game).totals.double().numpy()[rows, column]
    phi = np.abs(explanation.shapley(scale="clr").totals.double().numpy()[rows, column])
    each = divide(heat[:, audio], heat.sum(1))
    found: dict[str, dict[str, float]] = {"grad-cam": {}, "shapley": {}}
    for name in names:
        own = truth == name
        known = each[own][~np.isnan(each[own])]
        found["grad-cam"][name] = float(known.mean()) if len(known) else float("nan")
        whole = phi[own].sum()
        found["shapley"][name] = float(phi[own, audio].sum() / whole) if whole else float("nan")
    return found


def planted(rule: tonebench.Rule | None, removal: Any, by: Any) -> dict[str, dict[str, float]]:
    """The planted shares by label and modality; empty for a real corpus."""
    if rule is None:
        return {}
    truths = tonebench.gold(rule, by, removal=removal)
    return {
        label: {"audio": one.audio, "text": one.text}
        for label, one in truths.items()
        if one.reason is None
    }


def audio_shares(
    rule: tonebench.Rule | None,
    shares: Sequence[Mapping[str, Mapping[str, float]]],
    report: mx.Report,
) -> dict[str, dict[str, Any]]:
    """By method the audio's share of every label: of each seed, or one number.

    The compared Shallow Fusion under Grad-CAM and under Shapley values, by true label; the
    report's model, by predicted label; and what was planted, for both.
    """
    labels = [label.name for label in report.explanation.labels]
    absent = {row.label: row.share["audio"] for row in report.shares()}
    found: dict[str, dict[str, Any]] = {
        GRAD_CAM: {name: [one["grad-cam"][name] for one in shares] for name in labels},
        "Shapley, marginal": {name: [one["shapley"][name] for one in shares] for name in labels},
        "Shapley, absent (report)": absent,
    }
    if rule is not None:
        for title, removal, by in (
            ("planted, marginal", "marginal", "true"),
            ("planted, absent", "absent", "predicted"),
        ):
            truth = planted(rule, removal, by)
            found[title] = {name: truth[name]["audio"] for name in labels if name in truth}
    return found


def planted_errors(report: mx.Report) -> dict[str, float]:
    """By label |measured - planted| of the audio's share, 0..1; NaN where there is no share."""
    return {
        row.label: abs(row.share["audio"] - report.gold[row.label]["audio"])
        for row in report.shares()
        if row.label in report.gold
    }


def rank_correlation(
    audio: Mapping[str, Any], drop: Array, labels: Sequence[str]
) -> dict[str, float]:
    """Spearman's correlation over labels of the text's share with the points lost, and its p.

    A handful of labels: read it as a description, not as evidence.
    """
    from scipy.stats import spearmanr

    text = 1 - np.array([np.mean(audio[name]) for name in labels])
    known = ~np.isnan(text + drop)
    if known.sum() < 3 or np.ptp(text[known]) == 0 or np.ptp(drop[known]) == 0:
        return {"rho": float("nan"), "p": float("nan")}
    found = spearmanr(text[known], drop[known])
    return {"rho": float(found.statistic), "p": float(found.pvalue)}


def recalls(confusions: Sequence[Any]) -> Array:
    """Part of each label that was right, float [C], over the confusion counts of all seeds."""
    counts = np.sum([np.asarray(one) for one in confusions], axis=0).astype(float)
    return np.asarray(divide(np.diag(counts), counts.sum(1)))


def confusion_figure(
    labels: Sequence[str], confusions: Mapping[str, Mapping[str, Sequence[Any]]]
) -> Figure:
    """Confusion matrices, a row per recogniser: by title the counts of every seed."""
    return figures.confusions(
        [
            [
                (
                    f"{title}\n{group}" if place else title,
                    Confusion(tuple(labels), np.sum([np.asarray(one) for one in seeds], axis=0)),
                )
                for place, (title, seeds) in enumerate(tables.items())
            ]
            for group, tables in confusions.items()
        ]
    )


def contribution_figure(
    labels: Sequence[str],
    shares: Mapping[str, Mapping[str, float]],
    drop: Mapping[str, Array],
    gain: Mapping[str, Array],
) -> Figure:
    """Left the audio's share by method; right, by recogniser, points lost and recovered."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    # Under the axes, where no bar is.
    below: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16), "ncols": 2}
    places = np.arange(len(labels))
    width = 0.8 / max(1, len(shares))
    for number, (name, values) in enumerate(shares.items()):
        heights = [100 * np.mean(values.get(label, float("nan"))) for label in labels]
        colour = COLOURS[number % len(COLOURS)]
        left.bar(places + number * width, heights, width, color=colour, label=name)
    left.set_xticks(places + 0.4 - width / 2, labels, rotation=30, ha="right")
    left.set_ylabel("audio's share, %")
    left.set_ylim(0, 100)
    left.axhline(50, color="grey", linewidth=0.5)
    left.legend(fontsize=7, **below)
    width = 0.8 / max(1, 2 * len(drop))
    for number, name in enumerate(drop):
        at, colour = places + 2 * number * width, COLOURS[number % len(COLOURS)]
        right.bar(at, -100 * drop[name], width, color=colour, alpha=0.5, label=f"{name}: drop")
        right.bar(at + width, 100 * gain[name], width, color=colour, label=f"{name}: recovery")
    right.set_xticks(places + 0.4 - width / 2, labels, rotation=30, ha="right")
    right.set_ylabel("points of the label that are right")
    right.axhline(0, color="grey", linewidth=0.5)
    right.legend(fontsize=7, **below)
    return figure

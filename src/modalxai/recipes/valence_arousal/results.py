"""Tables and figures of the valence and arousal system, laid out as its slides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from modalxai.recipes.results import Line, ResultsTable
from modalxai.statistics import sign_flip_test

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER_RMSE = {("arousal", 7): ".206", ("valence", 5): ".432"}
PAPER_F1 = {(6, 6): "87.5 %", (7, 6): "87.6 %", (7, 5): "86.9 %"}
PAPER_RECALL = {(7, 5): {"neutral": "91 %", "happy": "84 %", "sad": "60 %"}}
TRANSFER, SCRATCH = "transfer", "from scratch"


def regression_table(found: Mapping[str, Mapping[str, Any]], on: str) -> ResultsTable:
    """A line per regressor: RMSE and concordance."""
    lines = [
        Line(
            f"{one['depth']} self-attention layers",
            {"RMSE": one["rmse"], "CCC": one["ccc"]},
            {"RMSE": PAPER_RMSE[key]} if (key := (one["dimension"], one["depth"])) in PAPER_RMSE
            else {},
            group=one["dimension"],
        )
        for one in found.values()
    ]  # fmt: skip
    return ResultsTable(f"Regressors on {on}", ("RMSE", "CCC"), (*lines,))


def emotion_tables(
    found: Mapping[str, Mapping[str, Any]], emotions: Sequence[str], on: str
) -> list[ResultsTable]:
    """Weighted and macro F1 by depths; recall of each label, and how often it is said at all."""
    scores, recalls, said = [], [], []
    for one in found.values():
        pair: tuple[int, int] = tuple(one["depths"])
        name = f"({pair[0]}, {pair[1]})"
        paper = {"weighted F1": PAPER_F1[pair]} if pair in PAPER_F1 else {}
        values = {"weighted F1": one["weighted_f1"], "macro F1": one["macro_f1"]}
        scores.append(Line(name, values, paper))
        told = {k: v for k, v in PAPER_RECALL.get(pair, {}).items() if k in emotions}
        recalls.append(Line(name, one["recall"], told))
        said.append(Line(name, one["said"]))
    names = tuple(emotions)
    return [
        ResultsTable(
            f"Emotions by depths (audio, text), {on}", ("weighted F1", "macro F1"), (*scores,)
        ),
        ResultsTable(f"Recall of each label by depths, {on}", names, (*recalls,)),
        ResultsTable(f"Part of all samples said to be each label, {on}", names, (*said,)),
    ]


def few_stage(seed: int, start: str) -> str:
    """The stage of a model on few labels."""
    return f"few-labels/seed-{seed}/{start.replace(' ', '-')}"


def paired(stages: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Transfer against training from scratch: both starts over seeds, and what transfer gains."""
    found: dict[str, Any] = {
        start: {
            metric: [one[metric] for one in stages.values() if one["start"] == start]
            for metric in ("macro_f1", "weighted_f1")
        }
        for start in (SCRATCH, TRANSFER)
    }
    ours, theirs = (found[start]["macro_f1"] for start in (TRANSFER, SCRATCH))
    gains = [a - b for a, b in zip(ours, theirs, strict=True)]
    return found | {
        "labels": next(iter(stages.values()))["labels"],
        "gain": float(np.mean(gains)),
        "better_in": sum(gain > 0 for gain in gains),
        "seeds": len(gains),
        "p": float(sign_flip_test(gains).p[0]),
    }


def few_table(found: Mapping[str, Any], on: str) -> ResultsTable:
    """Transfer against training from scratch on few labels, over seeds."""
    metrics = ("macro F1", "weighted F1")
    keys = ("macro_f1", "weighted_f1")
    lines = [
        Line(start, {name: found[start][key] for name, key in zip(metrics, keys, strict=True)})
        for start in (SCRATCH, TRANSFER)
    ]
    gains = {
        name: [a - b for a, b in zip(found[TRANSFER][key], found[SCRATCH][key], strict=True)]
        for name, key in zip(metrics, keys, strict=True)
    }
    lines.append(Line("gain by transfer, paired", gains))
    return ResultsTable(f"{found['labels']} clips with an emotion label, {on}", metrics, (*lines,))


def planted_table(found: Mapping[str, Mapping[str, float]], on: str) -> ResultsTable:
    """The audio's share of each emotion: found, planted, and how far apart."""
    metrics = ("found", "planted", "apart")
    lines = [Line(name, {key: one[key] for key in metrics}) for name, one in found.items()]
    return ResultsTable(f"Audio's share of each emotion, {on}", metrics, (*lines,))


def depth_figure(found: Mapping[str, Mapping[str, Any]]) -> Figure:
    """RMSE of each regressor over its self-attention layers."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5, 3))
    axes = figure.subplots()
    for dimension in dict.fromkeys(one["dimension"] for one in found.values()):
        points = [
            (one["depth"], one["rmse"]) for one in found.values() if one["dimension"] == dimension
        ]
        axes.plot(*zip(*sorted(points), strict=True), marker="o", label=dimension)
    axes.set_xlabel("self-attention layers")
    axes.set_ylabel("RMSE (points of 1..5)")
    axes.set_xticks(sorted({one["depth"] for one in found.values()}))
    axes.legend()
    return figure

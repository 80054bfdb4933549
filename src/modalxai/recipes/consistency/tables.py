"""The tables of recipe S2, laid out as the paper's, whose figures have columns of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from modalxai.recipes.consistency.analysis import Recovery
from modalxai.recipes.consistency.models import FUSIONS, TRUE, System, fused
from modalxai.recipes.results import Line, ResultsTable

# What the paper prints, by the folder of the system; on AI-Hub's set, never a result here.
_TRUE = {
    "audio-mfcc": ".3539",
    "audio-wav2vec2": ".4326",
    "text-fasttext": ".4116",
    "text-hanbert": ".4463",
    "mfcc-fasttext": ".4364",
    "shallow": ".4952",
    "fusion-transformer": ".4906",
    "crossmodal-transformer": ".4893",
}
_PLAIN = ((".4220", ".4313", ".4240"), (".4121", ".4281", ".4213"))
_HELPED = ((".4674", ".4601", ".4670"), (".4550", ".4521", ".4572"))
_LOST = (("7.3", "5.9", "6.5"), ("8.3", "6.2", "6.8"))
_GAINED = (("4.6", "2.9", "4.3"), ("4.3", "2.4", "3.5"))
_RATES = (("35.1", "63.8", "56.7"), ("56.1", "78.3", "73.8"))
_AUDIO = {"dislike": "53.2", "neutral": "51.9", "sad": "mostly text"}
_RIGHT = {"sad": ("48.8", "34.1")}

Scores = Mapping[str, Mapping[str, Sequence[float]]]
"""By system and words tested on: ``"f1"`` and ``"accuracy"``, one number per seed."""


def scores_table(
    title: str, all_systems: Sequence[System], scores: Mapping[tuple[str, str], Any]
) -> ResultsTable:
    """Weighted F1 and accuracy of every model, and of the true-text models on recognised text."""
    lines = []
    recognisers = [name for name in dict.fromkeys(one.words for one in all_systems) if name != TRUE]
    for one in all_systems:
        group, told = "Trained and tested on true text", ""
        if one.words == TRUE:
            told = _TRUE.get(one.key.split("/")[0], "")
        else:
            number = recognisers.index(one.words)
            group = (
                f"Tested on the {one.words}: with the consistency loss"
                if one.consistency
                else f"Tested on the {one.words}: trained on it"
            )
            told = _of(_HELPED if one.consistency else _PLAIN, number, one.fusion)
        found = scores[one.key, one.words]
        paper = {"weighted F1": told} if told else {}
        lines.append(Line(one.name, _shown(found), paper, group))
    for name in recognisers:
        group = f"Tested on the {name}: trained on true text alone (not in the paper)"
        for fusion, shown in FUSIONS.items():
            found = scores[fused(fusion).key, name]
            lines.append(Line(shown, _shown(found), {}, group))
    return ResultsTable(title, ("weighted F1", "weighted accuracy"), tuple(lines))


def recovery_table(title: str, found: Mapping[str, Mapping[str, Recovery]]) -> ResultsTable:
    """Points of weighted F1 lost to recognition errors, and recovered by the loss."""
    lines = []
    for number, (name, by_fusion) in enumerate(found.items()):
        for fusion, one in by_fusion.items():
            paper = {
                "lost": _of(_LOST, number, fusion),
                "recovered": _of(_GAINED, number, fusion),
            }
            lines.append(
                Line(
                    FUSIONS.get(fusion, fusion),
                    {
                        "lost": [100 * x for x in one.lost],
                        "recovered": [100 * x for x in one.recovered],
                        "part": one.part,
                        "low": one.low,
                        "high": one.high,
                    },
                    {key: value for key, value in paper.items() if value},
                    name,
                )
            )
    metrics = ("lost", "recovered", "part", "low", "high")
    return ResultsTable(title, metrics, tuple(lines), digits=2)


def rates_table(title: str, rates: Mapping[str, Mapping[str, float]]) -> ResultsTable:
    """How wrong the recognisers are, in percent."""
    lines = []
    for number, (name, found) in enumerate(rates.items()):
        told = dict(zip(found, _RATES[number], strict=True)) if number < len(_RATES) else {}
        lines.append(Line(name, {kind: 100 * rate for kind, rate in found.items()}, told))
    return ResultsTable(title, ("CER", "WER", "sWER"), tuple(lines), digits=1)


def labels_table(
    title: str,
    labels: Sequence[str],
    shares: Mapping[str, Mapping[str, Sequence[float] | float]],
    right: Mapping[str, Any],
) -> ResultsTable:
    """By label the audio's share in percent, and the percentage right on each kind of words."""
    lines = []
    for place, label in enumerate(labels):
        values: dict[str, Any] = {
            name: (100 * np.asarray(found.get(label, float("nan")))).tolist()
            for name, found in shares.items()
        }
        values |= {name: 100 * float(found[place]) for name, found in right.items()}
        paper = {}
        if label in _AUDIO:
            paper[next(iter(shares))] = _AUDIO[label]
        if label in _RIGHT:
            paper |= dict(zip(list(right)[:2], _RIGHT[label], strict=False))
        lines.append(Line(label, values, paper))
    return ResultsTable(title, (*shares, *right), tuple(lines), digits=1)


def _of(told: Sequence[Sequence[str]], number: int, fusion: str) -> str:
    if number >= len(told) or fusion not in FUSIONS:
        return ""
    return told[number][list(FUSIONS).index(fusion)]


def _shown(found: Mapping[str, Sequence[float]]) -> dict[str, Sequence[float]]:
    return {"weighted F1": found["f1"], "weighted accuracy": found["accuracy"]}

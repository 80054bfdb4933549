"""Comparisons of recipe S0: words against voice, tone by tone, place by place, beside people.

Each takes an explanation or a report and returns what json holds. Of every utterance the predicted
label is explained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

import modalxai as mx
from modalxai.datasets.tonebench import Rule
from modalxai.datasets.tonebench.gold import posteriors
from modalxai.errors import InputError
from modalxai.metrics import macro_f1
from modalxai.recipes.content_or_tone.analyses import audio_share, rows_of
from modalxai.recipes.content_or_tone.synthetic import HEARD, WHOLE
from modalxai.report import (
    Ratings,
    Report,
    align_with_people,
    behavioural_weights,
    human_weights,
    model_ratings,
    rank_agreement,
    weight_difference,
)

FEW = 20
"""Samples of a situation below which it is left out."""
LITTLE = 0.02
"""A change of macro F1 that is little."""


def mismatch(report: Report) -> dict[str, Any]:
    """Congruent against conflicting utterances: how many, how well told, who wins, by emotion."""
    explanation = report.explanation
    if len(explanation.modalities) < 2:
        return {"skipped": "the model has one modality"}
    found = explanation.conflict()
    apart = found.disagree[:, 0].numpy()
    truth = explanation.targets.values.argmax(-1).numpy()
    right = explanation.scores[-1].argmax(-1).numpy() == truth
    groups = {"congruent": np.flatnonzero(~apart), "conflicting": np.flatnonzero(apart)}
    (overall,) = report.conflict()
    strongest = [
        {"id": explanation.sample_ids[one.row], "audio": one.first_says, "text": one.second_says}
        for one in overall.strongest
    ]
    return {
        "pair": found.pairs[0],
        "groups": {
            name: {
                "n": len(own),
                "accuracy": float(right[own].mean()) if len(own) else float("nan"),
                "audio share": audio_share(explanation, own),
            }
            for name, own in groups.items()
        },
        "overall": asdict(overall) | {"strongest": strongest},
        "by_emotion": [asdict(one) for one in report.opposition()],
    }


def phrase(explanation: mx.Explanation) -> dict[str, Any]:
    """One sentence in several tones: what is heard in it, and what words and voice say to that.

    ``audio`` and ``text`` are the mean evidence for what the rule says of this tone.
    """
    names = [label.name for label in explanation.labels]
    chances = torch.softmax(explanation.scores[-1].double(), -1).numpy()
    phi = explanation.shapley().totals.double().numpy()
    apart = explanation.conflict()
    disagree, decision = apart.disagree[:, 0].numpy(), apart.decision[:, 0].numpy()
    tones = np.asarray(explanation.columns["tone"])
    deserved = explanation.targets.values.argmax(-1).numpy()
    found = {}
    for tone in dict.fromkeys(tones.tolist()):
        own = np.flatnonzero(tones == tone)
        column = int(deserved[own[0]])
        torn = own[disagree[own]]
        found[tone] = {
            "n": len(own),
            "deserved": names[column],
            "right": float((chances[own].argmax(-1) == column).mean()),
            "probabilities": chances[own].mean(0),
            **dict(zip(explanation.modalities, phi[own, column].mean(0), strict=True)),
            "disagreeing": len(torn),
            "audio_wins": float((decision[torn] > 0).mean()) if len(torn) else float("nan"),
        }
    return {"phrase": explanation.columns["text"][0], "labels": names, "tones": found}


def situations(explanation: mx.Explanation, columns: Sequence[str]) -> dict[str, Any]:
    """Which signal serves where: by value of a column the skill with and without each modality.

    Values of fewer than 20 samples are left out. ``serves`` names the modality that macro F1
    loses most without, ``hurts`` the one that it gains most without; 0.02 or more.
    """
    names = [label.name for label in explanation.labels]
    truth = np.asarray([names[c] for c in explanation.targets.values.argmax(-1).tolist()])
    full = len(explanation.scores) - 1
    tables: dict[str, int] = {"all": full}
    tables |= {name: full & ~(1 << m) for m, name in enumerate(explanation.modalities)}
    said = {
        key: np.asarray([names[c] for c in explanation.scores[row].argmax(-1).tolist()])
        for key, row in tables.items()
    }
    found: dict[str, Any] = {}
    for column in columns:
        values = np.asarray([str(one) for one in explanation.columns[column]])
        found[column] = {}
        for value, own in rows_of(values).items():
            if len(own) < FEW:
                continue
            f1 = {key: macro_f1(truth[own], told[own]) for key, told in said.items()}
            losses = {name: f1["all"] - f1[name] for name in explanation.modalities}
            best = max(losses, key=lambda name: losses[name])
            worst = min(losses, key=lambda name: losses[name])
            found[column][value] = {
                "n": len(own),
                "macro F1": f1["all"],
                **{f"without {name}": f1[name] for name in losses},
                "audio share": audio_share(explanation, own),
                "serves": best if losses[best] >= LITTLE else "neither",
                "hurts": worst if losses[worst] <= -LITTLE else "none",
            }
    return found


def humans(report: Report, rule: Rule | None) -> dict[str, Any]:
    """Do people and the model follow the same modality? Raters are simulated on synthetic speech.

    ``weights`` are behavioural: regressing the judgement of an emotion on how well the voice and
    the words match it, 1 is voice only and 0 words only.
    """
    explanation = report.explanation
    if rule is None or WHOLE not in explanation.columns:
        return {"skipped": "nobody annotated words and voice apart"}
    weights: dict[str, dict[str, Any]] = {}
    _, by_tone, by_content, _ = posteriors(rule)
    contents, tones = explanation.columns["content"], explanation.columns["tone"]
    cells = [
        (rule.contents.index(content), rule.tones.index(tone))
        for content, tone in zip(contents, tones, strict=True)
    ]
    speakers = list(explanation.columns["speaker"])
    for column, label in enumerate(rule.labels):
        matches = {
            "prosody": [by_tone[cell][column] for cell in cells],
            "semantics": [by_content[cell][column] for cell in cells],
        }
        people = [float(said == label) for said in explanation.columns[WHOLE]]
        machine = model_ratings(explanation, label, scale="probability")
        try:
            model, raters = (
                Ratings(values, matches["prosody"], matches["semantics"], speakers)
                for values in (machine, people)
            )
        except InputError as error:
            weights[label] = {"reason": error.wrong}
            continue
        own, theirs = (
            behavioural_weights(one, interval=report.interval) for one in (model, raters)
        )
        apart = weight_difference(model, raters, interval=report.interval)
        weights[label] = {
            "model": own.weight, "people": theirs.weight, "apart": apart.value,
            "low": apart.low, "high": apart.high, "reason": own.reason or theirs.reason,
        }  # fmt: skip
    followed = human_weights(report, WHOLE, HEARD, "audio")
    return {
        "raters": "simulated: they answer by the planted rule",
        "alignment": asdict(align_with_people(report, WHOLE, HEARD)),
        "ranks": asdict(rank_agreement(report, "audio", followed)),
        "weights": weights,
    }

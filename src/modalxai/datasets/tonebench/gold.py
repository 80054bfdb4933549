"""The planted truth: exact attributions of the Bayes-optimal listener, by enumeration.

The listener knows the rule. Without a channel it averages over what that channel might have said:
its score for a coalition S of channels is log P(label | what S tells). That is what a model trained
on the corpus with modality dropout approximates, and so this is the truth for the removal
"absent". It is not the truth of a model that has learnt something else, nor of another removal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from modalxai.datasets.tonebench.families import Array, Rule
from modalxai.errors import InputError

Scale = Literal["clr", "log-odds", "probability"]
Voice = Literal["babble", "words"]

NO_EVIDENCE = 0.05
"""Nats of mean |evidence| below which a share is not defined for log scales."""
_NOTHING = {"clr": NO_EVIDENCE, "log-odds": NO_EVIDENCE, "probability": 0.01}


@dataclass(frozen=True)
class Truth:
    """What is true of one label, over the cells that belong to it.

    Parameters
    ----------
    audio, text
        Magnitude shares, 0..1, summing to 1: mean |phi| of the channel over mean sum of |phi|
        (ratio of means). NaN where ``reason`` says why.
    audio_evidence, text_evidence
        Mean signed Shapley value, on the scale.
    interaction
        Mean of v(both) - v(audio) - v(text) + v(none).
    interaction_share
        mean |interaction| over mean (|v(audio) - v(none)| + |v(text) - v(none)| + |interaction|).
    frequency
        Probability that a sample belongs to the label.
    reason
        Why there are no shares, or ``None``.
    """

    audio: float
    text: float
    audio_evidence: float
    text_evidence: float
    interaction: float
    interaction_share: float
    frequency: float
    reason: str | None = None


def posteriors(rule: Rule, voice: Voice = "babble") -> Array:
    """P(label | what the coalition tells), float [4, C, A, K].

    Coalitions: none, audio, text, both. Audio tells the tone, and under ``voice="words"`` the
    content too; the text tells the content. A content or tone that never occurs has no posterior
    of its own: NaN.
    """
    if voice not in ("babble", "words"):
        raise InputError(
            "unknown voice",
            expected="'babble' or 'words'",
            got=repr(voice),
            mend="name the voice that the corpus was made with",
        )
    joint = rule.joint
    mass = joint[:, :, None] * rule.given
    prior = mass.sum((0, 1))
    with np.errstate(invalid="ignore"):
        by_tone = mass.sum(0) / joint.sum(0)[:, None]
        by_content = mass.sum(1) / joint.sum(1)[:, None]
    tables = np.empty((4, *rule.given.shape))
    tables[0] = prior
    tables[1] = rule.given if voice == "words" else by_tone[None, :, :]
    tables[2] = by_content[:, None, :]
    tables[3] = rule.given
    return tables


def on_scale(probabilities: Array, scale: Scale = "clr") -> Array:
    """Probabilities [..., K] on the scale of an attribution, [..., K]."""
    if scale == "probability":
        return probabilities
    logs = np.log(probabilities)
    if scale == "clr":
        return np.asarray(logs - logs.mean(-1, keepdims=True))
    if scale == "log-odds":
        return np.asarray(logs - np.log1p(-probabilities))
    raise InputError(
        "unknown scale",
        expected="'clr', 'log-odds' or 'probability'",
        got=repr(scale),
        mend="choose one; raw logits of a Bayesian are not defined",
    )


def shapley(
    rule: Rule, scale: Scale = "clr", voice: Voice = "babble"
) -> tuple[dict[str, Array], Array]:
    """Exact Shapley values per cell: by channel [C, A, K], and the interaction [C, A, K]."""
    none, audio, text, both = on_scale(posteriors(rule, voice), scale)
    interaction = both - audio - text + none
    values = {
        "audio": audio - none + interaction / 2,
        "text": text - none + interaction / 2,
    }
    return values, interaction


def gold(
    rule: Rule,
    by: Literal["predicted", "true"] = "predicted",
    scale: Scale = "clr",
    *,
    on: Rule | None = None,
    voice: Voice = "babble",
) -> dict[str, Truth]:
    """The planted truth, one row per label.

    Parameters
    ----------
    rule
        What the model was trained on.
    by
        Which cells belong to a label: those whose most likely label it is (``"predicted"``; ties
        are split evenly), or every cell in proportion to how often it carries the label, label
        noise included (``"true"``).
    on
        Another rule over the same names whose cells are explained (``rule.crossed()``,
        ``conflict()``); its labels are used for ``"true"``.
    voice
        What the voice says: see `ToneBench`.

    Returns
    -------
    dict
        `Truth` by label name, in the rule's order.

    Raises
    ------
    InputError
        An unknown option, an ``on`` with other names, or with cells that the rule never shows.
    """
    cells = rule if on is None else on
    _check_alike(rule, cells)
    values, interaction = shapley(rule, scale, voice)
    none, audio, text, _ = on_scale(posteriors(rule, voice), scale)
    if by == "predicted":
        best = rule.given >= rule.given.max(-1, keepdims=True) - 1e-9
        belongs = best / best.sum(-1, keepdims=True)
    elif by == "true":
        belongs = cells.given
    else:
        raise InputError(
            "unknown grouping",
            expected="'predicted' or 'true'",
            got=repr(by),
            mend="choose how samples are grouped by label",
        )
    mass = cells.joint[:, :, None] * belongs
    frequency = mass.sum((0, 1))

    def mean(table: Array) -> Array:
        # Cells that never occur may have no posterior (NaN): they have no say either.
        total = np.where(mass > 0, mass * table, 0).sum((0, 1))
        return np.asarray(total / np.where(frequency > 0, frequency, np.nan))

    sizes = {channel: mean(np.abs(value)) for channel, value in values.items()}
    evidence = sizes["audio"] + sizes["text"]
    joint_size = mean(np.abs(interaction))
    alone = mean(np.abs(audio - none)) + mean(np.abs(text - none))
    signed = {channel: mean(value) for channel, value in values.items()}
    net = mean(interaction)
    rows: dict[str, Truth] = {}
    for k, label in enumerate(rule.labels):
        reason = None
        if frequency[k] == 0:
            reason = "no sample belongs to this label"
        elif evidence[k] < _NOTHING[scale]:
            reason = "no modality evidence for this label"
        shown = np.nan if reason else 1.0
        whole = evidence[k] if evidence[k] > 0 else np.nan
        parts = alone[k] + joint_size[k]
        rows[label] = Truth(
            audio=float(shown * sizes["audio"][k] / whole),
            text=float(shown * sizes["text"][k] / whole),
            audio_evidence=float(signed["audio"][k]),
            text_evidence=float(signed["text"][k]),
            interaction=float(net[k]),
            interaction_share=float(shown * joint_size[k] / (parts if parts > 0 else np.nan)),
            frequency=float(frequency[k]),
            reason=reason,
        )
    return rows


def _check_alike(rule: Rule, other: Rule) -> None:
    for name in ("contents", "tones", "labels"):
        if getattr(rule, name) != getattr(other, name):
            raise InputError(
                f"two rules with different {name}",
                expected=repr(getattr(rule, name)),
                got=repr(getattr(other, name)),
                mend="explain a rule on cells of the same names: rule.crossed(), say",
            )
    unseen = [
        f"{rule.contents[content]} in {rule.tones[tone]}"
        for content, tone in np.argwhere((other.weights > 0) & (rule.weights == 0))
    ]
    if unseen:
        raise InputError(
            "cells that the training rule says nothing about",
            expected="cells that occur in training",
            got="; ".join(unseen[:8]),
            mend="train on them, or leave them out: there is no right answer for them",
        )

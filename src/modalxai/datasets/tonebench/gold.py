"""The planted truth: exact attributions of the Bayes-optimal listener, by enumeration.

The listener knows the rule. Without a channel it averages over what that channel might have said:
its score for a coalition S of channels is log P(label | what S tells). That is what a model trained
on the corpus with modality dropout approximates, and so this is the truth for the removal
"absent". For the removals "marginal" and "mean" the channel says what it says to others: see
``removal``. It is not the truth of a model that has learnt something else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from modalxai.datasets.tonebench.listener import (
    Channels,
    Removal,
    Scale,
    Voice,
    cell_name,
    on_scale,
    posteriors,
    scores,
    told_by,
)
from modalxai.datasets.tonebench.rule import Array, Rule
from modalxai.errors import InputError

__all__ = ["NO_EVIDENCE", "Truth", "Voice", "gold", "on_scale", "posteriors", "shapley"]

NO_EVIDENCE = 0.05
"""Nats of mean |evidence| below which a share is not defined for log scales."""
_NOTHING = {"clr": NO_EVIDENCE, "log-odds": NO_EVIDENCE, "probability": 0.01}


@dataclass(frozen=True)
class Truth:
    """What is true of one label, over the cells that belong to it.

    Parameters
    ----------
    share
        By channel its magnitude share, 0..1, summing to 1: mean ``|phi|`` of the channel over mean
        sum of ``|phi|`` (ratio of means). NaN where ``reason`` says why.
    evidence
        By channel the mean signed Shapley value, on the scale.
    interaction
        Mean of all that no channel says alone; for two, v(both) - v(audio) - v(text) + v(none).
    interaction_share
        mean ``|m(S)|`` summed over coalitions S of two channels or more, over the same of one or
        more, m being the Moebius coefficients (Harsanyi dividends).
    dividends
        By coalition of two channels or more the mean of m(S).
    frequency
        Probability that a sample belongs to the label.
    reason
        Why there are no shares, or ``None``.
    """

    share: Mapping[str, float]
    evidence: Mapping[str, float]
    interaction: float
    interaction_share: float
    dividends: Mapping[tuple[str, ...], float]
    frequency: float
    reason: str | None = None

    @property
    def audio(self) -> float:
        """The share of ``"audio"``."""
        return self.share["audio"]

    @property
    def text(self) -> float:
        """The share of ``"text"``."""
        return self.share["text"]

    @property
    def audio_evidence(self) -> float:
        """The evidence in ``"audio"``."""
        return self.evidence["audio"]

    @property
    def text_evidence(self) -> float:
        """The evidence in ``"text"``."""
        return self.evidence["text"]


def shapley(
    rule: Rule,
    scale: Scale = "clr",
    voice: Voice = "babble",
    channels: Channels | None = None,
    removal: Removal = "absent",
) -> tuple[dict[str, Array], Array]:
    """Exact Shapley values per cell: by channel [C, A, ..., K]; all interaction [C, A, ..., K].

    ``phi_i`` is the sum of m(S) / |S| over the coalitions S that hold i.
    """
    names = list(told_by(rule, voice, channels))
    parts = _dividends(scores(rule, scale, voice, channels, removal), names)
    return _values(parts, names), _interaction(parts)


def gold(
    rule: Rule,
    by: Literal["predicted", "true"] = "predicted",
    scale: Scale = "clr",
    *,
    on: Rule | None = None,
    voice: Voice = "babble",
    channels: Channels | None = None,
    removal: Removal = "absent",
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
    channels
        By modality of the model the factors of the rule that it tells; for ``None`` those of
        `listener.channels_of`. ``{"audio": ["tone"], "text": ["content"], "bio": ["eda", "ecg",
        "temp"]}`` makes all signals of the body one modality. A factor that no channel tells is
        averaged over.
    removal
        ``"absent"``: what a listener knows who was never told, ``log P(label | the others)``.
        ``"marginal"``: the listener hears, instead of the channel, what it says in another sample;
        its score is averaged over those on the scale. Where scores are additive on the scale, as
        those of a late fusion are on clr, this is also the truth of the removal "mean".

    Returns
    -------
    dict
        `Truth` by label name, in the rule's order.

    Raises
    ------
    InputError
        An unknown option, an ``on`` with other names, or with cells that the rule never shows; a
        marginal removal where two channels tell the same, or of cells that never occur.
    """
    cells = rule if on is None else on
    _check_alike(rule, cells)
    names = list(told_by(rule, voice, channels))
    parts = _dividends(scores(rule, scale, voice, channels, removal), names)
    values, interaction = _values(parts, names), _interaction(parts)
    if by == "predicted":
        known = posteriors(rule, voice, channels)[-1]
        best = known >= known.max(-1, keepdims=True) - 1e-9
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
    mass = cells.joint[..., None] * belongs
    every = tuple(range(mass.ndim - 1))
    frequency = mass.sum(every)

    def mean(table: Array) -> Array:
        # Cells that never occur may have no posterior (NaN): they have no say either.
        total = np.where(mass > 0, mass * table, 0).sum(every)
        return np.asarray(total / np.where(frequency > 0, frequency, np.nan))

    sizes = {channel: mean(np.abs(value)) for channel, value in values.items()}
    total = np.asarray(sum(sizes.values()))
    amounts = {seen: mean(np.abs(part)) for seen, part in parts.items()}
    alone = sum(amount for seen, amount in amounts.items() if len(seen) == 1)
    joint = np.asarray(sum(amount for seen, amount in amounts.items() if len(seen) > 1))
    signed = {channel: mean(value) for channel, value in values.items()}
    dividends = {seen: mean(part) for seen, part in parts.items() if len(seen) > 1}
    net = mean(interaction)
    rows: dict[str, Truth] = {}
    for k, label in enumerate(rule.labels):
        reason = None
        if frequency[k] == 0:
            reason = "no sample belongs to this label"
        elif total[k] < _NOTHING[scale]:
            reason = "no modality evidence for this label"
        shown = np.nan if reason else 1.0
        whole = total[k] if total[k] > 0 else np.nan
        of = (alone + joint)[k]
        rows[label] = Truth(
            share={channel: float(shown * sizes[channel][k] / whole) for channel in names},
            evidence={channel: float(signed[channel][k]) for channel in names},
            interaction=float(net[k]),
            interaction_share=float(shown * joint[k] / (of if of > 0 else np.nan)),
            dividends={seen: float(value[k]) for seen, value in dividends.items()},
            frequency=float(frequency[k]),
            reason=reason,
        )
    return rows


def _dividends(tables: Array, names: Sequence[str]) -> dict[tuple[str, ...], Array]:
    """By coalition but the empty one, m(S) = sum over L in S of (-1)^(|S| - |L|) v(L)."""
    found = {}
    for size in range(1, len(names) + 1):
        for members in combinations(range(len(names)), size):
            part = tables[sum(1 << m for m in members)].copy()
            for fewer in range(size - 1, -1, -1):
                for some in combinations(members, fewer):
                    here = tables[sum(1 << m for m in some)]
                    part = part + here if (size - fewer) % 2 == 0 else part - here
            found[tuple(names[m] for m in members)] = part
    return found


def _values(parts: Mapping[tuple[str, ...], Array], names: Sequence[str]) -> dict[str, Array]:
    return {
        name: np.asarray(sum(part / len(seen) for seen, part in parts.items() if name in seen))
        for name in names
    }


def _interaction(parts: Mapping[tuple[str, ...], Array]) -> Array:
    nothing = np.zeros_like(next(iter(parts.values())))
    return sum((part for seen, part in parts.items() if len(seen) > 1), nothing)


def _check_alike(rule: Rule, other: Rule) -> None:
    for name in ("contents", "tones", "marks", "signals", "labels"):
        if getattr(rule, name) != getattr(other, name):
            raise InputError(
                f"two rules with different {name}",
                expected=repr(getattr(rule, name)),
                got=repr(getattr(other, name)),
                mend="explain a rule on cells of the same names: rule.crossed(), say",
            )
    unseen = [
        cell_name(rule, cell)
        for cell in np.argwhere((other.weights > 0) & (rule.weights == 0)).tolist()
    ]
    if unseen:
        raise InputError(
            "cells that the training rule says nothing about",
            expected="cells that occur in training",
            got="; ".join(unseen[:8]),
            mend="train on them, or leave them out: there is no right answer for them",
        )

"""The Bayes-optimal listener: what somebody who knows the rule makes of what some channels tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, get_args

import numpy as np

from modalxai.datasets.tonebench.rule import Array, Rule
from modalxai.errors import InputError

Scale = Literal["clr", "log-odds", "probability"]
Voice = Literal["babble", "words", "espeak-ng", "espeak-ng-words"]
"""Who says what: see `ToneBench`. The last two need the program espeak-ng."""
Removal = Literal["absent", "marginal"]
Channels = Mapping[str, Sequence[str]]
"""By channel (a modality) the factors of the rule that it tells: ``{"text": ["content"], ...}``."""


def channels_of(rule: Rule, voice: Voice = "babble") -> dict[str, tuple[str, ...]]:
    """The channels of a rule: audio, text, and each signal of the body for itself.

    Audio tells the tone and the mark, and where the voice says the words the content too; the text
    tells the content.
    """
    if voice not in get_args(Voice):
        raise InputError(
            "unknown voice",
            expected=f"one of {get_args(Voice)}",
            got=repr(voice),
            mend="name the voice that the corpus was made with",
        )
    marks = ("mark",) if rule.marks else ()
    heard = ("tone", *marks, "content") if says_words(voice) else ("tone", *marks)
    return {"audio": heard, "text": ("content",), **{name: (name,) for name in rule.signals}}


def says_words(voice: Voice) -> bool:
    """Whether the voice says the transcript, so that the audio carries the content too."""
    return voice.endswith("words")


def posteriors(rule: Rule, voice: Voice = "babble", channels: Channels | None = None) -> Array:
    """P(label | what the coalition tells), float [2**M, C, A, ..., K].

    Coalitions are ordered by the binary number of the channels in them, the first channel being the
    lowest digit: none, audio, text, both. A cell of which nothing in it ever occurs has no
    posterior of its own: NaN. For ``voice`` and ``channels`` see `gold`.
    """
    told = told_by(rule, voice, channels)
    joint = rule.joint
    mass = joint[..., None] * rule.given
    tables = np.empty((1 << len(told), *rule.given.shape))
    for row, hidden in enumerate(hidden_from(rule, told)):
        if not hidden:
            tables[row] = rule.given
        elif len(hidden) == joint.ndim:
            tables[row] = mass.sum(hidden)
        else:
            with np.errstate(invalid="ignore"):
                seen = joint.sum(hidden, keepdims=True)[..., None]
                tables[row] = mass.sum(hidden, keepdims=True) / seen
    return tables


def scores(
    rule: Rule,
    scale: Scale = "clr",
    voice: Voice = "babble",
    channels: Channels | None = None,
    removal: Removal = "absent",
) -> Array:
    """The listener's score of every coalition, float [2**M, C, A, ..., K]; see `gold`."""
    if removal == "absent":
        return on_scale(posteriors(rule, voice, channels), scale)
    if removal != "marginal":
        raise InputError(
            "unknown removal",
            expected="'absent' or 'marginal'",
            got=repr(removal),
            mend="choose one; other removals have no truth",
        )
    told = told_by(rule, voice, channels)
    _check_lendable(rule, told)
    values, joint = on_scale(rule.given, scale), rule.joint
    tables = np.empty((1 << len(told), *rule.given.shape))
    for row, hidden in enumerate(hidden_from(rule, told)):
        seen = tuple(axis for axis in range(joint.ndim) if axis not in hidden)
        lent = joint.sum(seen, keepdims=True)[..., None]
        tables[row] = (lent * values).sum(hidden, keepdims=True) if hidden else values
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


def told_by(rule: Rule, voice: Voice, channels: Channels | None) -> dict[str, tuple[str, ...]]:
    """The channels that are asked for, or the rule's own; checked."""
    own = channels_of(rule, voice)
    told = own if channels is None else {name: tuple(one) for name, one in channels.items()}
    unknown = [factor for one in told.values() for factor in one if factor not in rule.factors]
    if unknown or not told:
        raise InputError(
            "channels that do not fit the rule",
            expected=f"by channel some of the factors {list(rule.factors)}",
            got=repr(told),
            mend=f"leave them out for {own}",
        )
    return told


def hidden_from(rule: Rule, told: Mapping[str, Sequence[str]]) -> Iterator[tuple[int, ...]]:
    """For every coalition of channels, the axes of the factors that none of them tells."""
    names = list(told)
    for row in range(1 << len(names)):
        known = {factor for m, name in enumerate(names) if row >> m & 1 for factor in told[name]}
        yield tuple(axis for axis, name in enumerate(rule.factors) if name not in known)


def _check_lendable(rule: Rule, told: Mapping[str, Sequence[str]]) -> None:
    """A lent channel must be able to say something else than the others, in a cell that occurs."""
    factors = [factor for one in told.values() for factor in one]
    never = [cell_name(rule, cell) for cell in np.argwhere(rule.weights == 0).tolist()]
    if len(set(factors)) < len(factors) or set(factors) != set(rule.factors) or never:
        raise InputError(
            "a marginal removal that asks for what never occurs",
            expected="a rule all of whose cells occur, each factor told by one channel",
            got="; ".join(never[:8]) or repr(dict(told)),
            mend="use removal='absent'",
        )


def cell_name(rule: Rule, cell: Sequence[int]) -> str:
    """A cell in words."""
    content, tone, *further = (
        states[place] for states, place in zip(rule.factors.values(), cell, strict=True)
    )
    return " and ".join([f"{content} in {tone}", *further])

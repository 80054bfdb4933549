"""Rules that say which label a content spoken in a tone deserves: the planted truth.

Every rule is a table P(label | content, tone) with a table of how often each pair occurs. Label
noise (``epsilon``) keeps every probability above zero, so that clr values are finite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from modalxai.datasets.tonebench.lexicon import CONTENTS
from modalxai.datasets.tonebench.marks import MARKS
from modalxai.datasets.tonebench.rule import Rule, check_noise
from modalxai.datasets.tonebench.voices import TONES
from modalxai.errors import InputError

EMOTIONS = ("anger", "joy", "sadness", "fear", "surprise", "neutral")
EPSILON = 0.1
"""Default label noise: with this probability the label is drawn at random among all."""


def tone(size: int = 6, *, epsilon: float = EPSILON) -> Rule:
    """TONE: the label is the tone's. The text's true share is exactly 0."""
    return _decided("TONE", size, lambda content, voice: voice, epsilon)


def content(size: int = 6, *, epsilon: float = EPSILON) -> Rule:
    """CONTENT: the label is the content's. The audio's true share is exactly 0 under babble."""
    return _decided("CONTENT", size, lambda content, voice: content, epsilon)


def xor(size: int = 4, *, epsilon: float = EPSILON) -> Rule:
    """XOR: label = (tone + content) mod size. Neither tells anything alone; shares are 50/50."""
    return _decided("XOR", size, lambda content, voice: (content + voice) % size, epsilon)


def agreement(size: int = 3, *, epsilon: float = EPSILON) -> Rule:
    """AND: joy where content and tone agree, anger elsewhere.

    Cells that agree occur ``size - 1`` times as often as others, so that both labels are equally
    frequent and neither channel tells anything alone: shares are 50/50, all of it interaction. Of
    two contents it is XOR.
    """
    names, agree = ("anger", "joy"), np.eye(_checked(size), dtype=np.int64)
    rule = _table("AND", CONTENTS[:size], tuple(TONES)[:size], names, agree, epsilon)
    return replace(rule, weights=1 + (size - 2) * agree)


def redundant(size: int = 4, *, epsilon: float = EPSILON) -> Rule:
    """REDUND: tone and content always agree, and each alone tells the label.

    Shares are 50/50 with negative interaction. Under ``crossed()`` the two disagree as they never
    did in training: there is no true answer (the table holds an even mixture), only the model's
    own choice of channel, read from the samples' ``content`` and ``tone``.
    """
    names = EMOTIONS[: _checked(size)]
    own = np.eye(size)
    mixture = (own[:, None, :] + own[None, :, :]) / 2
    given = (1 - epsilon) * mixture + epsilon / size
    weights = np.eye(size, dtype=np.int64)
    return Rule("REDUND", CONTENTS[:size], tuple(TONES)[:size], names, given, weights)


def additive(weight: float = 0.5, size: int = 4, *, strength: float = 4.0) -> Rule:
    """SUM: evidence adds.

    Label k has the logit strength * (weight * [content = k] + (1 - weight) * [tone = k]).
    The true shares follow the weights but do not equal them. A Bayesian who sees one channel only
    averages probabilities over the other, which is not linear in the logits, and so a small
    interaction appears; and the label that wins is the heavier channel's, which makes that one
    count for more in its own cells. At weight 0.3, size 4, strength 4 the text's share is 12 % by
    predicted label; by true label it nears the weight itself as the strength nears 0.

    Parameters
    ----------
    weight
        0..1, the text's part in the evidence.
    strength
        Nats between the label that all evidence names and the others.

    Raises
    ------
    InputError
        A weight outside 0..1.
    """
    if not 0 <= weight <= 1:
        raise InputError(
            "a weight outside its range",
            expected="0 (tone alone) to 1 (content alone)",
            got=repr(weight),
            mend="give the text's part of the evidence",
        )
    own = np.eye(_checked(size))
    logits = strength * (weight * own[:, None, :] + (1 - weight) * own[None, :, :])
    given = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    ones = np.ones((size, size), dtype=np.int64)
    return Rule("SUM", CONTENTS[:size], tuple(TONES)[:size], EMOTIONS[:size], given, ones)


def conflict(rule: Rule | None = None) -> Rule:
    """CONFLICT: the cells of a SUM rule in which content and tone name different labels.

    A test set for a model trained on ``rule``; its truth is ``gold(rule, on=conflict(rule))``. The
    heavier channel wins and the lighter one argues against the label that wins. That shows best
    with two labels: among more, clr spreads the counter-argument over all the others.

    Parameters
    ----------
    rule
        What the model was trained on, as many contents as tones; ``additive(0.4, 2)`` if left out.

    Raises
    ------
    InputError
        A rule whose contents and tones do not pair up.
    """
    trained = additive(0.4, 2) if rule is None else rule
    size = len(trained.contents)
    if size != len(trained.tones):
        raise InputError(
            "a rule without a diagonal",
            expected="as many contents as tones",
            got=f"{size} contents, {len(trained.tones)} tones",
            mend="use additive(...)",
        )
    return replace(trained, family="CONFLICT", weights=1 - np.eye(size, dtype=np.int64))


def per_class(*, epsilon: float = EPSILON) -> Rule:
    """PERCLASS: every label has its own channel.

    Five contents c0..c4 (rows) by five tones a0..a4 (columns), labels 0 to 4:

    ====  ==  ==  ==  ==  ==
    ..    a0  a1  a2  a3  a4
    ====  ==  ==  ==  ==  ==
    c0    0   1   1   1   1
    c1    0   3   4   4   4
    c2    0   4   3   4   4
    c3    0   4   4   2   2
    c4    0   4   4   2   2
    ====  ==  ==  ==  ==  ==

    Label 0 is decided by the tone alone (a0), label 1 by the content (c0, unless a0 overrules it),
    label 2 by both (AND: c3 or c4 in a3 or a4), label 3 by the agreement of c1, c2 with a1, a2
    (XOR), label 4 is the rest. Each cell occurs equally often.
    """
    table = np.array(
        [[0, 1, 1, 1, 1], [0, 3, 4, 4, 4], [0, 4, 3, 4, 4], [0, 4, 4, 2, 2], [0, 4, 4, 2, 2]]
    )
    labels = ("surprise", "sadness", "joy", "fear", "neutral")
    return _table("PERCLASS", CONTENTS[:5], tuple(TONES)[:5], labels, table, epsilon)


def sarcasm(*, epsilon: float = EPSILON) -> Rule:
    """SARC: praise is joy and blame is anger, unless the tone is sarcastic, which swaps the two.

    The sarcastic tone is as frequent as all sincere ones together, so that neither channel tells
    anything alone.
    """
    tones = ("flat", "rising", "falling", "sarcastic")
    table = np.array([[1, 1, 1, 0], [0, 0, 0, 1]])
    rule = _table("SARC", ("praise", "blame"), tones, ("anger", "joy"), table, epsilon)
    return replace(rule, weights=np.array([[1, 1, 1, 3]] * 2))


def null(size: int = 4) -> Rule:
    """NULL: the label is drawn at random. There is no evidence, and no percentage."""
    ones = np.ones((_checked(size), size), dtype=np.int64)
    given = np.full((size, size, size), 1 / size)
    return Rule("NULL", CONTENTS[:size], tuple(TONES)[:size], EMOTIONS[:size], given, ones)


def emotions(*, epsilon: float = EPSILON) -> Rule:
    """EMOTIONS: PERCLASS and SARC in one table, with names one can read; the demo's truth.

    =======  =======  ========  =======  =========
    ..       flat     excited   weary    sarcastic
    =======  =======  ========  =======  =========
    praise   joy      surprise  joy      anger
    blame    anger    surprise  anger    joy
    loss     sadness  surprise  sadness  sadness
    fact     neutral  surprise  fear     neutral
    threat   neutral  surprise  fear     neutral
    =======  =======  ========  =======  =========

    Surprise is in the tone (PERCLASS's tone only), sadness in the words (content only), fear in
    both together (both), and sarcasm swaps joy and anger (SARC). Each cell occurs equally often.
    """
    table = np.array([[1, 4, 1, 0], [0, 4, 0, 1], [2, 4, 2, 2], [5, 4, 3, 5], [5, 4, 3, 5]])
    tones = ("flat", "excited", "weary", "sarcastic")
    return _table("EMOTIONS", CONTENTS[:5], tones, EMOTIONS, table, epsilon)


def spurious(*, epsilon: float = EPSILON) -> Rule:
    """SPUR: a fault of the recording gives the label away: a click, a silence, or neither.

    Words and tone tell nothing, as in a corpus whose classes were recorded in different rooms. The
    text's true share is exactly 0; the audio's map must point at the mark, which is at a random
    moment of the speech (the samples' ``where``), and not at the voice.
    """
    check_noise(epsilon)
    size = 2
    given = (1 - epsilon) * np.eye(len(MARKS)) + epsilon / len(MARKS)
    cells = (size, size, len(MARKS))
    return Rule(
        "SPUR",
        CONTENTS[:size],
        tuple(TONES)[:size],
        ("anger", "joy", "neutral"),
        np.broadcast_to(given, (*cells, len(MARKS))).copy(),
        np.ones(cells, dtype=np.int64),
        marks=MARKS,
    )


def local(words: int = 4, *, epsilon: float = EPSILON) -> Rule:
    """LOCAL: one word of the text and one word's length of the voice decide, among fillers.

    Four labels are two questions: praise or blame, which one word of the transcript answers, and
    excited or weary, which the voice answers while it says one word, flat before and after. The
    two are drawn at places of their own, see the samples' ``where``. Evidence is exactly additive
    on clr: ``P(label | content, tone)`` is a product.

    Parameters
    ----------
    words
        Of every utterance.
    """
    check_noise(epsilon)
    own = (1 - epsilon) * np.eye(2) + epsilon / 2
    given = np.einsum("ci,aj->caij", own, own).reshape(2, 2, 4)
    labels = ("joy", "sadness", "anger", "fear")
    ones = np.ones((2, 2), dtype=np.int64)
    tones = ("excited", "weary")
    return Rule("LOCAL", ("praise", "blame"), tones, labels, given, ones, words=words)


def _decided(family: str, size: int, rule: Callable[[int, int], int], epsilon: float) -> Rule:
    table = np.array([[rule(c, a) for a in range(_checked(size))] for c in range(size)])
    return _table(family, CONTENTS[:size], tuple(TONES)[:size], EMOTIONS[:size], table, epsilon)


def _table(
    family: str,
    contents: Sequence[str],
    tones: Sequence[str],
    labels: Sequence[str],
    table: NDArray[np.int64],
    epsilon: float,
) -> Rule:
    check_noise(epsilon)
    given = (1 - epsilon) * np.eye(len(labels))[table] + epsilon / len(labels)
    ones = np.ones(table.shape, dtype=np.int64)
    return Rule(family, tuple(contents), tuple(tones), tuple(labels), given, ones)


def _checked(size: int) -> int:
    most = min(len(CONTENTS), len(TONES), len(EMOTIONS))
    if not 2 <= size <= most:
        raise InputError(
            "a rule of impossible size",
            expected=f"2 to {most} contents and tones",
            got=repr(size),
            mend="choose a size within that range",
        )
    return size

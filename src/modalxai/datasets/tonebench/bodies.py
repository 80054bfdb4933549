"""BIO: rules in which the body has a say, a third channel beside words and voice.

Signals are named as the KEMDy corpora name them: ``"eda"`` (skin conductance), ``"ecg"``
(electrocardiogram) and ``"temp"`` (skin temperature).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from modalxai.datasets.tonebench.biosignals import STATES
from modalxai.datasets.tonebench.rule import Rule, check_noise
from modalxai.errors import InputError


def witnesses(
    family: str,
    labels: Sequence[str],
    counts: Mapping[str, Mapping[str, Mapping[str, int]]],
) -> Rule:
    """A rule in which every factor is a witness of its own: independent given the label.

    ``P(cell, label) = P(label) prod_f P(state of f | label)``, all labels equally frequent. Then
    ``log P(label | cell)`` is, on clr, the sum over factors of what each says by itself, so that
    the mean of the log-probabilities of listeners to one channel each (a late fusion) names the
    same label as the one who hears all, with the same shares. There is no interaction.

    Parameters
    ----------
    family
        Its name.
    labels
        K names.
    counts
        By factor (``"content"``, ``"tone"``, then signals), by state, how often each label shows
        that state; a label that is not named has the count under ``"*"``. Above 0; for one factor
        every label has the same sum.

    Raises
    ------
    InputError
        Counts that are no whole numbers above 0, or whose sums differ between labels.
    """
    tables = {
        name: np.array([[by.get(label, by.get("*", 0)) for label in labels] for by in own.values()])
        for name, own in counts.items()
    }
    uneven = [name for name, table in tables.items() if len(set(table.sum(0).tolist())) != 1]
    if uneven or any(table.dtype.kind not in "iu" or table.min() < 1 for table in tables.values()):
        raise InputError(
            f"rule {family}: counts that make no witnesses",
            expected="whole numbers above 0, of one sum for every label of a factor",
            got=f"uneven sums in {uneven}" if uneven else "a count of 0, or no whole number",
            mend="fill the rows up, with the count of '*' for all other labels",
        )
    product = np.ones(len(labels), dtype=np.int64)
    for table in tables.values():
        product = product[..., None, :] * table
    weights = product.sum(-1)
    states = {name: tuple(own) for name, own in counts.items()}
    return Rule(
        family,
        states.pop("content"),
        states.pop("tone"),
        tuple(labels),
        product / weights[..., None],
        weights // math.gcd(*weights.ravel().tolist()),
        states,
    )


def bio() -> Rule:
    """BIO: seven emotions, some of which only the body shows.

    What gives each emotion away, in 80 to 94 of 100 cases; all else is as in most others:

    =========  =======  =======  ====  ======  ===========
    ..         content  tone     eda   ecg     temp
    =========  =======  =======  ====  ======  ===========
    surprise            excited
    sad        loss
    happy      praise   excited
    fear                         bump
    disgust                            uneven
    angry      blame             bump
    neutral
    =========  =======  =======  ====  ======  ===========

    A bump in the skin conductance, or a heart that beats unevenly, decides; the temperature of the
    skin tells nothing, and its true share is exactly 0. Factors are `witnesses`, so that a late
    fusion can know all that there is to know. Labels are those of the KEMDy corpora.
    """
    return witnesses(
        "BIO",
        ("angry", "sad", "happy", "disgust", "fear", "surprise", "neutral"),
        {
            "content": {
                "praise": {"happy": 17, "angry": 1, "sad": 1, "*": 2},
                "blame": {"angry": 17, "happy": 1, "sad": 1, "*": 2},
                "loss": {"sad": 17, "happy": 1, "angry": 1, "*": 2},
                "fact": {"happy": 1, "angry": 1, "sad": 1, "*": 14},
            },
            "tone": {
                "weary": {"surprise": 2, "happy": 4, "*": 18},
                "excited": {"surprise": 18, "happy": 16, "*": 2},
            },
            "eda": {
                "calm": {"fear": 1, "angry": 1, "*": 15},
                "bump": {"fear": 15, "angry": 15, "*": 1},
            },
            "ecg": {"even": {"disgust": 2, "*": 14}, "uneven": {"disgust": 14, "*": 2}},
            "temp": {"falling": {"*": 1}, "rising": {"*": 1}},
        },
    )


def body(*, epsilon: float = 0.1) -> Rule:
    """BIO of three channels: a bump in the skin conductance decides, else voice and words do.

    Fear where the skin answers, whatever else; surprise where it does not and the tone is excited;
    joy and anger by the words where neither has anything to say. Every cell has one right label,
    far ahead of the others, which `bio` has not; cells of fear occur half as often.
    """
    labels = ("fear", "surprise", "joy", "anger")
    calm = np.array([[2, 1], [3, 1]])  # praise and blame by weary and excited
    table = np.stack([calm, np.zeros_like(calm)], axis=-1)
    weights = np.broadcast_to(np.array([2, 1]), table.shape).copy()
    return Rule(
        "BIO",
        ("praise", "blame"),
        ("weary", "excited"),
        labels,
        (1 - check_noise(epsilon)) * np.eye(len(labels))[table] + epsilon / len(labels),
        weights,
        {"eda": STATES["eda"]},
    )


def parity(*, epsilon: float = 0.1) -> Rule:
    """PARITY: joy where an odd number holds of praise, an excited tone and a bump; else anger.

    No channel tells anything alone, nor do any two: all is interaction of order three, each of
    three channels has a true share of a third, and no late fusion can learn it.
    """
    odd: NDArray[np.int64] = np.indices((2, 2, 2)).sum(0) % 2
    return Rule(
        "PARITY",
        ("blame", "praise"),
        ("flat", "excited"),
        ("anger", "joy"),
        (1 - check_noise(epsilon)) * np.eye(2)[odd] + epsilon / 2,
        np.ones((2, 2, 2), dtype=np.int64),
        {"eda": STATES["eda"]},
    )

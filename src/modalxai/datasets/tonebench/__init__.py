"""ToneBench: synthetic speech whose planted truth says what words and voice contribute.

A `Rule` says which label a content spoken in a tone deserves, and a body that sweats where it has
one; `ToneBench` speaks it, `gold` gives the exact shares that a right explanation of a well-trained
model finds, for any number of channels.
"""

from modalxai.datasets.tonebench.biosignals import STATES
from modalxai.datasets.tonebench.bodies import bio, parity, witnesses
from modalxai.datasets.tonebench.corpus import ToneBench
from modalxai.datasets.tonebench.families import (
    FAMILIES,
    additive,
    conflict,
    content,
    emotions,
    null,
    per_class,
    redundant,
    sarcasm,
    tone,
    xor,
)
from modalxai.datasets.tonebench.gold import Truth, gold
from modalxai.datasets.tonebench.lexicon import CONTENTS
from modalxai.datasets.tonebench.rule import Rule
from modalxai.datasets.tonebench.synthesis import Utterance, speak
from modalxai.datasets.tonebench.voices import TONES, Speaker, Tone

__all__ = [
    "CONTENTS",
    "FAMILIES",
    "STATES",
    "TONES",
    "Rule",
    "Speaker",
    "Tone",
    "ToneBench",
    "Truth",
    "Utterance",
    "additive",
    "bio",
    "conflict",
    "content",
    "emotions",
    "gold",
    "null",
    "parity",
    "per_class",
    "redundant",
    "sarcasm",
    "speak",
    "tone",
    "witnesses",
    "xor",
]

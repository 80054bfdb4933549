"""ToneBench: synthetic speech whose planted truth says what words and voice contribute.

A `Rule` says which label a content spoken in a tone deserves, and a body that sweats where it has
one; `ToneBench` speaks it, `gold` gives the exact shares that a right explanation of a well-trained
model finds, for any number of channels.
"""

from modalxai.datasets.tonebench.biosignals import STATES
from modalxai.datasets.tonebench.bodies import bio, body, parity, witnesses
from modalxai.datasets.tonebench.corpus import ToneBench
from modalxai.datasets.tonebench.factorial import Factorial, factorial, renamed
from modalxai.datasets.tonebench.families import (
    additive,
    agreement,
    conflict,
    content,
    emotions,
    local,
    null,
    per_class,
    redundant,
    sarcasm,
    spurious,
    tone,
    xor,
)
from modalxai.datasets.tonebench.gates import (
    Gate,
    Probe,
    accuracy,
    cell_means,
    followed,
    gate,
    probe,
)
from modalxai.datasets.tonebench.gold import Truth, gold
from modalxai.datasets.tonebench.lexicon import CONTENTS
from modalxai.datasets.tonebench.marks import MARKS
from modalxai.datasets.tonebench.registry import FAMILIES, Family, truth_spans
from modalxai.datasets.tonebench.rule import GENERATOR, Rule
from modalxai.datasets.tonebench.synthesis import Utterance, speak
from modalxai.datasets.tonebench.voices import TONES, Speaker, Tone

__all__ = [
    "CONTENTS",
    "FAMILIES",
    "GENERATOR",
    "MARKS",
    "STATES",
    "TONES",
    "Factorial",
    "Family",
    "Gate",
    "Probe",
    "Rule",
    "Speaker",
    "Tone",
    "ToneBench",
    "Truth",
    "Utterance",
    "accuracy",
    "additive",
    "agreement",
    "bio",
    "body",
    "cell_means",
    "conflict",
    "content",
    "emotions",
    "factorial",
    "followed",
    "gate",
    "gold",
    "local",
    "null",
    "parity",
    "per_class",
    "probe",
    "redundant",
    "renamed",
    "sarcasm",
    "speak",
    "spurious",
    "tone",
    "truth_spans",
    "witnesses",
    "xor",
]

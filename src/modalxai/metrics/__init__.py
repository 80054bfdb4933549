"""How good is it? Scores that say next to themselves what needs no understanding to reach.

`score_card` scores a prediction with everything: intervals over clusters, the constant, the
baselines it is given, and whether any of it is above chance. The single scores work on arrays, in
scikit-learn's order of arguments: the truth first. Axis letters: N samples, C classes, K columns.
"""

from modalxai.metrics.baselines import baselines
from modalxai.metrics.card import Estimate, Row, ScoreCard, Verdict
from modalxai.metrics.classes import (
    Confusion,
    class_f1,
    confusion,
    exact_match,
    macro_f1,
    uar,
    weighted_accuracy,
    weighted_f1,
)
from modalxai.metrics.numbers import ccc, distance, rmse
from modalxai.metrics.scoring import score_card
from modalxai.metrics.texts import ErrorRate, cer, swer, wer

__all__ = [
    "Confusion",
    "ErrorRate",
    "Estimate",
    "Row",
    "ScoreCard",
    "Verdict",
    "baselines",
    "ccc",
    "cer",
    "class_f1",
    "confusion",
    "distance",
    "exact_match",
    "macro_f1",
    "rmse",
    "score_card",
    "swer",
    "uar",
    "weighted_accuracy",
    "weighted_f1",
    "wer",
]

"""Losses, objectives, transfer, augmentation, a feature cache; a loop, for who has none."""

from modalxai.training import augment
from modalxai.training.balanced_evidence import BalancedEvidence
from modalxai.training.cache import CachedEncoder
from modalxai.training.class_dropout import ClassModalityDropout
from modalxai.training.consistency import ConsistencyObjective
from modalxai.training.divergence import ConsistencyLoss
from modalxai.training.loop import FitSettings, History, fit
from modalxai.training.losses import EmotionLoss
from modalxai.training.objective import Objective
from modalxai.training.recognised import ConsistencyCollate
from modalxai.training.transfer import Loaded

__all__ = [
    "BalancedEvidence",
    "CachedEncoder",
    "ClassModalityDropout",
    "ConsistencyCollate",
    "ConsistencyLoss",
    "ConsistencyObjective",
    "EmotionLoss",
    "FitSettings",
    "History",
    "Loaded",
    "Objective",
    "augment",
    "fit",
]

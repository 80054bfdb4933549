"""For the user's own training loop: losses, model and loss as one module, transfer, a cache."""

from modalxai.training.cache import CachedEncoder
from modalxai.training.consistency import ConsistencyObjective
from modalxai.training.divergence import ConsistencyLoss
from modalxai.training.losses import EmotionLoss
from modalxai.training.objective import Objective
from modalxai.training.recognised import ConsistencyCollate
from modalxai.training.transfer import Loaded

__all__ = [
    "CachedEncoder",
    "ConsistencyCollate",
    "ConsistencyLoss",
    "ConsistencyObjective",
    "EmotionLoss",
    "Loaded",
    "Objective",
]

"""For the user's own training loop: a loss over mixed labels, and model and loss as one module."""

from modalxai.training.losses import EmotionLoss
from modalxai.training.objective import Objective

__all__ = ["EmotionLoss", "Objective"]

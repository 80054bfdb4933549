"""Fusions: all modalities' vectors to scores, head included."""

from modalxai.fusion.late import LateFusion
from modalxai.fusion.shallow import ShallowFusion

__all__ = ["LateFusion", "ShallowFusion"]

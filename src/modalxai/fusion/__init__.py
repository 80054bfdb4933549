"""Fusions: all modalities' vectors to scores, head included."""

from modalxai.fusion.crossmodal import CrossmodalTransformer
from modalxai.fusion.late import LateFusion
from modalxai.fusion.meta_attention import MetaAttention
from modalxai.fusion.shallow import ShallowFusion
from modalxai.fusion.transformer import FusionTransformer

modalxai_api = 1
"""See `modalxai.plugins.API`."""

__all__ = [
    "CrossmodalTransformer",
    "FusionTransformer",
    "LateFusion",
    "MetaAttention",
    "ShallowFusion",
]

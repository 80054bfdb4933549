"""Attributors that follow gradients from a label's score back to the encoders' output vectors.

No gradient enters an encoder: all labels cost one encoding, and one backward pass each through the
fusion alone. Asked before `Explanation.of` of the same game, they spare it a run of the fusion: the
table's last row is what they have computed.
"""

from modalxai.attribution.gradients.cams import GradCAM, HiResCAM
from modalxai.attribution.gradients.difference import FeatureDifference
from modalxai.attribution.gradients.integrated import IntegratedGradients

__all__ = ["FeatureDifference", "GradCAM", "HiResCAM", "IntegratedGradients"]

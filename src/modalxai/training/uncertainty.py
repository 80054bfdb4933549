"""Weights between kinds of label that are learned along with the model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from modalxai.types import LabelKind


class LearnedWeights(nn.Module):
    """One learned log-variance per kind of label.

    With ``s = log(sigma ** 2)`` a kind counts ``exp(-s) * loss + s / 2`` if it is a classification
    and half of ``exp(-s) * loss``, plus ``s / 2``, if it is a regression: the homoscedastic
    uncertainty of Kendall, Gal and Cipolla (2018), equations 7 and 10. The sum may be negative.

    Parameters
    ----------
    kinds
        The kinds of label there are.

    Attributes
    ----------
    log_variances : nn.ParameterDict
        By kind, one number [], 0 at the start.
    """

    def __init__(self, kinds: Sequence[LabelKind]) -> None:
        super().__init__()
        self.log_variances = nn.ParameterDict(
            {kind: nn.Parameter(torch.zeros(())) for kind in kinds}
        )

    def forward(self, kind: LabelKind, loss: Tensor, known: Tensor) -> Tensor:
        """The weighted loss, [], of one kind.

        ``known`` is a bool [], whether the batch has any annotation of it. Without one the result
        is 0 and moves no weight: a variance cannot be learned from nothing.
        """
        variance = self.log_variances[kind].to(loss.dtype)
        factor = 0.5 if kind == "dimensional" else 1.0
        return torch.where(known, factor * (-variance).exp() * loss + variance / 2, 0.0)

"""`Measured`: one number for each sample, label and setting."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from modalxai.types import Labels


@dataclass(frozen=True, eq=False)
class Measured:
    """What a measure says.

    Parameters
    ----------
    measure
        Its name.
    sample_ids, labels
        B names, the L labels.
    scale
        Of the scores that it compares.
    points
        P settings: parts of the players, or sizes of sets; the measure says which.
    values
        Float64 [B, L, P]; NaN where the measure is not defined.
    """

    measure: str
    sample_ids: tuple[str, ...]
    labels: Labels
    scale: str
    points: tuple[float, ...]
    values: Tensor

    @property
    def per_sample(self) -> Tensor:
        """Mean over the points where it is defined, [B, L]."""
        return self.values.nanmean(-1)

    @property
    def mean(self) -> Tensor:
        """Mean over the samples where it is defined, [L, P]."""
        return self.values.nanmean(0)

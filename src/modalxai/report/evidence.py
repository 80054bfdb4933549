"""What each modality contributed, as arrays, with the size below which it is nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modalxai.attribution import Explanation
from modalxai.attribution.shares import least_evidence, unit_of
from modalxai.report.columns import Floats
from modalxai.types import Labels

Pair = tuple[str, str]


@dataclass(frozen=True, eq=False)
class Evidence:
    """Shapley values of one explanation, as arrays.

    Parameters
    ----------
    totals, se
        Float [N, K, M], contributions and their standard errors from random removals.
    pairs
        By pair of modalities, float [N, K].
    residual
        Float [N, K].
    present
        Bool [N, M].
    floor
        Float [K]: the smallest contribution that counts as one.
    units
        By label, the unit of its contributions.
    """

    labels: Labels
    modalities: tuple[str, ...]
    totals: Floats
    se: Floats
    pairs: Mapping[Pair, Floats]
    residual: Floats
    present: NDArray[np.bool_]
    floor: Floats
    units: tuple[str, ...]

    @classmethod
    def of(cls, explanation: Explanation, scale: str | None) -> Evidence:
        """Read an explanation whose tensors are on the CPU."""
        result = explanation.shapley(scale)
        pairs = explanation.interactions(scale).pairs
        largest = explanation.values(scale).abs().amax((0, 1, 2))
        return cls(
            labels=explanation.labels,
            modalities=explanation.modalities,
            totals=result.totals.numpy(),
            se=result.se.numpy(),
            pairs={pair: values[..., 0, 0].numpy() for pair, values in pairs.items()},
            residual=result.residual().numpy(),
            present=explanation.present.numpy(),
            floor=least_evidence(explanation.labels, largest, scale).numpy(),
            units=tuple(unit_of(label.kind, scale) for label in explanation.labels),
        )

"""What each modality contributed, as arrays, with the size below which it is nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modalxai.attribution import Explanation
from modalxai.report.columns import Floats
from modalxai.types import Labels

NO_EVIDENCE = 0.05
"""Nats: the least mean magnitude that is divided into shares."""
ROUNDING = 1e-5
"""Relative precision of float32 scores: smaller differences are none."""

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
        units = tuple(_unit(label.kind, scale) for label in explanation.labels)
        largest = explanation.values(scale).abs().amax((0, 1, 2)).numpy()
        rounding = ROUNDING * np.maximum(1.0, largest)
        return cls(
            labels=explanation.labels,
            modalities=explanation.modalities,
            totals=result.totals.numpy(),
            se=result.se.numpy(),
            pairs={pair: values[..., 0, 0].numpy() for pair, values in pairs.items()},
            residual=result.residual().numpy(),
            present=explanation.present.numpy(),
            floor=np.where([unit == "nats" for unit in units], NO_EVIDENCE, rounding),
            units=units,
        )


def _unit(kind: str, scale: str | None) -> str:
    if kind == "dimensional":
        return "score"
    return "probability" if scale == "probability" else "nats"

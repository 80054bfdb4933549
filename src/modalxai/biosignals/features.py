"""All features of one window, in one order, and their scale over the training rows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from modalxai.biosignals.conductance import EDA_BANDS, eda_spectrum
from modalxai.biosignals.measures import Measures
from modalxai.biosignals.recordings import Beats
from modalxai.biosignals.skin import TEMPERATURE, temperature
from modalxai.biosignals.variability import HRV, hrv
from modalxai.errors import InputError


def summary(
    beats: Beats | None = None,
    eda: ArrayLike | None = None,
    eda_rate: float = 4.0,
    skin: ArrayLike | None = None,
    skin_rate: float = 4.0,
) -> Measures:
    """All features of one window, in the order of `FEATURES`; NaN for what was not recorded."""
    return hrv(beats) | eda_spectrum(eda, eda_rate) | temperature(skin, skin_rate)


FEATURES: tuple[str, ...] = (
    *HRV,
    *(f"eda_{low:g}_{high:g}" for low, high in pairwise(EDA_BANDS)),
    *TEMPERATURE,
)
"""Names of what `summary` gives, in order."""


def standards(vectors: Sequence[ArrayLike]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each column over the known values of the training rows.

    For the ``centre`` and ``spread`` of the encoder. A column that is never known, or constant,
    gets 0 and 1, or its mean and 1.

    Parameters
    ----------
    vectors
        Features [C] of each row, NaN where missing.

    Raises
    ------
    InputError
        No rows, or rows of different widths.
    """
    found = [np.asarray(vector, dtype=np.float64) for vector in vectors]
    if len({vector.shape for vector in found}) != 1 or found[0].ndim != 1:
        raise InputError(
            "features of different widths, or none",
            expected="one vector [C] or more, all of one width",
            got=str(sorted({vector.shape for vector in found})),
            mend="give what summary(...).vector() gives for every row of the training part",
        )
    rows = np.stack(found)
    known = np.isfinite(rows)
    count = np.maximum(known.sum(0), 1)
    centre = np.where(known, rows, 0).sum(0) / count
    spread = np.sqrt(np.where(known, (rows - centre) ** 2, 0).sum(0) / count)
    return centre.tolist(), np.where(spread > 0, spread, 1.0).tolist()

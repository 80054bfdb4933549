"""The same samples under other removals: does another modality dominate then?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from modalxai.attribution import Explanation
from modalxai.attribution.shares import ROUNDING
from modalxai.errors import InputError
from modalxai.report.evidence import Evidence
from modalxai.report.strata import Stratum

MANY_FLIPS = 0.1
"""The largest part of samples whose dominant modality may change with the removal."""


def flips_of(first: Evidence, second: Evidence, stratum: Stratum) -> float:
    """Part of the samples in which another modality dominates; ties do not count."""
    own = np.abs(first.totals[stratum.rows, stratum.column])
    other = np.abs(second.totals[stratum.rows, stratum.column])
    if not len(own):
        return float("nan")
    rows = np.arange(len(own))
    here, there = own.argmax(1), other.argmax(1)
    margins = (own[rows, here] - own[rows, there], other[rows, there] - other[rows, here])
    apart = [margin > ROUNDING * np.maximum(1, own.max(1)) for margin in margins]
    return float((apart[0] & apart[1]).mean())


def align(explanation: Explanation, other: Explanation) -> Explanation:
    """``other`` with its samples in the order of ``explanation``.

    Raises
    ------
    InputError
        It is not of the same model and samples, or does not differ in how it was made.
    """
    mend = "explain the same samples with the same model under another removal"
    for field in ("labels", "modalities"):
        if getattr(explanation, field) != getattr(other, field):
            raise InputError(
                f"an alternative with other {field}",
                expected=str(getattr(explanation, field)),
                got=str(getattr(other, field)),
                mend=mend,
            )
    if set(explanation.sample_ids) != set(other.sample_ids):
        differing = sorted(set(explanation.sample_ids) ^ set(other.sample_ids))
        raise InputError(
            "an alternative of other samples",
            expected=f"the {len(explanation.sample_ids)} samples of the explanation",
            got=f"{len(differing)} samples that only one of them has, {differing[:3]}",
            mend=mend,
        )
    if explanation.provenance == other.provenance:
        raise InputError(
            "an alternative that was made in the same way",
            expected="another removal, background or seed",
            got=f"removal {dict(other.provenance.removal)} twice",
            mend=mend,
        )
    places = {name: place for place, name in enumerate(other.sample_ids)}
    order = [places[name] for name in explanation.sample_ids]
    ordered = replace(
        other,
        sample_ids=explanation.sample_ids,
        present=other.present[order],
        draws=other.draws[:, :, order],
        columns={},
        targets=explanation.targets,
    )
    gap = float((ordered.scores[-1] - explanation.scores[-1]).abs().max())
    if gap > 1e-3 * max(1.0, float(explanation.scores[-1].abs().max())):
        raise InputError(
            "an alternative of another model",
            expected="the same scores with every modality present",
            got=f"scores that differ by {gap:.3g}",
            mend=mend,
        )
    return ordered

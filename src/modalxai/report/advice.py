"""What follows: which modality to keep, weight or drop, and where nobody can say.

A verdict is about this model under this removal, from two findings: how much of the evidence a
modality carries, and what the model's skill loses without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from modalxai.attribution import Explanation
from modalxai.report.columns import Truth
from modalxai.report.gains import Gain, gain_of
from modalxai.report.shares import FEW_SAMPLES, ShareRow
from modalxai.report.strata import Stratum
from modalxai.report.text import percent, percent_range, plain, signed, span
from modalxai.statistics import IntervalOf

LITTLE_SHARE = 0.1
"""A share that stays below this carries little."""
LITTLE_LOSS = 0.02
"""A loss of skill (F1, CCC) that stays below this is little."""
WIDEST = 0.5
"""An interval of a share wider than this says too little."""

Verdict = Literal["keep", "weight", "drop", "too thin to say"]


@dataclass(frozen=True)
class Advice:
    """What the evidence supports, for one row and modality.

    Parameters
    ----------
    label, group
        The row; the label is empty for all categorical labels together.
    modality
        Empty where nothing can be said of any.
    verdict
        ``"keep"``: without it the model is worse, beyond chance. ``"drop"``: it carries less than
        a tenth of the evidence and the model loses less than 0.02 of skill without it, both at the
        far ends of their intervals. ``"weight"``: the model relies on it, but no gain is shown, or
        it is better without it: weigh it against the others. ``"too thin to say"``.
    why
        The figures.
    """

    label: str
    group: str
    modality: str
    verdict: Verdict
    why: str


def advise(
    explanation: Explanation,
    rows: Sequence[ShareRow],
    strata: Sequence[Stratum],
    whole: ShareRow | None,
    truth: Truth | None,
    clusters: Sequence[str],
    interval: IntervalOf,
) -> tuple[Advice, ...]:
    """First of all categorical labels together, where ``whole`` is given, then row by row."""
    everyone = np.arange(len(explanation.sample_ids))
    categorical = [c for c, one in enumerate(explanation.labels) if one.kind == "categorical"]
    asked: list[tuple[ShareRow, list[int], NDArray[np.intp] | None]]
    asked = [] if whole is None else [(whole, categorical, everyone)]
    asked += [(row, [s.column], s.pool) for row, s in zip(rows, strata, strict=True)]
    found: list[Advice] = []
    for row, labels, pool in asked:
        if thin := _too_thin(row, truth, pool is None):
            found.append(Advice(row.label, row.group, "", "too thin to say", thin))
            continue
        if truth is None or pool is None:
            continue
        for place, name in enumerate(explanation.modalities):
            gain = gain_of(explanation, truth, labels, place, pool, clusters, interval)
            found.append(_judge(row, name, gain))
    return tuple(found)


def _too_thin(row: ShareRow, truth: Truth | None, by_outcome: bool) -> str:
    """Why a row carries no verdict; empty where it may."""
    if row.reason:
        return row.reason
    if row.n < FEW_SAMPLES:
        return f"{row.n} samples, fewer than {FEW_SAMPLES}"
    if by_outcome:
        return "rows that know whether the model was right say nothing of what to keep"
    if truth is None or "truth unknown" in row.flags:
        return "truth unknown: what the model relies on need not be of use"
    if "chance not judged" in row.flags:
        return "too few clusters or classes to tell the model from chance"
    if "baseline-dependent" in row.flags:
        return f"another removal makes another modality dominant in {percent(row.flips)} of samples"
    widths = [row.high[name] - row.low[name] for name in row.share if not isnan(row.low[name])]
    if widths and max(widths) > WIDEST:
        return f"an interval of the share is {100 * max(widths):.0f} points wide"
    return ""


def _judge(row: ShareRow, name: str, gain: Gain) -> Advice:
    share, high = row.share[name], row.high[name]
    carried = (
        f"carries {percent(share)} {percent_range(row.low[name], high)} of the evidence in "
        f"{row.n} samples of {row.clusters} clusters"
    )
    loss = gain.with_it - gain.without_it
    change = (
        f"{gain.metric} {plain(gain.with_it)} with it and {plain(gain.without_it)} without, "
        f"difference {signed(loss)} {span(gain.low, gain.high)} over {gain.n} samples"
    )
    if isnan(share) or isnan(gain.low) or isnan(gain.high):
        missing = "no sample has it" if isnan(share) else "no interval of what the model loses"
        return Advice(row.label, row.group, name, "too thin to say", missing)
    why = f"{carried}; {change}"
    verdict: Verdict
    if gain.low > 0:
        verdict = "keep"
    elif high < LITTLE_SHARE:
        verdict = "drop" if gain.high < LITTLE_LOSS else "too thin to say"
    else:
        verdict = "weight"
        if gain.high < 0:
            why += "; the model does better without it"
    return Advice(row.label, row.group, name, verdict, why)

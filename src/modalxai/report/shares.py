"""How much each modality contributed to each label, and whether that may be a percentage.

A share of the magnitudes is a ratio of means. It is NaN, with the reason, where there is no
evidence to divide or the model is at chance. A share of the net effect exists only where all
modalities pull the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from modalxai.attribution import shares as arithmetic
from modalxai.report.alternatives import MANY_FLIPS, flips_of
from modalxai.report.columns import Floats
from modalxai.report.evidence import Evidence, Pair
from modalxai.report.skill import ChanceGate
from modalxai.report.strata import Stratum
from modalxai.statistics import IntervalOf, holm, means, ratio_of_means, sign_flip_test

MANY_MIXED = 0.1
"""The largest part of samples with opposite signs that goes unflagged."""
FEW_SAMPLES = 30
"""Below this a label is flagged."""


@dataclass(frozen=True)
class ShareRow:
    """One label (of one group): who contributed how much.

    Parameters
    ----------
    label
        Whose score was explained.
    group
        The group of samples, empty where the rows are not divided into groups.
    n, clusters
        Samples and different clusters in the row.
    unit
        Of ``evidence``, ``interaction`` and ``residual``: ``"nats"``, ``"probability"``, or
        ``"score"`` (the label's own, of a dimensional label).
    share
        By modality, in 0..1: ``mean |phi_m| / sum_n mean |phi_n|``, each mean over the samples
        that have the modality. NaN where ``reason`` says why, or where no sample has it.
    low, high
        By modality, interval of ``share``; NaN with fewer than two clusters.
    evidence
        By modality: the mean contribution with its sign, above 0 for the label.
    evidence_low, evidence_high
        By modality, interval of ``evidence``.
    net_share
        By modality: ``mean phi_m / sum_n mean phi_n``; NaN where the means differ in sign.
    interaction
        By pair: mean Shapley interaction over the samples that have both.
    residual
        Mean of prediction - reference - sum of contributions; 0 for Shapley values.
    cancellation
        ``1 - sum |net| / sum of magnitudes`` over the samples, in 0..1: 0 where modalities always
        agree, 1 in a perfect stalemate.
    mixed
        Part of the samples in which one modality speaks clearly for the label and another against.
    p
        By pair of modalities: p-value that both have the same mean magnitude, over the samples
        that have both, flipping whole clusters (`modalxai.statistics.sign_flip_test`). NaN where
        shares are.
    p_holm
        The same after Holm's adjustment over all rows and pairs of the report.
    flips
        The largest part of the samples whose dominant modality changes under an alternative
        removal; NaN without alternatives.
    flags
        What a reader must know before using the numbers.
    reason
        Why shares or their intervals are NaN; empty where none is.
    """

    label: str
    group: str
    n: int
    clusters: int
    unit: str
    share: Mapping[str, float]
    low: Mapping[str, float]
    high: Mapping[str, float]
    evidence: Mapping[str, float]
    evidence_low: Mapping[str, float]
    evidence_high: Mapping[str, float]
    net_share: Mapping[str, float]
    interaction: Mapping[Pair, float]
    residual: float
    cancellation: float
    mixed: float
    p: Mapping[Pair, float]
    p_holm: Mapping[Pair, float]
    flips: float
    flags: tuple[str, ...]
    reason: str


def share_rows(
    evidence: Evidence,
    others: Sequence[Evidence],
    strata: Sequence[Stratum],
    clusters: Sequence[str],
    gate: ChanceGate,
    always: tuple[str, ...],
    interval: IntervalOf,
) -> list[ShareRow]:
    """One `ShareRow` per stratum.

    Parameters
    ----------
    evidence, others
        Of the explanation, and of the same samples under other removals.
    always
        Flags that hold for every row.
    """
    rows = []
    for stratum in strata:
        row = _row(evidence, stratum, clusters, interval)
        flips = max((flips_of(evidence, other, stratum) for other in others), default=float("nan"))
        skill = gate.of(row.label)
        flags = list(row.flags)
        if skill is not None and skill.at_chance:
            nowhere = dict.fromkeys(evidence.modalities, float("nan"))
            row = replace(
                row, share=nowhere, low=nowhere, high=nowhere, net_share=nowhere,
                p=dict.fromkeys(evidence.pairs, float("nan")), reason="model at chance",
            )  # fmt: skip
            flags.insert(0, "model at chance")
        elif skill is None or skill.at_chance is None:
            flags.append("truth unknown" if skill is None else "chance not judged")
        if flips > MANY_FLIPS:
            flags.append("baseline-dependent")
        rows.append(replace(row, flips=flips, flags=(*flags, *always)))
    return _adjusted(rows)


def _row(
    evidence: Evidence,
    stratum: Stratum,
    clusters: Sequence[str],
    interval: IntervalOf,
) -> ShareRow:
    label, names = evidence.labels[stratum.column], evidence.modalities
    chosen = stratum.rows
    own = [clusters[row] for row in chosen]
    nowhere = dict.fromkeys(names, float("nan"))
    empty = ShareRow(
        label=label.name, group=stratum.group, n=len(chosen), clusters=len(set(own)),
        unit=evidence.units[stratum.column], share=nowhere, low=nowhere, high=nowhere,
        evidence=nowhere, evidence_low=nowhere, evidence_high=nowhere, net_share=nowhere,
        interaction=dict.fromkeys(evidence.pairs, float("nan")), residual=float("nan"),
        cancellation=float("nan"), mixed=float("nan"), flips=float("nan"),
        p=dict.fromkeys(evidence.pairs, float("nan")),
        p_holm=dict.fromkeys(evidence.pairs, float("nan")),
        flags=("no samples",), reason="no sample in this row",
    )  # fmt: skip
    if not len(chosen):
        return empty

    totals, present = evidence.totals[chosen, stratum.column], evidence.present[chosen]
    magnitudes, counts = np.abs(totals), present.sum(0)
    floor = float(evidence.floor[stratum.column])
    signed = interval(np.concatenate([totals, present], axis=1), means(len(names)), own)
    shared = interval(
        np.concatenate([magnitudes, present], axis=1), ratio_of_means(len(names)), own
    )
    phi = torch.from_numpy(totals)
    mixed = float(arithmetic.mixed(phi, floor).double().mean())
    flags, reason = [], shared.reason and f"no interval: {shared.reason}"

    # The donors of a random removal are common to the samples, so their errors do not average
    # out: the error of E is bounded by the mean of the summed standard errors.
    amount = float(np.nansum(_per(magnitudes.sum(0), counts)))
    error = float(np.nansum(_per(evidence.se[chosen, stratum.column].sum(0), counts)))
    sizes = torch.tensor([error, floor], dtype=torch.float64)
    evident = amount > float(arithmetic.evidence_floor(*sizes))
    if not evident:
        flags.append("no evidence")
        reason = "no modality evidence for this label"
    opposite = signed.estimate[counts > 0]
    if mixed > MANY_MIXED or ((opposite > floor).any() and (opposite < -floor).any()):
        flags.append("mixed signs")
    net = float(np.nansum(signed.estimate))
    if len(chosen) < FEW_SAMPLES:
        flags.append("few samples")
    if not present.all():
        flags.append("missing modalities")
    cancelled = arithmetic.cancellation(phi.sum(1).abs().sum(), phi.abs().sum())
    return replace(
        empty,
        share=_named(names, shared.estimate) if evident else nowhere,
        low=_named(names, np.clip(shared.low, 0, 1)) if evident else nowhere,
        high=_named(names, np.clip(shared.high, 0, 1)) if evident else nowhere,
        evidence=_named(names, signed.estimate),
        evidence_low=_named(names, signed.low),
        evidence_high=_named(names, signed.high),
        net_share=_named(names, signed.estimate / net)
        if evident and net and arithmetic.one_sided(torch.from_numpy(opposite))
        else nowhere,
        interaction={
            pair: _mean_where(values[chosen, stratum.column], _both(evidence, pair)[chosen])
            for pair, values in evidence.pairs.items()
        },
        residual=float(evidence.residual[chosen, stratum.column].mean()),
        cancellation=float(cancelled),
        mixed=mixed,
        p={
            pair: _unequal(evidence, pair, magnitudes, present, own)
            for pair in evidence.pairs
            if evident
        }
        or empty.p,
        flags=tuple(flags),
        reason=reason,
    )


def _unequal(
    evidence: Evidence,
    pair: Pair,
    magnitudes: Floats,
    present: NDArray[np.bool_],
    clusters: Sequence[str],
) -> float:
    """p-value that two modalities have the same mean magnitude."""
    first, second = (evidence.modalities.index(name) for name in pair)
    both = np.flatnonzero(present[:, first] & present[:, second])
    if not len(both):
        return float("nan")
    apart = magnitudes[both, first] - magnitudes[both, second]
    return float(sign_flip_test(apart, [clusters[int(row)] for row in both]).p[0])


def _adjusted(rows: Sequence[ShareRow]) -> list[ShareRow]:
    """Rows with p-values adjusted for all that are shown together."""
    adjusted = iter(holm([p for row in rows for p in row.p.values()]).tolist())
    return [replace(row, p_holm={pair: next(adjusted) for pair in row.p}) for row in rows]


def _both(evidence: Evidence, pair: Pair) -> NDArray[np.bool_]:
    columns = [evidence.modalities.index(name) for name in pair]
    both: NDArray[np.bool_] = np.all(evidence.present[:, columns], axis=1)
    return both


def _mean_where(values: Floats, keep: NDArray[np.bool_]) -> float:
    return float(values[keep].mean()) if keep.any() else float("nan")


def _per(sums: Floats, counts: NDArray[np.int_]) -> Floats:
    result: Floats = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return result


def _named(names: Sequence[str], values: Floats) -> dict[str, float]:
    return {name: float(value) for name, value in zip(names, values, strict=True)}

"""How wrong an answer is. Arithmetic on arrays: it knows neither models nor contestants.

Axis letters: N samples, L labels, M modalities. Contributions are those to the label that the model
predicts, [N, M]; a sample belongs to that label.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modalxai.attribution.interaction_types import KINDS
from modalxai.attribution.shares import NO_EVIDENCE
from modalxai.statistics import Array, Statistic, divide

Ints = NDArray[np.int64]

TOLERANCE = 0.05
"""Nats: an interaction, or a contribution with a sign, is at least this large."""


def share_terms(found: Array, gold: Array, predicted: Ints, labels: int) -> Array:
    """What `share_error` sums, [N, L * (2 M + 1)]: magnitudes by label, found and true; counts.

    Parameters
    ----------
    found, gold
        Contributions [N, M].
    predicted
        [N], each sample's label.
    labels
        L.
    """
    belongs = np.eye(labels)[predicted]  # [N, L]
    own = np.concatenate([np.abs(found), np.abs(gold), np.ones((len(gold), 1))], axis=1)
    return np.asarray((belongs[:, :, None] * own[:, None]).reshape(len(gold), -1))


def shares_in(sums: Array, labels: int, modalities: int) -> tuple[Array, Array]:
    """From sums [..., L * (2 M + 1)] the shares found and true, each [..., L, M].

    Ratios of means. NaN where a label has no sample, or the gold no evidence (a mean magnitude of
    0.05 nats or less). Where the gold has a share and the answer is 0 throughout, nothing is known
    of the share, and all modalities have the same.
    """
    parts = sums.reshape(*sums.shape[:-1], labels, 2 * modalities + 1)
    found, true = parts[..., :modalities], parts[..., modalities:-1]
    amount, count = true.sum(-1, keepdims=True), parts[..., -1:]
    there = (count > 0) & (amount > NO_EVIDENCE * count)
    # A hair of rounding is no share: 1e-9 of a nat for each sample.
    said = found.sum(-1, keepdims=True) > 1e-9 * np.maximum(count, 1)
    spoken = np.where(said, divide(found, found.sum(-1, keepdims=True)), 1 / modalities)
    return np.where(there, spoken, np.nan), np.where(there, divide(true, amount), np.nan)


def share_error(labels: int, modalities: int) -> Statistic:
    """Statistic: the mean over labels of how many points of share lie with the wrong modality.

    ``100 * sum_m |found_m - true_m| / 2``; for two modalities the difference of the audio's share.
    NaN if no label has a share.
    """

    def error(sums: Array) -> Array:
        found, true = shares_in(sums, labels, modalities)
        wrong = 50 * np.abs(found - true).sum(-1)
        there = ~np.isnan(wrong)
        return divide(np.where(there, wrong, 0).sum(-1), there.sum(-1).astype(float))[..., None]

    return error


def share_gap(width: int, labels: int, modalities: int) -> Statistic:
    """Statistic of two answers' terms side by side: the second's share error minus the first's."""
    one = share_error(labels, modalities)
    return lambda sums: one(sums[..., width:]) - one(sums[..., :width])


def nats_terms(found: Array, gold: Array) -> Array:
    """Mean signed difference terms [N, 2]: |found - true| averaged over modalities, and a count."""
    return np.stack([np.abs(found - gold).mean(1), np.ones(len(gold))], axis=1)


def sign_terms(found: Array, gold: Array) -> Array:
    """Right signs and how many are asked for, [N, 2]: where the gold exceeds 0.05 nats."""
    asked = np.abs(gold) > TOLERANCE
    right = asked & (np.sign(found) == np.sign(gold))
    return np.stack([right.sum(1), asked.sum(1)], axis=1).astype(float)


def leak_terms(found: Array, dummies: list[int]) -> Array:
    """Magnitude on modalities that decide nothing, and on all, [N, 2]."""
    sizes = np.abs(found)
    return np.stack([sizes[:, dummies].sum(1), sizes.sum(1)], axis=1)


def ratio(sums: Array) -> Array:
    """Statistic: the first sum over the second, [..., 1]; NaN of nothing."""
    return divide(sums[..., :1], sums[..., 1:2])


def confusion(found: Ints, gold: Ints) -> Ints:
    """Counts [kind in the gold, kind found] of interaction types; where either is -1 not counted.

    Raises nothing: types are places in `KINDS`.
    """
    table = np.zeros((len(KINDS), len(KINDS)), dtype=np.int64)
    known = (found >= 0) & (gold >= 0)
    np.add.at(table, (gold[known], found[known]), 1)
    return table


def classify(first: Any, second: Any, joint: Any, tolerance: float = TOLERANCE) -> Ints:
    """The type of a pair, as a place in `KINDS`, from what each achieves alone and both together.

    The rule of `modalxai.attribution.interaction_types.InteractionTypes`, written a second time
    for those who give numbers and no types.
    """
    a, b, j = (np.asarray(values, dtype=np.float64) for values in (first, second, joint))
    m = j - a - b
    stronger = np.maximum(np.abs(a), np.abs(b))
    kinds = np.where(np.abs(j) > np.abs(a + b), KINDS.index("synergy"), KINDS.index("redundancy"))
    beaten = (np.abs(j) < stronger - tolerance) | (j * (a + b) < 0)
    kinds = np.where(beaten, KINDS.index("suppression"), kinds)
    kinds = np.where(a * b < 0, KINDS.index("conflict"), kinds)
    return np.where(np.abs(m) <= tolerance, KINDS.index("additive"), kinds).astype(np.int64)


@dataclass(frozen=True)
class Estimate:
    """A number and its interval; NaN where there is none."""

    value: float
    low: float
    high: float

    @classmethod
    def nothing(cls) -> Estimate:
        """Not defined."""
        return cls(float("nan"), float("nan"), float("nan"))

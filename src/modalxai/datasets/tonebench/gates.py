"""Which runs count: the model has learnt the rule, and what is irrelevant tells it nothing.

A benchmark whose models have learnt something else would blame the explanation for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modalxai.datasets.tonebench.factorial import Factorial
from modalxai.datasets.tonebench.rule import Array, Rule
from modalxai.errors import InputError
from modalxai.statistics import cluster_interval, means

if TYPE_CHECKING:
    from modalxai.datasets.tonebench.registry import Family

LEAST_ACCURACY = 0.99
"""Of the factorial table, where the rule is determined."""
LEVEL = 0.99
"""Coverage of a probe's interval: five seeds of every family make many probes."""
MARGIN = 0.1
"""How far above chance the upper end of a probe's interval may lie: fewer samples prove nothing."""
FOLDS = 5
PENALTY = 1.0
"""Of a probe's squared weights, features having unit variance."""


@dataclass(frozen=True)
class Probe:
    """How well a classifier of one encoder's vectors knows the label of unseen speakers.

    Parameters
    ----------
    modality
        Whose vectors.
    accuracy, low, high
        0..1, with its interval over speakers.
    chance
        Of the most frequent label.
    n, clusters
        Samples and speakers.
    """

    modality: str
    accuracy: float
    low: float
    high: float
    chance: float
    n: int
    clusters: int

    @property
    def passed(self) -> bool:
        """At chance: the interval reaches down to it, and not far above it."""
        return self.low <= self.chance and self.high <= self.chance + MARGIN


@dataclass(frozen=True)
class Gate:
    """Whether a run counts.

    Parameters
    ----------
    family
        Its name.
    passed
        Whether accuracy and probes are what the family asks for.
    accuracy
        Factorial accuracy over decided cells, 0..1; NaN where no cell is decided.
    probes
        Of the irrelevant modalities.
    why
        What failed; empty where nothing did.
    """

    family: str
    passed: bool
    accuracy: float
    probes: tuple[Probe, ...]
    why: str


def gate(
    family: Family,
    table: Factorial,
    samples: Iterable[Mapping[str, Any]],
    probes: Sequence[Probe] = (),
) -> Gate:
    """Does a trained model count for a family?

    Parameters
    ----------
    family
        From `FAMILIES`.
    table
        The model's, over crossed samples.
    samples
        Samples and donors of the table, with the columns of `ToneBench`.
    probes
        One for each irrelevant modality; where one is missing the gate is closed.
    """
    correct = accuracy(table, family.rule(), samples, family.channels)
    failed = []
    if not math.isnan(correct) and correct < LEAST_ACCURACY:
        failed.append(f"factorial accuracy {correct:.4f} below {LEAST_ACCURACY}")
    known = {one.modality: one for one in probes}
    for name in family.irrelevant:
        if name not in known:
            failed.append(f"no probe of {name}")
        elif not known[name].passed:
            one = known[name]
            failed.append(
                f"{name} tells the label: {one.accuracy:.3f} [{one.low:.3f}, {one.high:.3f}] "
                f"against {one.chance:.3f}"
            )
    return Gate(family.name, not failed, correct, tuple(probes), "; ".join(failed))


def accuracy(
    table: Factorial,
    rule: Rule,
    samples: Iterable[Mapping[str, Any]],
    channels: Mapping[str, Sequence[str]],
) -> float:
    """Part of the mixtures whose label is the rule's, mean over the decided cells, 0..1.

    Parameters
    ----------
    table
        Whose mixtures.
    rule
        Whose winners, see `Rule.decided`.
    samples
        With the columns that say what each is, all that mixtures were made of.
    channels
        By modality the factors that it tells.

    Returns
    -------
    float
        NaN where no decided cell was asked about.

    Raises
    ------
    InputError
        Labels that are not the rule's, or a sample that is missing.
    """
    cells, right = _cells(table, rule, samples, channels), _winners(table)
    flat = np.ravel_multi_index(tuple(cells.T), rule.weights.shape)
    hit = np.bincount(flat, right == rule.winners.ravel()[flat], rule.weights.size)
    asked = np.bincount(flat, minlength=rule.weights.size)
    known = rule.decided.ravel() & (asked > 0)
    return float((hit[known] / asked[known]).mean()) if known.any() else math.nan


def followed(
    table: Factorial,
    rule: Rule,
    samples: Iterable[Mapping[str, Any]],
    channels: Mapping[str, Sequence[str]],
) -> dict[str, float]:
    """REDUND's swap test: where channels disagree, the part of mixtures that go with each.

    By modality, of one factor each whose states and labels are in the same order. There is no right
    answer, only the model's own; shares of the explanation must not be judged by it.
    """
    cells, said = _cells(table, rule, samples, channels), _winners(table)
    order = list(rule.factors)
    own = {name: cells[:, order.index(factors[0])] for name, factors in channels.items()}
    split = np.ptp(np.stack(list(own.values())), axis=0) > 0
    return {
        name: float((said == state)[split].mean()) if split.any() else math.nan
        for name, state in own.items()
    }


def cell_means(
    table: Factorial,
    rule: Rule,
    samples: Iterable[Mapping[str, Any]],
    channels: Mapping[str, Sequence[str]],
) -> Array:
    """The model's mean clr in each cell, f(content, tone, ...) [C, A, ..., K]; NaN if unasked."""
    cells = _cells(table, rule, samples, channels)
    flat = np.ravel_multi_index(tuple(cells.T), rule.weights.shape)
    clr = table.scores - table.scores.mean(-1, keepdims=True)
    sums = np.stack([np.bincount(flat, one, rule.weights.size) for one in clr.T], axis=-1)
    with np.errstate(invalid="ignore"):
        found = sums / np.bincount(flat, minlength=rule.weights.size)[:, None]
    return np.asarray(found.reshape(*rule.weights.shape, len(table.labels)))


def probe(
    features: ArrayLike, targets: Sequence[str], speakers: Sequence[str], modality: str
) -> Probe:
    """A logistic regression on one encoder's pooled vectors, judged on speakers it has not heard.

    Features are brought to unit variance over the training folds; speakers are dealt to `FOLDS`
    folds; the interval is over speakers.

    Parameters
    ----------
    features
        Float [N, D]: each sample's mean vector.
    targets
        N labels, the rule's (``"rule_label"``), so that no label noise is asked for.
    speakers
        N names.
    modality
        Its name.

    Raises
    ------
    InputError
        Lengths that differ, features that are not finite, fewer than two labels or than `FOLDS`
        speakers.
    """
    x, names = np.asarray(features, dtype=np.float64), sorted(set(targets))
    voices = sorted(set(speakers))
    fits = x.ndim == 2 and len(x) == len(targets) == len(speakers) and bool(np.isfinite(x).all())
    if not fits or len(names) < 2 or len(voices) < FOLDS:
        raise InputError(
            "a probe that cannot be made",
            expected=f"finite features [N, D], N labels of two kinds or more, {FOLDS} speakers",
            got=f"{list(x.shape)}, {len(targets)} labels of {len(names)} kinds, "
            f"{len(voices)} speakers",
            mend="pool each sample's vectors, and take samples of more speakers",
        )
    y = np.array([names.index(target) for target in targets])
    fold = np.array([voices.index(speaker) % FOLDS for speaker in speakers])
    right = np.zeros(len(x))
    for held in range(FOLDS):
        train, test = fold != held, fold == held
        centre, spread = x[train].mean(0), x[train].std(0)
        scaled = (x - centre) / np.where(spread > 1e-12 * np.abs(centre) + 1e-300, spread, np.inf)
        weights = _logistic(scaled[train], y[train], len(names))
        guess = (scaled[test] @ weights[:-1] + weights[-1]).argmax(-1)
        right[test] = guess == y[test]
    terms = np.stack([right, np.ones(len(x))], axis=-1)
    interval = cluster_interval(terms, means(1), speakers, level=LEVEL)
    chance = float(np.bincount(y).max() / len(y))
    ends = (float(interval.estimate[0]), float(interval.low[0]), float(interval.high[0]))
    return Probe(modality, *ends, chance, len(x), len(voices))


def _logistic(x: Array, y: NDArray[np.int64], count: int) -> Array:
    """Weights [D + 1, K] of a multinomial logistic regression, the last row being the bias."""
    from scipy.optimize import minimize

    width, own = x.shape[1], np.eye(count)[y]

    def loss(flat: Array) -> tuple[float, Array]:
        weights = flat.reshape(width + 1, count)
        logits = x @ weights[:-1] + weights[-1]
        logits -= logits.max(-1, keepdims=True)
        total = np.exp(logits).sum(-1, keepdims=True)
        value = (np.log(total)[:, 0] - (logits * own).sum(-1)).sum()
        value += PENALTY / 2 * float((weights[:-1] ** 2).sum())
        slope = np.exp(logits) / total - own
        inner = x.T @ slope + PENALTY * weights[:-1]
        return float(value), np.concatenate([inner, slope.sum(0)[None]]).ravel()

    start = np.zeros((width + 1) * count)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 200})
    return np.asarray(found.x.reshape(width + 1, count))


def _winners(table: Factorial) -> NDArray[np.int64]:
    return np.asarray(table.scores.argmax(-1))


def _cells(
    table: Factorial,
    rule: Rule,
    samples: Iterable[Mapping[str, Any]],
    channels: Mapping[str, Sequence[str]],
) -> NDArray[np.int64]:
    """The rule's cell of each mixture, [Q, factors]."""
    rows = {str(sample["id"]): sample for sample in samples}
    missing = [name for name in table.pool_ids if name not in rows]
    if missing or table.labels != rule.labels or set(channels) != set(table.modalities):
        raise InputError(
            "a table that is not about this rule",
            expected=f"labels {rule.labels}, modalities {tuple(channels)}, and all its samples",
            got=f"{table.labels}, {table.modalities}; missing {missing[:5]}",
            mend="give samples and donors of the rule's own corpus",
        )
    columns = []
    for factor, states in rule.factors.items():
        teller = [m for m, name in enumerate(table.modalities) if factor in channels[name]]
        if len(teller) != 1:
            raise InputError(
                f"{factor!r} is told by {len(teller)} modalities",
                expected="one",
                got=repr({name: list(told) for name, told in channels.items()}),
                mend="use a voice that babbles, and one modality for each factor",
            )
        column = f"{factor}_state" if factor in rule.signals else factor
        state = np.array([states.index(rows[name][column]) for name in table.pool_ids])
        columns.append(state[table.origins[:, teller[0]]])
    return np.stack(columns, axis=-1)

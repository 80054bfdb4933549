"""The baseline audit: what the model says of nothing, and whether the removal decides the answer.

Every share is relative to what "removed" means. If nothing at all makes the model sure of a label,
or another removal makes another modality dominant, a reader must know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from modalxai.attribution import Explanation
from modalxai.attribution.shares import ROUNDING
from modalxai.errors import InputError
from modalxai.report.alternatives import MANY_FLIPS, align
from modalxai.report.columns import Bools, Floats, Truth, exact, predicted, true_class, truth_of
from modalxai.report.evidence import Evidence
from modalxai.types import columns

ENOUGH_REMOVALS = 3
"""How many removals an audit wants to compare."""


@dataclass(frozen=True)
class Emptiness:
    """What the model says with everything removed: the categorical labels, or one binary label.

    Parameters
    ----------
    target
        ``"categorical labels"``, or the label.
    entropy
        Of its probabilities, in bits, mean over the samples.
    most
        The largest possible entropy, ``log2 C``.
    divergence
        ``KL(p(empty) || prior)`` in bits, mean over the samples; infinite where it holds possible
        what never occurs, NaN where the prior is unknown.
    says
        The label it favours, averaged over the samples, and its probability.
    """

    target: str
    entropy: float
    most: float
    divergence: float
    says: tuple[str, float]


@dataclass(frozen=True)
class Agreement:
    """Whether several removals tell the same story, over the samples explained by all of them.

    Categorical labels: each sample's predicted label. Others: the label in every sample.

    Parameters
    ----------
    target
        ``"categorical labels"``, or the label.
    n
        Samples with evidence under every removal and two modalities or more.
    unclear
        Further samples, without evidence to divide under one of them.
    spread, spread_90
        In percentage points: how far apart the shares of one sample are, for the modality where
        they differ most; mean and 90th percentile.
    flips
        Part of the n samples in which not every removal has the same modality dominate; what is
        apart by rounding only is no flip.
    baseline_dependent
        ``flips`` above a tenth.
    """

    target: str
    n: int
    unclear: int
    spread: float
    spread_90: float
    flips: float
    baseline_dependent: bool


@dataclass(frozen=True)
class Audit:
    """The baseline audit of a report.

    Parameters
    ----------
    removals
        What was compared, the report's own removal first.
    enough
        Whether there were three or more.
    emptiness
        Under the report's own removal.
    agreement
        One per target; empty with fewer than two removals.
    alone
        By target and modality: the accuracy (CCC of a dimensional label) with this one only, and
        under ``"everything"`` with all; empty where the truth is unknown.
    """

    removals: tuple[str, ...]
    enough: bool
    emptiness: tuple[Emptiness, ...]
    agreement: tuple[Agreement, ...]
    alone: Mapping[str, Mapping[str, float]]

    def sentences(self) -> list[str]:
        """What a reader should know, in words."""
        said = []
        if not self.enough:
            said.append(
                f"Only {len(self.removals)} removal{'s' if len(self.removals) > 1 else ''} of the "
                f"{ENOUGH_REMOVALS} that an audit wants: how much the answer depends on it "
                f"{'was not' if len(self.removals) == 1 else 'is hardly'} known."
            )
        for one in self.agreement:
            if not one.n:
                said.append(f"No evidence to compare for {one.target}.")
                continue
            stamp = "baseline-dependent: " if one.baseline_dependent else ""
            said.append(
                f"{stamp}{one.target}: the shares of a sample lie {one.spread:.0f} points apart on "
                f"average (90th percentile {one.spread_90:.0f}) under {len(self.removals)} "
                f"removals, and another modality dominates in {round(one.flips * one.n)} of "
                f"{one.n} samples."
            )
        return said


def audit(
    explanations: Sequence[Explanation],
    truth: str | Mapping[str, Any] | None = "labels",
    prior: Mapping[str, float] | None = None,
    scale: str | None = None,
) -> Audit:
    """Audit explanations of the same samples and model under different removals.

    Parameters
    ----------
    explanations
        One or more, better three. What the model says of nothing is read from the first.
    truth, prior, scale
        As in `modalxai.report.Report`; the truth is needed where no prior is given.

    Raises
    ------
    InputError
        No explanation, explanations of other samples or models, or a prior that is none.
    """
    if not explanations:
        raise InputError(
            "nothing to audit",
            expected="an explanation, better three under different removals",
            got="none",
            mend="explain the same samples with removal='absent', 'mean' and 'marginal'",
        )
    first = exact(explanations[0])
    others = [align(first, exact(other)) for other in explanations[1:]]
    check_prior(first, prior)
    return audit_of([first, *others], truth_of(first, truth), prior, scale)


def audit_of(
    explanations: Sequence[Explanation],
    truth: Truth | None,
    prior: Mapping[str, float] | None,
    scale: str | None,
    alone: Mapping[str, Mapping[str, float]] | None = None,
) -> Audit:
    """The same of explanations that are known to fit, in float64 on the CPU."""
    evidence = [Evidence.of(one, scale) for one in explanations]
    return Audit(
        removals=tuple(_removal(one) for one in explanations),
        enough=len(explanations) >= ENOUGH_REMOVALS,
        emptiness=tuple(_emptiness(explanations[0], truth, prior)),
        agreement=tuple(_agreements(explanations[0], evidence)) if len(evidence) > 1 else (),
        alone=dict(alone or {}),
    )


def _emptiness(
    explanation: Explanation, truth: Truth | None, prior: Mapping[str, float] | None
) -> list[Emptiness]:
    labels, results = explanation.labels, []
    logits = explanation.draws[:, 0]  # [R, N, K]
    if categorical := columns(labels, "categorical"):
        p = logits[..., categorical].softmax(-1).mean(0).numpy()
        names = [labels[column].name for column in categorical]
        expected = np.full(len(names), np.nan)
        if prior is not None and all(name in prior for name in names):
            expected = np.array([prior[name] for name in names])
        elif truth is not None:
            found = true_class(truth, labels)
            counts = np.array([(found == column).sum() for column in categorical], dtype=float)
            expected = counts / counts.sum() if counts.sum() else expected
        results.append(_of("categorical labels", names, p, expected))
    for column in columns(labels, "binary"):
        p = logits[..., column].sigmoid().mean(0).numpy()
        name = labels[column].name
        rate = float("nan")
        if prior is not None and name in prior:
            rate = prior[name]
        elif truth is not None and truth.known[:, column].any():
            rate = float(truth.values[truth.known[:, column], column].mean())
        both = np.stack([1 - p, p], axis=-1)
        results.append(_of(name, [f"not {name}", name], both, np.array([1 - rate, rate])))
    return results


def _of(target: str, names: Sequence[str], p: Floats, prior: Floats) -> Emptiness:
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(p > 0, np.log2(p), 0.0)
        ratios = np.where(p > 0, p * (logs - np.log2(prior)), 0.0)
    mean = p.mean(0)
    best = int(mean.argmax())
    known = not np.isnan(prior).any()
    return Emptiness(
        target=target,
        entropy=float(-(p * logs).sum(-1).mean()),
        most=float(np.log2(p.shape[-1])),
        divergence=max(0.0, float(ratios.sum(-1).mean())) if known else float("nan"),
        says=(names[best], float(mean[best])),
    )


def _agreements(explanation: Explanation, evidence: Sequence[Evidence]) -> list[Agreement]:
    labels, results = explanation.labels, []
    samples = np.arange(len(explanation.sample_ids))
    if columns(labels, "categorical"):
        said = predicted(explanation.scores[-1].numpy(), labels)
        results.append(_agreement("categorical labels", evidence, samples, said))
    for column, label in enumerate(labels):
        if label.kind != "categorical":
            results.append(_agreement(label.name, evidence, samples, np.full(len(samples), column)))
    return results


def _agreement(
    target: str, evidence: Sequence[Evidence], samples: NDArray[np.intp], said: NDArray[np.intp]
) -> Agreement:
    contested = evidence[0].present.sum(1) > 1  # one modality has all, whatever the removal
    phi = np.stack([np.abs(one.totals[samples, said]) for one in evidence])  # [removals, N, M]
    amount = phi.sum(-1)
    floors = np.stack(
        [np.maximum(one.floor[said], 3 * one.se[samples, said].sum(-1)) for one in evidence]
    )
    evident = (amount > floors).all(0)
    usable = contested & evident
    n, unclear = int(usable.sum()), int((contested & ~evident).sum())
    if not n:
        nowhere = float("nan")
        return Agreement(target, 0, unclear, nowhere, nowhere, nowhere, False)
    phi, amount = phi[:, usable], amount[:, usable]
    points = 100 * np.ptp(phi / amount[..., None], axis=0).max(-1)
    flips = float(_flipped(phi).mean())
    return Agreement(
        target=target,
        n=n,
        unclear=unclear,
        spread=float(points.mean()),
        spread_90=float(np.quantile(points, 0.9)),
        flips=flips,
        baseline_dependent=flips > MANY_FLIPS,
    )


def _flipped(phi: Floats) -> Bools:
    """Samples in which no single modality is the largest (or tied for it) under every removal."""
    largest = phi.max(-1, keepdims=True)
    leading = phi >= largest - ROUNDING * np.maximum(1, largest)
    result: Bools = ~leading.all(0).any(-1)
    return result


def _removal(explanation: Explanation) -> str:
    how = explanation.provenance.removal
    names = set(how.values())
    if len(names) == 1:
        return str(next(iter(names)))
    return ", ".join(f"{name}: {one}" for name, one in how.items())


def check_prior(explanation: Explanation, prior: Mapping[str, float] | None) -> None:
    """Refuse a prior of unknown labels, or one that is no distribution."""
    if prior is None:
        return
    names = {label.name: label.kind for label in explanation.labels}
    shared = [name for name, kind in names.items() if kind == "categorical"]
    given = [prior[name] for name in shared if name in prior]
    values = torch.tensor(list(prior.values()), dtype=torch.float64)
    wrong = set(prior) - {name for name, kind in names.items() if kind != "dimensional"}
    partly = bool(given) and (len(given) < len(shared) or abs(sum(given) - 1) > 1e-3)
    if wrong or partly or not ((values >= 0) & (values <= 1)).all():
        raise InputError(
            "a prior that is none",
            expected=f"probabilities that sum to 1 over {shared}, or 0..1 of a binary label",
            got=str(dict(prior)),
            mend="give the part of the training set that has each label",
        )

"""Does the model listen to what people listened to? Human labels per modality against the model.

Corpora such as AI-Hub's label the words, the sound and the whole separately. Where people hear one
emotion in the words and another in the voice, the label of the whole shows which one they followed.
Agreement with people is no proof that an explanation is right: a model may be right for its own
reasons.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from modalxai.attribution.shares import ROUNDING
from modalxai.errors import InputError
from modalxai.metrics.chance import correlation
from modalxai.report.columns import Bools, Column, Floats, predicted
from modalxai.statistics import Array, divide
from modalxai.types import columns

if TYPE_CHECKING:
    from modalxai.report import Report

Source = str | Mapping[str, Any]
"""A column of the samples, or ``{id: value}``."""


@dataclass(frozen=True)
class Alignment:
    """Whom people followed and what the model relied on, over the samples people were torn on.

    Parameters
    ----------
    n
        Samples that have the modalities and every human label.
    conflicting
        Of these, in how many the human labels of the modalities differ.
    decided
        Of the conflicting ones, where the label of exactly one modality is the label of the whole:
        the modality that people followed.
    unclear
        Of the decided ones, where no modality dominates in the model; left out below.
    table
        ``{followed by people: {dominant in the model: samples}}``.
    agreement, agreement_low, agreement_high
        Part in which both are the same, and its interval.
    kappa, kappa_low, kappa_high
        Cohen's kappa (1960): 0 is what equal habits reach by chance, 1 is full agreement.
    reason
        Why figures or intervals are NaN; empty where none is.
    """

    n: int
    conflicting: int
    decided: int
    unclear: int
    table: Mapping[str, Mapping[str, int]]
    agreement: float
    agreement_low: float
    agreement_high: float
    kappa: float
    kappa_low: float
    kappa_high: float
    reason: str


@dataclass(frozen=True)
class RankAgreement:
    """Spearman's rank correlation of a modality's share with its human weight.

    Parameters
    ----------
    n, left_out
        Samples compared, and those without a share or a weight.
    rho, low, high
        In -1..1, and its interval: ranks are those of the whole sample, clusters are resampled.
    reason
        Why there is no figure or interval; empty where there is one.
    """

    n: int
    left_out: int
    rho: float
    low: float
    high: float
    reason: str


def align_with_people(report: Report, whole: Source, parts: Mapping[str, Source]) -> Alignment:
    """Compare the modality people followed with the one that dominates in the model.

    The dominant modality has the largest contribution, whatever its sign, to the predicted label.

    Parameters
    ----------
    report
        Of the samples; its clusters, scale and level are used.
    whole
        The human label of the whole, for example the column ``"emotion_multimodal"``.
    parts
        By modality, the human label of it alone: ``{"text": "emotion_text", ...}``.

    Raises
    ------
    InputError
        Fewer than two modalities, unknown modalities or columns, or no categorical labels.
    """
    names, everyone = _checked(report, parts), Column(whole, "whole").values(report.explanation)
    heard = [
        Column(parts[name], f"human label of {name}").values(report.explanation) for name in names
    ]
    places = [report.explanation.modalities.index(name) for name in names]
    table = np.array([[_text(value) for value in part] for part in heard])  # [P, N]
    overall = np.array([_text(value) for value in everyone])
    known = (table != "").all(0) & (overall != "") & report.evidence.present[:, places].all(1)
    conflict = known & (table != table[0]).any(0)
    same = table == overall
    decided = np.flatnonzero(conflict & (same.sum(0) == 1))
    clear, leading = _dominant(report, places)
    used = decided[clear[decided]]
    human, model = same[:, used].argmax(0), leading[used]
    size = len(names)
    cells = np.zeros((len(used), size * size))
    cells[np.arange(len(used)), human * size + model] = 1
    counts = cells.sum(0).reshape(size, size).astype(int)
    low = high = estimate = np.full(2, np.nan)
    reason = "no sample on which people and the model can be compared"
    if len(used):
        clusters = [report.clusters[int(row)] for row in used]
        found = report.interval(cells, lambda sums: _agreement(sums, size), clusters)
        estimate, reason = found.estimate, found.reason
        low, high = np.maximum(found.low, [0, -1]), np.minimum(found.high, 1)
        if np.isnan(estimate[1]):
            reason = "one modality is all that people followed and the model relied on"
    return Alignment(
        n=int(known.sum()),
        conflicting=int(conflict.sum()),
        decided=len(decided),
        unclear=len(decided) - len(used),
        table={
            one: dict(zip(names, row.tolist(), strict=True))
            for one, row in zip(names, counts, strict=True)
        },
        agreement=float(estimate[0]),
        agreement_low=float(low[0]),
        agreement_high=float(high[0]),
        kappa=float(estimate[1]),
        kappa_low=float(low[1]),
        kappa_high=float(high[1]),
        reason=reason,
    )


def human_weights(
    report: Report, whole: Source, parts: Mapping[str, Source], modality: str
) -> dict[str, float]:
    """How much people followed a modality, by id: its part of the modalities labelled as the whole.

    1 where it alone is, 1/2 where two are, 0 where others are; samples in which none is, or with a
    label missing, are left out.

    Raises
    ------
    InputError
        As for `align_with_people`.
    """
    names = _checked(report, parts)
    if modality not in names:
        raise InputError(
            "the weight of a modality that people did not label",
            expected=f"one of {names}",
            got=repr(modality),
            mend="give its column among the parts",
        )
    explanation = report.explanation
    overall = [_text(value) for value in Column(whole, "whole").values(explanation)]
    heard = {name: Column(parts[name], name).values(explanation) for name in names}
    weights = {}
    for row, name in enumerate(explanation.sample_ids):
        said = {part: _text(heard[part][row]) for part in names}
        same = [part for part in names if said[part] == overall[row]]
        if same and overall[row] and all(said.values()):
            weights[name] = (modality in same) / len(same)
    return weights


def rank_agreement(report: Report, modality: str, weights: Source) -> RankAgreement:
    """Spearman's correlation, over samples, of a modality's share with its human weight.

    Parameters
    ----------
    weights
        A column or ``{id: weight}``, any numbers that grow with what people gave the modality.

    Raises
    ------
    InputError
        An unknown modality or column, weights that are no finite numbers, or no categorical labels.
    """
    from scipy.stats import rankdata

    place = _place(report, modality)
    given = Column(weights, "human weights").values(report.explanation)
    try:
        values = np.array([np.nan if value is None else float(value) for value in given])
    except (TypeError, ValueError) as error:
        raise InputError(
            "human weights that are no numbers",
            expected="numbers, or None where unknown",
            got=str([v for v in given if not isinstance(v, int | float)][:3]),
            mend="give each sample how much people went by this modality",
        ) from error
    if np.isinf(values).any():
        raise InputError(
            "human weights that are not finite",
            expected="finite numbers, or None where unknown",
            got="infinite",
            mend="leave these samples out",
        )
    phi, floor = _explained(report)
    amount = phi.sum(1)
    share = divide(phi[:, place], np.where(amount > floor, amount, 0.0))
    usable = np.flatnonzero(
        ~np.isnan(share) & ~np.isnan(values) & report.evidence.present[:, place]
    )
    left_out, nowhere = len(values) - len(usable), float("nan")
    if len(usable) < 3:
        return RankAgreement(len(usable), left_out, nowhere, nowhere, nowhere, "too few samples")
    x, y = rankdata(share[usable]), rankdata(values[usable])
    x, y = x - x.mean(), y - y.mean()
    terms = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)
    clusters = [report.clusters[int(row)] for row in usable]
    found = report.interval(terms, lambda sums: correlation(sums)[..., None], clusters)
    rho = float(found.estimate[0])
    return RankAgreement(
        n=len(usable),
        left_out=left_out,
        rho=rho,
        low=max(-1.0, float(found.low[0])),
        high=min(1.0, float(found.high[0])),
        reason="shares or weights never vary" if np.isnan(rho) else found.reason,
    )


def _agreement(sums: Array, size: int) -> Array:
    """Raw agreement and Cohen's kappa, [..., 2], from cell counts [..., size * size]."""
    cells = sums.reshape(*sums.shape[:-1], size, size)
    n = cells.sum((-1, -2))
    same = divide(np.einsum("...ii->...", cells), n)
    expected = divide((cells.sum(-1) * cells.sum(-2)).sum(-1), n * n)
    return np.stack([same, divide(same - expected, 1 - expected)], axis=-1)


def _explained(report: Report) -> tuple[Floats, Floats]:
    """Magnitudes [N, M] for each sample's predicted label, and what their sum must exceed, [N]."""
    labels = report.explanation.labels
    if not columns(labels, "categorical"):
        raise InputError(
            "no predicted emotion to compare with people's",
            expected="categorical labels",
            got=f"{[label.kind for label in labels]}",
            mend="compare scores instead, with behavioural_weights",
        )
    said = predicted(report.explanation.scores[-1].numpy(), labels)
    rows = np.arange(len(said))
    error = report.evidence.se[rows, said].sum(-1)
    return np.abs(report.evidence.totals[rows, said]), np.maximum(
        report.evidence.floor[said], 3 * error
    )


def _dominant(report: Report, places: list[int]) -> tuple[Bools, Any]:
    """Whether one of these modalities dominates each sample, and its place among them."""
    phi, floor = _explained(report)
    among = phi[:, places]
    two = np.sort(among, axis=1)[:, -2:]
    clear = two[:, 1] - two[:, 0] > ROUNDING * np.maximum(1, two[:, 1])
    # Another modality, which people did not judge, may dominate them all.
    return clear & (phi.sum(1) > floor) & (two[:, 1] >= phi.max(1)), among.argmax(1)


def _checked(report: Report, parts: Mapping[str, Source]) -> list[str]:
    names = [name for name in report.explanation.modalities if name in parts]
    if len(names) < len(parts) or len(names) < 2:
        raise InputError(
            "human labels of fewer than two modalities, or of unknown ones",
            expected=f"labels of two or more of {list(report.explanation.modalities)}",
            got=str(list(parts)),
            mend='for example {"text": "emotion_text", "audio": "emotion_audio"}',
        )
    return names


def _place(report: Report, modality: str) -> int:
    if modality not in report.explanation.modalities:
        raise InputError(
            "an unknown modality",
            expected=f"one of {list(report.explanation.modalities)}",
            got=repr(modality),
            mend="use the model's names",
        )
    return report.explanation.modalities.index(modality)


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()

"""Do the modalities say different things, and which one wins? (science of sarcasm)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from modalxai.attribution import indices
from modalxai.attribution.shares import ROUNDING, cancellation
from modalxai.errors import InputError
from modalxai.types import Labels, columns


@dataclass(frozen=True, eq=False)
class Conflict:
    """Disagreement between modalities, over the C categorical labels and P pairs of modalities.

    Parameters
    ----------
    sample_ids, labels, modalities
        N names, the C categorical labels, M names.
    pairs
        The P pairs, first before second in the model's order.
    divergence
        Float [N, P] in 0..1: Jensen-Shannon divergence (base 2) of the label distributions that
        each modality predicts alone. NaN where a sample lacks one of them.
    leading
        Integer [N, M]: the label that each modality favours most once the empty coalition's
        score is taken off, so that two prior-driven answers do not count as agreement. -1 where
        the sample lacks it, or where it favours none.
    disagree
        Bool [N, P]: the two favour different labels.
    opposed
        Bool [N, C, P]: their Shapley values for the label have opposite signs.
    cancellation
        Float [N, C] in 0..1: ``1 - |sum phi| / sum |phi|``; 0 aligned, 1 a perfect stalemate, NaN
        without any evidence.
    decision
        Float [N, P]: with everything present, the logit of the first modality's label minus that
        of the second's. Above 0 the first modality wins. NaN where they agree or one is missing.
    evidence
        Float [N, P, M]: Shapley values on that contrast; they sum to the decision minus its value
        for the empty coalition.
    """

    sample_ids: tuple[str, ...]
    labels: Labels
    modalities: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    divergence: Tensor
    leading: Tensor
    disagree: Tensor
    opposed: Tensor
    cancellation: Tensor
    decision: Tensor
    evidence: Tensor


def find_conflict(
    clr: Tensor,
    raw: Tensor,
    sample_ids: tuple[str, ...],
    labels: Labels,
    modalities: tuple[str, ...],
    present: Tensor,
) -> Conflict:
    """Conflict from the table on clr and raw, each [R, 2**M, N, K]; see `Conflict`.

    Raises
    ------
    InputError
        No categorical labels.
    """
    categorical = columns(labels, "categorical")
    if not categorical:
        raise InputError(
            "conflict compares label distributions, and there are none",
            expected="categorical labels",
            got=f"{[label.kind for label in labels]}",
            mend="read the signs in explanation.shapley() instead",
        )
    table = clr[..., categorical]
    logits = raw[..., categorical].to(table.dtype)
    alone = [1 << bit for bit in range(len(modalities))]
    gains = (table[:, alone] - table[:, :1]).mean(0)  # [M, N, C]
    best, second = gains.topk(2, dim=-1).values.unbind(-1)
    # A modality that changes nothing, or moves two labels alike, favours none: rounding is no side.
    # Of each sample by itself: it must not depend on its neighbours.
    clear = best - second > ROUNDING * table.abs().amax((0, 1, 3)).clamp(min=1)
    leading = gains.argmax(-1).masked_fill(~clear, -1).T.masked_fill(~present, -1)  # [N, M]
    shapley = indices.shapley(table.mean(0)).masked_fill(~present[:, None, :], 0)  # [N, C, M]
    pairs = list(combinations(range(len(modalities)), 2))
    parts: list[tuple[Tensor, ...]] = []
    for i, j in pairs:
        both = present[:, i] & present[:, j]
        sides = (leading[:, i] >= 0) & (leading[:, j] >= 0)
        differ = both & sides & (leading[:, i] != leading[:, j])
        divergence = _jensen_shannon(logits[:, alone[i]], logits[:, alone[j]]).mean(0)
        contrast = _pick(logits, leading[:, i]) - _pick(logits, leading[:, j])  # [R, 2**M, N]
        nowhere = float("nan")
        parts.append(
            (
                divergence.masked_fill(~both, nowhere),
                differ,
                (shapley[..., i] * shapley[..., j]) < 0,
                contrast[:, -1].mean(0).masked_fill(~differ, nowhere),
                indices.shapley(contrast.mean(0))
                .masked_fill(~present, 0)
                .masked_fill(~differ[:, None], nowhere),
            )
        )
    columns_of = list(zip(*parts, strict=True)) if parts else [()] * 5
    samples, count, classes = len(sample_ids), len(modalities), len(categorical)
    return Conflict(
        sample_ids=sample_ids,
        labels=tuple(labels[column] for column in categorical),
        modalities=modalities,
        pairs=tuple((modalities[i], modalities[j]) for i, j in pairs),
        divergence=_stack(columns_of[0], table.new_empty(samples, 0), 1),
        leading=leading,
        disagree=_stack(columns_of[1], present.new_empty(samples, 0), 1),
        opposed=_stack(columns_of[2], present.new_empty(samples, classes, 0), 2),
        cancellation=cancellation(shapley.sum(-1), shapley.abs().sum(-1)),
        decision=_stack(columns_of[3], table.new_empty(samples, 0), 1),
        evidence=_stack(columns_of[4], table.new_empty(samples, 0, count), 1),
    )


def find_flips(scores: Tensor, labels: Labels, present: Tensor) -> Tensor:
    """Whether the predicted class changes when a modality is removed, bool [N, M].

    Parameters
    ----------
    scores
        Raw, [2**M, N, K].
    present
        Bool [N, M].

    Raises
    ------
    InputError
        No categorical labels.
    """
    categorical = columns(labels, "categorical")
    if not categorical:
        raise InputError(
            "no class is predicted that could change",
            expected="categorical labels",
            got=f"{[label.kind for label in labels]}",
            mend="read explanation.ablation() instead",
        )
    logits = scores[..., categorical]
    logits = logits - logits.mean(-1, keepdim=True)
    winner = logits[-1].argmax(-1)
    rows = [len(scores) - 1 - (1 << bit) for bit in range(present.shape[1])]
    left = logits[rows]  # [M, N, C]
    own = left.gather(-1, winner.expand(left.shape[:-1])[..., None])[..., 0]
    # Rounding is no change of mind.
    clear = ROUNDING * logits.abs().amax((0, 2)).clamp(min=1)
    return (left.amax(-1) - own > clear).T & present


def _jensen_shannon(first: Tensor, second: Tensor) -> Tensor:
    """Divergence in bits of two sets of logits [..., C], in 0..1."""
    p, q = first.log_softmax(-1), second.log_softmax(-1)
    middle = torch.logaddexp(p, q) - torch.log(p.new_tensor(2.0))
    bits = (p.exp() * (p - middle) + q.exp() * (q - middle)).sum(-1) / 2
    return (bits / torch.log(p.new_tensor(2.0))).clamp(0, 1)


def _pick(logits: Tensor, label: Tensor) -> Tensor:
    """[R, 2**M, N, C] at one label per sample [N], giving [R, 2**M, N]."""
    index = label.clamp(min=0)[:, None].expand(*logits.shape[:-1], 1)
    return logits.gather(-1, index)[..., 0]


def _stack(parts: tuple[Tensor, ...], empty: Tensor, dim: int) -> Tensor:
    return torch.stack(parts, dim=dim) if parts else empty

"""InterSHAP: how much of a model's behaviour is interaction between modalities."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from modalxai.types import Attribution, Labels, Provenance


@dataclass(frozen=True, eq=False)
class InterSHAP:
    """The score of Wenderoth et al. (arXiv 2412.15828), exact, over N samples and L labels.

    Parameters
    ----------
    sample_ids, labels, modalities
        N names, the L explained labels, M names.
    score
        Float [N, L] in 0..1: the off-diagonal part of ``matrix``, in magnitude, over the whole.
        NaN where no modality changes anything.
    overall
        Float [L]: the same of the magnitudes' means over the samples (a ratio of means).
    matrix
        Float [N, L, M, M]: half the Shapley interaction index off the diagonal; on it what is left
        of each Shapley value. It sums to prediction - reference.
    provenance
        See `modalxai.types.Provenance`; read its scale beside the score.
    """

    sample_ids: tuple[str, ...]
    labels: Labels
    modalities: tuple[str, ...]
    score: Tensor
    overall: Tensor
    matrix: Tensor
    provenance: Provenance


def intershap_of(pairs: Attribution, least: Tensor) -> InterSHAP:
    """The score from 2-SII, totals and pairs.

    Parameters
    ----------
    least
        [N, L]: a whole no larger than this is rounding.
    """
    matrix = torch.diag_embed(pairs.totals)
    for i, j in combinations(range(len(pairs.modalities)), 2):
        half = pairs.pairs[pairs.modalities[i], pairs.modalities[j]][..., 0, 0] / 2
        matrix[..., i, j] = matrix[..., j, i] = half
    whole = matrix.abs().sum((-1, -2))
    between = whole - pairs.totals.abs().sum(-1)
    between = between.clamp(min=0).where(whole > least, 0)
    whole = whole.where(whole > least, 0)
    return InterSHAP(
        sample_ids=pairs.sample_ids,
        labels=pairs.labels,
        modalities=pairs.modalities,
        score=between / whole.masked_fill(whole == 0, torch.nan),
        overall=between.sum(0) / whole.sum(0).masked_fill(whole.sum(0) == 0, torch.nan),
        matrix=matrix,
        provenance=pairs.provenance,
    )

"""Who contributed how much of it, and whether that may be a percentage.

Contributions have signs, so a share is either of the magnitudes (always in 0..1, says nothing of
direction) or of the net effect (defined only where all pull the same way). Neither exists where
there is next to nothing to divide: it is then NaN, with the reason, and never 50/50.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from modalxai.types import Attribution, Label, Labels

NO_EVIDENCE = 0.05
"""Nats: the least magnitude that is divided into shares."""
ROUNDING = 1e-5
"""Relative precision of float32 scores: smaller differences are none."""


@dataclass(frozen=True, eq=False)
class Shares:
    """Shapley values of N samples as shares, over the L explained labels and M modalities.

    Parameters
    ----------
    sample_ids, labels, modalities
        N names, the L labels, M names.
    magnitude
        Float [N, L, M] in 0..1: ``|phi_m| / E``. NaN where ``reasons`` says why.
    net
        Float [N, L, M]: ``phi_m / sum phi``. NaN, too, where modalities differ in sign.
    evidence
        Float [N, L]: ``E = sum_m |phi_m|``.
    floor
        Float [N, L]: E must exceed it: 0.05 nats (rounding, for what is not in nats), or three
        standard errors of E where the removal draws at random.
    cancellation
        Float [N, L] in 0..1: ``1 - |sum phi| / E``; 0 aligned, 1 a perfect stalemate.
    mixed
        Bool [N, L]: one modality speaks clearly for the label and another against.
    reasons
        Why there is no share, by sample and label; empty where there is one.
    """

    sample_ids: tuple[str, ...]
    labels: Labels
    modalities: tuple[str, ...]
    magnitude: Tensor
    net: Tensor
    evidence: Tensor
    floor: Tensor
    cancellation: Tensor
    mixed: Tensor
    reasons: tuple[tuple[str, ...], ...]


class Sides(NamedTuple):
    """Who speaks for a label and who against it, each [N, L, M] in 0..1.

    ``speaking_for[m] = phi_m^+ / sum phi^+``, ``speaking_against[m] = phi_m^- / sum phi^-``. NaN
    where nobody is on that side.
    """

    speaking_for: Tensor
    speaking_against: Tensor


def shares_of(values: Attribution, least: Tensor) -> Shares:
    """Shapley values as shares.

    Parameters
    ----------
    values
        Totals [N, L, M] and their standard errors.
    least
        [N, L], see `least_evidence`.
    """
    phi = values.totals
    magnitudes = phi.abs()
    amount = magnitudes.sum(-1)
    # Draws are common to the modalities, so errors add up at worst.
    floor = evidence_floor(values.se.sum(-1), least)
    evident = (amount > floor)[..., None]
    net = phi.sum(-1, keepdim=True)
    return Shares(
        sample_ids=values.sample_ids,
        labels=values.labels,
        modalities=values.modalities,
        magnitude=(magnitudes / amount[..., None]).where(evident, torch.nan),
        net=(phi / net).where(evident & one_sided(phi)[..., None], torch.nan),
        evidence=amount,
        floor=floor,
        cancellation=cancellation(net[..., 0], amount.where(evident[..., 0], 0)),
        mixed=mixed(phi, least[..., None]),
        reasons=tuple(
            tuple("" if enough else "no modality evidence for this label" for enough in row)
            for row in evident[..., 0].tolist()
        ),
    )


def sides_of(phi: Tensor, least: Tensor) -> Sides:
    """For and against, from contributions [N, L, M]; a side below ``least`` [N, L] is nobody's."""
    sides = []
    for part in (phi.clamp(min=0), (-phi).clamp(min=0)):
        whole = part.sum(-1, keepdim=True)
        sides.append((part / whole).where(whole > least[..., None], torch.nan))
    return Sides(*sides)


def unit_of(kind: str, scale: str | None) -> str:
    """The unit of a contribution to a label of one kind, on a scale."""
    if kind == "dimensional":
        return "score"
    return "probability" if scale == "probability" else "nats"


def least_evidence(labels: Sequence[Label], largest: Tensor, scale: str | None) -> Tensor:
    """The least contribution that counts as one, [..., L]: 0.05 nats, or what rounding may do.

    Parameters
    ----------
    largest
        Largest magnitude of the scores that differences are taken of, [..., L].
    """
    in_nats = [unit_of(label.kind, scale) == "nats" for label in labels]
    rounding = ROUNDING * largest.clamp(min=1)
    return rounding.masked_fill(torch.tensor(in_nats, device=largest.device), NO_EVIDENCE)


def evidence_floor(error: Tensor, least: Tensor) -> Tensor:
    """What a sum of magnitudes must exceed: ``max(least, 3 SE)``."""
    return torch.maximum(least, 3 * error)


def cancellation(net: Tensor, magnitude: Tensor) -> Tensor:
    """``1 - |net| / magnitude`` in 0..1; NaN where there is nothing."""
    return (1 - net.abs() / magnitude.masked_fill(magnitude == 0, torch.nan)).clamp(0, 1)


def mixed(phi: Tensor, least: Tensor | float) -> Tensor:
    """Whether one of the contributions [..., M] is clearly above 0 and another clearly below."""
    return (phi > least).any(-1) & (phi < -least).any(-1)


def one_sided(phi: Tensor) -> Tensor:
    """Whether no two of the contributions [..., M] differ in sign."""
    return (phi >= 0).all(-1) | (phi <= 0).all(-1)

"""Is what stands in for a removed modality anything that the model has ever seen?

A baseline far from all real encodings asks the fusion about a place where nobody taught it
anything, and its answer there is half of every contribution.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from modalxai import masking
from modalxai.errors import InputError
from modalxai.protocols import FactoredGame

FAR = 0.95
"""What is farther from the real encodings than this part of them are from each other, is far."""


@dataclass(frozen=True)
class Familiarity:
    """How far the removed encodings of one modality lie from the real ones.

    Encodings are compared as the mean of their vectors; the distance is that to the k-th nearest
    real encoding of another sample.

    Parameters
    ----------
    modality, removal
        What was removed, and how.
    n
        Samples that have the modality.
    percentile
        In 0..100, mean over them: of a removed encoding's distance among the real ones' own. About
        50 where removal leaves something ordinary, 100 where it is farther out than everything
        real. NaN where nothing is left to compare.
    far
        Part of the n samples, in 0..1, that lie farther out than 95 % of the real encodings.
    reason
        Why there are no numbers; empty where there are.
    """

    modality: str
    removal: str
    n: int
    percentile: float
    far: float
    reason: str = ""

    def sentence(self) -> str:
        """The same in words."""
        if self.reason:
            return f"{self.modality} under {self.removal!r}: {self.reason}."
        return (
            f"{self.modality} under {self.removal!r}: what is left lies at percentile "
            f"{self.percentile:.0f} of the real encodings' distances, and far out in "
            f"{round(self.far * self.n)} of {self.n} samples."
        )


def familiarity(game: FactoredGame, neighbours: int = 5) -> tuple[Familiarity, ...]:
    """Where the removed encodings of each modality lie among the real ones.

    Parameters
    ----------
    game
        Over an encoder for each modality; some dozens of samples.
    neighbours
        k, at least 1.

    Raises
    ------
    InputError
        A k below 1, or a modality that fewer than 2 k samples have.
    """
    if isinstance(neighbours, bool) or not isinstance(neighbours, int) or neighbours < 1:
        raise InputError(
            "neighbours out of range",
            expected="a whole number from 1",
            got=repr(neighbours),
            mend="5, say",
        )
    removal = game.settings["removal"]
    return tuple(_of(game, name, removal[name], neighbours) for name in game.modalities)


def _of(game: FactoredGame, modality: str, removal: str, neighbours: int) -> Familiarity:
    spans = game.players[modality]
    full = game.encode(modality)
    present = full.mask.any(1)
    count = int(present.sum())
    if count < 2 * neighbours:
        raise InputError(
            f"too few samples with {modality!r} to know what is usual",
            expected=f"{2 * neighbours} or more",
            got=str(count),
            mend="ask about more samples, or fewer neighbours",
        )
    removed = game.encode(modality, torch.zeros_like(spans.mask))
    left = removed.mask.any(1)[present]
    if not bool(left.all()):
        nowhere = float("nan")
        return Familiarity(modality, removal, count, nowhere, nowhere, "no vector is left")
    real, bare = (
        masking.mean(one.values.double(), one.mask)[present].cpu() for one in (full, removed)
    )
    own, far = (_apart(one, real, neighbours) for one in (real, bare))
    # Of equal distances half count as smaller, so that a real encoding lies in the middle.
    below = (own < far[:, None]).double().mean(1) + (own == far[:, None]).double().mean(1) / 2
    limit = own.quantile(FAR)
    return Familiarity(
        modality, removal, count, float(100 * below.mean()), float((far > limit).double().mean())
    )


def _apart(points: Tensor, real: Tensor, neighbours: int) -> Tensor:
    """Distance of each of N points to the k-th nearest real one of the other samples, [N]."""
    # Not by matrix product: the differences of near points would be rounding.
    apart = torch.cdist(points, real, compute_mode="donot_use_mm_for_euclid_dist")
    apart.fill_diagonal_(torch.inf)
    return apart.kthvalue(neighbours, dim=1).values

"""Deletion and insertion: take players away, or put them back, in the order an explanation gives.

Pixel flipping (Samek et al. 2017) for words and moments. The removal is the game's own, so an
explainer that uses the same one has an advantage: these numbers measure agreement with that
operator, and are no proof.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from modalxai.errors import InputError
from modalxai.evaluation.ranked import Ranked, ranked
from modalxai.protocols import Game
from modalxai.types import Attribution, Labels

Order = Literal["MIF", "LIF"]
ORDERS = ("MIF", "LIF")


@dataclass(frozen=True, eq=False)
class Curves:
    """The score after each step.

    Parameters
    ----------
    kind
        ``"deletion"`` or ``"insertion"``.
    order
        ``"MIF"``, most influential player first, or ``"LIF"``, least influential first.
    sample_ids, labels
        B names, the L labels.
    scale
        Of the scores.
    players
        Integer [B]: how many were ranked, n.
    scores
        Float64 [B, L, S + 1], on ``scale``: column k after k steps, of which a sample has n; NaN
        beyond.
    area
        Float64 [B, L], on ``scale``: the area under the curve over the part of the players that
        has been moved, 0 to 1, by trapezoids:
        ``(s_0 / 2 + s_1 + ... + s_(n-1) + s_n / 2) / n``. It is the mean score on the way. NaN for
        a sample without players.
    coalitions
        Integer [B]: different coalitions that the game was asked about for this curve and those
        made with it; at most n + 1 for each label and order, twice that where players tie.
    """

    kind: str
    order: str
    sample_ids: tuple[str, ...]
    labels: Labels
    scale: str
    players: Tensor
    scores: Tensor
    area: Tensor
    coalitions: Tensor

    @property
    def mean_area(self) -> Tensor:
        """Mean area over the samples that have one, [L]."""
        return self.area.nanmean(0)


@dataclass(frozen=True, eq=False)
class SRG:
    """Symmetric relevance gain (Bluecher et al. 2024, arXiv 2401.06654).

    Parameters
    ----------
    most, least
        Deletion, most and least influential first.
    """

    most: Curves
    least: Curves

    @property
    def values(self) -> Tensor:
        """Area of ``least`` minus area of ``most``, [B, L], on their scale.

        Above 0 the order is better than chance, 0 what a random order gets on average, below 0
        worse than chance: a reversed order has exactly minus its SRG. NaN for a sample with fewer
        than two players, which nobody can put in a wrong order.
        """
        gain = self.least.area - self.most.area
        return gain.masked_fill((self.most.players < 2)[:, None], torch.nan)

    @property
    def mean(self) -> Tensor:
        """Mean over the samples that have one, [L]."""
        return self.values.nanmean(0)


def deletion(
    attribution: Attribution,
    game: Game,
    order: Order = "MIF",
    modalities: Sequence[str] | None = None,
    scale: str | None = None,
) -> Curves:
    """Remove players one after the other; a true explanation, MIF, makes the score fall at once.

    Parameters
    ----------
    attribution
        Units, or totals of whole modalities, of the game's samples. The most influential player
        for a label is the one with the largest signed contribution to it.
    game
        Divided into the attribution's units: as the attributor divided it, or
        ``game.divide(attribution.spans)``.
    order
        ``"MIF"`` or ``"LIF"``.
    modalities
        Whose players are ranked, together. All of the attribution's for ``None``; one name for a
        curve of that modality alone, all others staying.
    scale
        Of the scores; the attribution's for ``None``.

    Notes
    -----
    Players with equal contributions are taken in their own order once and in the opposite order
    once, and the curve is the mean: a map that says nothing has an SRG of exactly 0, and not what
    the first words happen to be worth.

    The game is asked once per sample, about n + 1 coalitions for each label (fewer where labels
    share them).

    Raises
    ------
    InputError
        An attribution of other samples or players than the game's, or with NaN in it.
    """
    return _curves(attribution, game, "deletion", (order,), modalities, scale)[0]


def insertion(
    attribution: Attribution,
    game: Game,
    order: Order = "MIF",
    modalities: Sequence[str] | None = None,
    scale: str | None = None,
) -> Curves:
    """Put players back one after the other; a true explanation, MIF, makes the score rise at once.

    Insertion of the most influential first passes the coalitions of deletion of the least
    influential first, backwards: their areas are equal.

    For the parameters see `deletion`.
    """
    return _curves(attribution, game, "insertion", (order,), modalities, scale)[0]


def srg(
    attribution: Attribution,
    game: Game,
    modalities: Sequence[str] | None = None,
    scale: str | None = None,
) -> SRG:
    """Symmetric relevance gain: area of deletion LIF minus area of deletion MIF; the headline.

    Either curve alone ranks methods differently for every way of removing; the difference ranks
    them alike over 40 of them (Bluecher et al. 2024). It equals the area of insertion minus that
    of deletion, both most influential first. With trapezoids the ends cancel:
    ``SRG = sum_k (LIF_k - MIF_k) / n`` over the n - 1 steps between.

    It says whether the order of players is right for this removal, not whether the numbers are:
    every rescaled map has the same SRG.

    For the parameters see `deletion`.
    """
    most, least = _curves(attribution, game, "deletion", ORDERS, modalities, scale)
    return SRG(most, least)


def tied_orders(values: Tensor) -> Tensor:
    """Positions of players by falling value, ties forwards and ties backwards: [2, L, n]."""
    forwards = values.argsort(dim=-1, descending=True, stable=True)
    backwards = values.shape[-1] - 1 - values.flip(-1).argsort(dim=-1, descending=True, stable=True)
    return torch.stack([forwards, backwards])


def _curves(
    attribution: Attribution,
    game: Game,
    kind: str,
    orders: Sequence[str],
    modalities: Sequence[str] | None,
    scale: str | None,
) -> list[Curves]:
    if unknown := [order for order in orders if order not in ORDERS]:
        raise InputError(
            "unknown order",
            expected=f"one of {ORDERS}",
            got=repr(unknown[0]),
            mend='"MIF" takes the most influential player first, "LIF" the least',
        )
    rows = [
        (one.players, *_walk(one, kind, orders))
        for one in ranked(attribution, game, modalities, scale)
    ]
    players = torch.tensor([count for count, _, _ in rows], dtype=torch.long)
    longest = int(players.max()) if len(players) else 0
    result = []
    for place, order in enumerate(orders):
        scores = torch.full(
            (len(rows), len(attribution.labels), longest + 1), torch.nan, dtype=torch.float64
        )
        for row, (count, walked, _) in enumerate(rows):
            scores[row, :, : count + 1] = walked[place]
        result.append(
            Curves(
                kind=kind,
                order=order,
                sample_ids=attribution.sample_ids,
                labels=attribution.labels,
                scale=attribution.provenance.scale if scale is None else scale,
                players=players,
                scores=scores,
                area=_area(scores, players),
                coalitions=torch.tensor([asked for _, _, asked in rows], dtype=torch.long),
            )
        )
    return result


def _walk(one: Ranked, kind: str, orders: Sequence[str]) -> tuple[Tensor, int]:
    """Curves [O, L, n + 1] of one sample, and how many coalitions they took."""
    falling = tied_orders(one.values)
    taken = torch.stack([falling if order == "MIF" else falling.flip(-1) for order in orders])
    step = taken.argsort(-1)[..., None, :]  # when each player is moved, [O, 2, L, 1, n]
    moved = step < torch.arange(one.players + 1)[:, None]
    scores, asked = one.ask(moved if kind == "insertion" else ~moved)
    own = torch.arange(scores.shape[2])
    # Each order was made for one label: [O, 2, L, n + 1, L] to its own.
    return scores[:, :, own, :, own].permute(1, 2, 0, 3).mean(1), asked


def _area(scores: Tensor, players: Tensor) -> Tensor:
    """Trapezoids over 0..1, [B, L, S + 1] to [B, L]."""
    count = players[:, None].double()
    last = scores.gather(-1, players[:, None, None].expand(*scores.shape[:2], 1))[..., 0]
    whole = scores.nansum(-1) - (scores[..., 0] + last) / 2
    return (whole / count).masked_fill(count == 0, torch.nan)

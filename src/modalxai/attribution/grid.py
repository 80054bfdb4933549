"""The crossed grid: V masks of one modality and W of another cost V + W encodings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

import torch
from torch import Tensor

from modalxai.attribution.masks import Masks
from modalxai.attribution.scales import on_scale, rivals_of
from modalxai.errors import InputError
from modalxai.protocols import Divided, Division, Game, Priced, Selectable
from modalxai.types import Spans, select

Players = Mapping[str, str | Spans | Division[Any]]
ROWS_PER_PLAYER = 4
"""Fewer masks than this for each player, and the regression has nothing to hold on to."""


@dataclass(frozen=True, eq=False)
class OneSample:
    """A divided game, asked about one of its samples at a time.

    Parameters
    ----------
    game
        The game, of this sample alone if it can be.
    row
        The sample's place in it.
    real
        By modality, the places [n_m] of the players that the sample has.
    scale, against, columns
        Of the values: see `modalxai.attribution.scales.on_scale`, and the L explained columns.
    rivals
        Integer [B, K], of the game.
    """

    game: Game
    row: int
    real: Mapping[str, Tensor]
    scale: str
    columns: Sequence[int]
    rivals: Tensor

    @property
    def here(self) -> list[str]:
        """The modalities that the sample has."""
        return [name for name in self.game.modalities if len(self.real[name])]

    def values(self, keep: Mapping[str, Tensor]) -> Tensor:
        """Values [R, V_1, ..., V_M, L] of every combination of masks, in float64.

        Parameters
        ----------
        keep
            By modality that the sample has, bool [V_m, n_m], in the game's order.
        """
        masks = {}
        for name in self.game.modalities:
            mask = self._mask(name, keep.get(name, torch.ones(1, 0, dtype=torch.bool)))
            axis = [len(mask) if other == name else 1 for other in self.game.modalities]
            masks[name] = mask.reshape(*axis, *mask.shape[1:])
        mine = self._asked(masks)
        gone = [1 + at for at, name in enumerate(self.game.modalities) if name not in keep]
        return mine.squeeze(gone) if gone else mine

    def listed(self, keep: Mapping[str, Tensor]) -> Tensor:
        """Values [R, V, L] of V coalitions of all modalities together, in float64.

        Parameters
        ----------
        keep
            By modality that the sample has, bool [V, n_m].
        """
        absent = torch.ones(1, 0, dtype=torch.bool)
        return self._asked(
            {name: self._mask(name, keep.get(name, absent)) for name in self.game.modalities}
        )

    def _mask(self, name: str, chosen: Tensor) -> Tensor:
        """Masks of this sample's players [V, n_m] as the game wants them, [V, B, U_m]."""
        start = self.game.players[name].start
        mask = torch.ones(len(chosen), *start.shape, dtype=torch.bool)
        mask[:, self.row, self.real[name]] = chosen.cpu()
        return mask.to(start.device)

    def _asked(self, masks: Mapping[str, Tensor]) -> Tensor:
        """Values [R, ..., L] of the sample."""
        found = on_scale(self.game.value(masks), self.game.labels, self.scale, self.rivals)
        return found[..., self.row, self.columns].double().cpu()


def one_by_one(
    game: Game, scale: str, against: str, labels: Sequence[str] | None
) -> Iterator[OneSample]:
    """Each sample of a divided game; alone, where the game can be asked about some samples."""
    spans = game.players
    everyone = {name: torch.ones_like(one.start, dtype=torch.bool) for name, one in spans.items()}
    rivals = rivals_of(game.value(everyone).mean(0), game.labels, against)
    chosen = select(game.labels, labels)
    for row in range(len(game.sample_ids)):
        alone, place = game, row
        if isinstance(game, Selectable):
            alone, place = game.select([row]), 0
        own = alone.players
        present = alone.present[place].tolist()
        # A modality that the sample lacks has no players, whatever spans it was given.
        real = {
            name: (own[name].mask[place] & there).nonzero().flatten().cpu()
            for name, there in zip(game.modalities, present, strict=True)
        }
        rows = slice(None) if alone is game else [row]
        yield OneSample(alone, place, real, scale, chosen, rivals[rows])


def shares_of_budget(
    budget: int,
    players: Mapping[str, int],
    costs: Mapping[str, float],
    cells: int | None = None,
) -> dict[str, int]:
    """How many masks of each modality to encode.

    Every modality's noise falls with its own number of masks, so that the best split of a fixed
    amount of work gives each in proportion to ``1 / sqrt(cost)`` (Neyman allocation). What a
    modality has fewer coalitions than goes to the others.

    Parameters
    ----------
    budget
        Encoder rows for a sample, counted in rows of the modality that costs the most.
    players
        By modality, n_m.
    costs
        By modality, what encoding one row costs.
    cells
        The most that the masks of all modalities may be crossed to: as much of the budget is used
        as keeps the grid below it.

    Raises
    ------
    InputError
        A budget with fewer than 4 masks for each player: the answer would be noise. Or so many
        modalities that even those would cross to too many cells.
    """
    given = _split_budget(budget, players, costs)
    if cells is None or prod(given.values()) <= cells:
        return given
    low, high = 0, budget
    while high - low > 1:
        middle = (low + high) // 2
        try:
            fits = prod(_split_budget(middle, players, costs).values()) <= cells
        except InputError:
            fits = True  # too little
        low, high = (middle, high) if fits else (low, middle)
    try:
        return _split_budget(low, players, costs)
    except InputError as error:
        raise InputError(
            f"too many players to cross: {dict(players)}",
            expected=f"a grid of at most {cells} coalitions",
            got=f"{prod(_split_budget(high, players, costs).values())} at the least",
            mend="divide fewer modalities at once, or ask owen, which crosses none",
        ) from error


def _split_budget(
    budget: int, players: Mapping[str, int], costs: Mapping[str, float]
) -> dict[str, int]:
    all_of = {name: 2**count for name, count in players.items()}
    least = {
        name: min(all_of[name], ROWS_PER_PLAYER * count + 2) for name, count in players.items()
    }
    dearest = max((costs[name] for name in players), default=1.0)
    needed = sum(least[name] * costs[name] / dearest for name in players)
    if needed > budget:
        raise InputError(
            "a budget that would give noise",
            expected=f"at least {int(-(-needed // 1))} encoder rows for a sample with "
            f"{dict(players)} players",
            got=str(budget),
            mend="raise the budget, or divide into fewer players",
        )
    given = dict(least)
    left = budget - needed
    open_ = {name for name in players if given[name] < all_of[name]}
    while open_:
        step = left / sum(sqrt(costs[name] / dearest) for name in open_)
        more = {name: step / sqrt(costs[name] / dearest) for name in open_}
        full = {name for name in open_ if given[name] + more[name] >= all_of[name]}
        for name in full or open_:
            added = all_of[name] - given[name] if full else int(more[name]) // 2 * 2
            given[name] += added
            left -= added * costs[name] / dearest
        open_ = open_ - full if full else set()
    return given


def costs_of(game: Game, modalities: Sequence[str]) -> dict[str, float]:
    """What encoding one row of each modality costs; equal where the game does not know."""
    if isinstance(game, Priced):
        return {name: max(game.cost(name), 1e-9) for name in modalities}
    return dict.fromkeys(modalities, 1.0)


def corners(players: int) -> Tensor:
    """Nothing and everything, bool [2, n]."""
    return torch.tensor([False, True])[:, None].expand(2, players)


def exact_rows(masks: Mapping[str, Masks]) -> bool:
    """Whether no coalition of any modality was left out."""
    return all(one.exact for one in masks.values())


def players_of(game: Game, asked: Players) -> dict[str, str]:
    """By divided modality what its players are, as a provenance names them.

    Parameters
    ----------
    game
        Divided. Where it does not know how, ``asked`` says so.
    """
    if isinstance(game, Divided):
        return dict(game.divided)
    return {name: described(own) for name, own in asked.items()}


def described(asked: str | Spans | Division[Any]) -> str:
    """Players as a provenance names them."""
    if isinstance(asked, str):
        return asked
    return "spans" if isinstance(asked, Spans) else repr(asked)

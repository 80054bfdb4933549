"""Shapley values of the modalities from orders in which they arrive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from math import factorial
from typing import ClassVar

import torch
from torch import Tensor

from modalxai.attribution import Scale, on_scale
from modalxai.audio import seed_for
from modalxai.errors import InputError
from modalxai.protocols import Axiom, Game
from modalxai.types import Attribution, Provenance, select


@dataclass(frozen=True)
class PermutationShapley:
    """The mean gain when a modality joins those before it, over orders (Castro et al. 2009).

    Every order if there are at most ``orders`` of them, and exact then; else so many drawn at
    random for each sample, with standard errors. It costs ``orders * M + 1`` coalitions; the
    game answers each one once.

    Parameters
    ----------
    orders
        Most orders.
    scale
        See `modalxai.attribution.on_scale`; every scale but ``"contrast"``.
    seed
        Of the orders; a sample's own seed comes from it and the sample's id.
    """

    axioms: ClassVar[tuple[Axiom, ...]] = ("efficiency", "null player", "linearity")

    orders: int = 24
    scale: Scale = "clr"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.orders < 1 or self.scale == "contrast":
            raise InputError(
                "a setting out of its range",
                expected="orders from 1, and a scale without a rival",
                got=f"orders={self.orders}, scale={self.scale!r}",
                mend="leave the defaults",
            )

    def attribute(self, game: Game, labels: Sequence[str] | None = None) -> Attribution:
        """Totals [B, L, M] that sum to prediction - reference."""
        chosen = select(game.labels, labels)
        orders = torch.stack([self._orders(name, len(game.modalities)) for name in game.sample_ids])
        _, count, modalities = orders.shape
        # [O, M + 1, B, M]: after each arrival, who is there.
        place = orders.argsort(-1).permute(1, 0, 2)[:, None]
        there = place < torch.arange(modalities + 1)[:, None, None]
        keep = {
            name: there[..., at, None].expand(count, modalities + 1, *spans.start.shape)
            for at, (name, spans) in enumerate(game.players.items())
        }
        keep = {name: mask.to(game.present.device) for name, mask in keep.items()}
        scores = on_scale(game.value(keep), game.labels, self.scale)[..., chosen].mean(0)
        gains = scores.diff(dim=1)  # [O, M, B, L], in order of arrival
        index = place[:, 0].permute(0, 2, 1)  # [O, M, B]: when each modality arrived
        index = index[..., None].expand(gains.shape).to(gains.device)
        own = gains.gather(1, index) * game.present.T[:, :, None]
        totals = own.mean(0).permute(1, 2, 0)
        return Attribution(
            sample_ids=tuple(game.sample_ids),
            labels=tuple(game.labels[column] for column in chosen),
            modalities=tuple(game.modalities),
            present=game.present,
            totals=totals,
            units={},
            pairs={},
            se=self._errors(own),
            mask={},
            spans={},
            prediction=scores[0, -1],
            reference=scores[0, 0],
            provenance=Provenance(
                attributor="permutation-shapley",
                params={"orders": self.orders, "order_seed": self.seed},
                scale=self.scale,
                level=game.level,
                **game.settings,
            ),
        )

    def _orders(self, sample_id: str, modalities: int) -> Tensor:
        """Orders [O, M] of one sample: all of them, or its own draws."""
        if factorial(modalities) <= self.orders:
            return torch.tensor(list(permutations(range(modalities))))
        draw = torch.Generator().manual_seed(seed_for(f"orders/{sample_id}", self.seed))
        return torch.stack([torch.randperm(modalities, generator=draw) for _ in range(self.orders)])

    def _errors(self, own: Tensor) -> Tensor:
        """Standard errors [B, L, M] of gains [O, M, B, L]; 0 where no order was left out."""
        every = factorial(own.shape[1]) <= self.orders
        if every or len(own) < 2:
            return torch.zeros_like(own[0]).permute(1, 2, 0)
        return (own.std(0) / len(own) ** 0.5).permute(1, 2, 0)

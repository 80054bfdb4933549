"""`Explanation`: what follows from the scores of every coalition of modalities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from modalxai.attribution import indices
from modalxai.attribution.coalitions import CoalitionTable, Names
from modalxai.attribution.conflict import Conflict, find_conflict, find_flips
from modalxai.attribution.interaction_types import InteractionTypes, find_types
from modalxai.attribution.intershap import InterSHAP, intershap_of
from modalxai.attribution.shares import Shares, Sides, least_evidence, shares_of, sides_of
from modalxai.attribution.terms import Terms
from modalxai.errors import InputError, RemovalError
from modalxai.types import Attribution

InteractionIndex = Literal["2-SII", "SII", "k-SII", "STII", "FSII", "FBII"]

INDEPENDENT = "marginal-independent"
"""The removal under which EMAP is defined: each modality lent by a donor of its own."""


@dataclass(frozen=True, eq=False)
class Explanation(CoalitionTable):
    """Raw scores of all 2**M coalitions, and the arithmetic on them.

    Every method answers for all samples, from the table alone: the model is not asked again.
    Three arguments recur:

    - ``scale``: ``"clr"`` (default), ``"contrast"``, ``"log-odds"``, ``"probability"`` or
      ``"raw"``; see `modalxai.attribution.scales.on_scale`.
    - ``labels``: names of the labels to explain, every one for ``None``.
    - ``against``: with ``"contrast"``, ``"rival"`` (the best other label of each sample) or the
      name of a label.

    For the fields see `modalxai.attribution.coalitions.CoalitionTable`.
    """

    def shapley(
        self, scale: str | None = None, labels: Names = None, against: str = "rival"
    ) -> Attribution:
        """Exact Shapley values of the modalities; totals sum to prediction - reference."""
        return self._totals("modality-shapley", indices.shapley, scale, labels, against)

    def banzhaf(
        self, scale: str | None = None, labels: Names = None, against: str = "rival", p: float = 0.5
    ) -> Attribution:
        """Exact Banzhaf values: the mean gain when each other modality is there with probability p.

        All coalitions weigh the same at 0.5. Totals do not sum to prediction - reference from
        three modalities on (from two, unless p is 0.5); the residual says by how much.

        Raises
        ------
        InputError
            A p outside 0..1.
        """
        if isinstance(p, bool) or not isinstance(p, int | float) or not 0 <= p <= 1:
            raise InputError("p out of range", expected="0 to 1", got=repr(p), mend="0.5, say")
        return self._totals(
            "modality-banzhaf", lambda v: indices.banzhaf(v, p), scale, labels, against, p=p
        )

    def ablation(
        self, scale: str | None = None, labels: Names = None, against: str = "rival"
    ) -> Attribution:
        """Necessity, ``v(N) - v(N without m)``; the residual is minus the interaction for M = 2."""
        return self._totals("modality-ablation", indices.necessity, scale, labels, against)

    def sufficiency(
        self, scale: str | None = None, labels: Names = None, against: str = "rival"
    ) -> Attribution:
        """What each modality achieves alone, ``v({m}) - v({})``."""
        return self._totals("modality-sufficiency", indices.sufficiency, scale, labels, against)

    def emap(
        self, scale: str | None = None, labels: Names = None, against: str = "rival"
    ) -> Attribution:
        """The additive projection of Hessel & Lee (2020), ``reference + totals.sum(-1)``.

        Totals are what each modality adds alone, averaged over what the others may be; the
        residual is what no additive model can say, and for two modalities the Moebius coefficient
        of the game. It is a projection only where every missing modality is lent by a donor of
        its own, so other removals are refused: `sufficiency` computes the same there, but is no
        projection.

        Raises
        ------
        RemovalError
            A removal other than "marginal-independent".
        """
        other = {m: how for m, how in self.provenance.removal.items() if how != INDEPENDENT}
        if other:
            raise RemovalError(
                "EMAP averages over independent donors",
                expected=f"removal {INDEPENDENT!r} for every modality",
                got=str(other),
                mend=f'explain(..., removal="{INDEPENDENT}"), or ask for sufficiency()',
            )
        return self._totals("emap", indices.sufficiency, scale, labels, against)

    def interactions(
        self,
        scale: str | None = None,
        labels: Names = None,
        against: str = "rival",
        index: InteractionIndex = "2-SII",
        order: int = 2,
    ) -> Attribution:
        """Pairwise interactions, ``pairs[m, n]`` [N, L, 1, 1], and what they leave to each alone.

        With 2-SII, the default, pairs are Shapley interactions and totals
        ``phi_i - 1/2 sum_j SII_ij``, so that totals and pairs together sum to
        prediction - reference, and the residual is the sum of pairs. So they do with ``"k-SII"``,
        ``"STII"`` and ``"FSII"`` of order 2; of a higher order there are terms of more modalities
        beside, see `interaction_terms`. For two modalities these agree. With ``"SII"`` totals are
        the Shapley values themselves; ``"FBII"`` sums to nothing in particular.

        Signs depend on the scale, and a negative one is not by itself redundancy: see
        `interaction_types`.

        Raises
        ------
        InputError
            An unknown index, or an order below 2 or that is not the index's.
        """
        chosen, values = self._values(scale, labels, against)
        terms = self._terms(values, index, order)
        ones = [terms[(m,)] for m in range(len(self.modalities))]
        provenance = self._provenance("interactions", scale, against, index=index, order=order)
        result = self._attribution(torch.stack(ones, -1), values, chosen, provenance)
        pairs = {}
        for players, term in terms.items():
            if len(players) == 2:
                here = self.present[:, list(players)].all(1)[:, None]
                names = self.modalities[players[0]], self.modalities[players[1]]
                pairs[names] = (term.mean(0) * here)[..., None, None]
        return replace(result, pairs=pairs)

    def interaction_terms(
        self,
        scale: str | None = None,
        labels: Names = None,
        against: str = "rival",
        index: InteractionIndex = "FSII",
        order: int = 2,
    ) -> Terms:
        """An interaction index of every coalition of 1 to ``order`` modalities.

        Raises
        ------
        InputError
            An unknown index, or an order below 2 or that is not the index's.
        """
        chosen, values = self._values(scale, labels, against)
        terms = self._terms(values, index, order)
        provenance = self._provenance("interaction-terms", scale, against, index=index, order=order)
        return self._by_coalition(terms, chosen, provenance)

    def moebius(
        self, scale: str | None = None, labels: Names = None, against: str = "rival"
    ) -> Terms:
        """Harsanyi dividends of all coalitions, the empty one (the reference) first.

        What a coalition has that none of its parts has; they sum to the prediction. Its
        ``interaction_share()`` says how much of the game is interaction, and ``order_shares()`` of
        which order.
        """
        chosen, values = self._values(scale, labels, against)
        sets = [tuple(m for m in range(len(self.modalities)) if row >> m & 1)
                for row in range(1 << len(self.modalities))]  # fmt: skip
        terms = dict(zip(sets, indices.moebius(values).unbind(0), strict=True))
        return self._by_coalition(terms, chosen, self._provenance("moebius", scale, against))

    def model_fit(
        self,
        scale: str | None = None,
        labels: Names = None,
        against: str = "rival",
        order: int = 2,
    ) -> Tensor:
        """Kernel-weighted R**2 of the faithful model of an order (FSII), [N, L], at most 1.

        How far single modalities and pairs tell the whole story. 1 where a sample has no more
        modalities than ``order``, NaN where its coalitions between none and all score alike; what
        is left in order three and more is in ``moebius().order_shares()``.

        Raises
        ------
        InputError
            An order below 1.
        """
        _check_order(order, 1)
        _, values = self._values(scale, labels, against)
        table = values.mean(1)
        fits = torch.full_like(table[0], torch.nan)
        patterns = self.present.tolist()
        for here in set(map(tuple, patterns)):
            samples = [n for n, pattern in enumerate(patterns) if tuple(pattern) == here]
            # A modality that a sample lacks is no player, so its game has fewer rows.
            gone = sum(1 << m for m, there in enumerate(here) if not there)
            rows = [row for row in range(len(table)) if not row & gone]
            fits[samples] = indices.model_fit(table[rows][:, samples], order)
        return fits

    def interaction_types(
        self,
        scale: str | None = None,
        labels: Names = None,
        against: str = "rival",
        tolerance: float | None = None,
    ) -> InteractionTypes:
        """Additive, conflict, synergy, redundancy or suppression, of every pair.

        Parameters
        ----------
        tolerance
            The least interaction that counts as one. ``None``: 0.05 nats (rounding, for what is
            not in nats), or three standard errors where those are more.

        Raises
        ------
        InputError
            A negative tolerance.
        """
        if tolerance is not None and not tolerance >= 0:
            raise InputError(
                "a negative tolerance", expected="0 or more", got=repr(tolerance), mend="0.05, say"
            )
        chosen, values = self._values(scale, labels, against)
        return find_types(
            values.movedim(1, 0),
            self._least(values, chosen, scale),
            tolerance,
            self.sample_ids,
            tuple(self.labels[column] for column in chosen),
            self.modalities,
            self.present,
            self.enumerated,
        )

    def magnitude_shares(
        self, scale: str | None = None, labels: Names = None, against: str = "rival"
    ) -> Shares:
        """Shapley values as percentages, where they may be; NaN and the reason elsewhere."""
        return shares_of(*self._evidence(scale, labels, against))

    def cancellation(
        self, scale: str | None = None, labels: Names = None, against: str = "rival"
    ) -> Tensor:
        """``1 - |sum phi| / sum |phi|``, [N, L]: 0 aligned, 1 a perfect stalemate.

        NaN where there is no evidence to cancel, see `Shares`.
        """
        return self.magnitude_shares(scale, labels, against).cancellation

    def for_against(
        self, scale: str | None = None, labels: Names = None, against: str = "rival"
    ) -> Sides:
        """Which modalities speak for each label, and which against it; see `Sides`."""
        values, least = self._evidence(scale, labels, against)
        return sides_of(values.totals, least)

    def intershap(
        self, scale: str | None = "probability", labels: Names = None, against: str = "rival"
    ) -> InterSHAP:
        """How much of the behaviour is interaction (Wenderoth et al., arXiv 2412.15828).

        On probabilities, as its authors have it; there additive logits interact, too. With
        ``scale="clr"`` they do not.
        """
        chosen, values = self._values(scale, labels, against)
        least = self._least(values, chosen, scale)
        return intershap_of(self.interactions(scale, labels, against), least)

    def flips(self) -> Tensor:
        """Whether the predicted class changes when a modality is removed, bool [N, M].

        Raises
        ------
        InputError
            No categorical labels.
        """
        return find_flips(self.scores, self.labels, self.present)

    def conflict(self) -> Conflict:
        """Do the modalities disagree, and which one wins? See `Conflict`."""
        return find_conflict(
            self.values("clr"),
            self.draws,
            self.sample_ids,
            self.labels,
            self.modalities,
            self.present,
        )

    def _totals(
        self,
        name: str,
        index: Callable[[Tensor], Tensor],
        scale: str | None,
        labels: Names,
        against: str,
        **params: Any,
    ) -> Attribution:
        chosen, values = self._values(scale, labels, against)
        provenance = self._provenance(name, scale, against, **params)
        return self._attribution(index(values), values, chosen, provenance)

    def _terms(self, values: Tensor, index: str, order: int) -> dict[indices.Players, Tensor]:
        names = ("2-SII", *(one for one in indices.INDICES if one != "BII"))
        if index not in names:
            raise InputError(
                "unknown interaction index",
                expected=f"one of {list(names)}",
                got=repr(index),
                mend="choose one",
            )
        _check_order(order, 2)
        if index == "2-SII" and order != 2:
            raise InputError(
                "2-SII is of order 2", expected="order=2", got=repr(order), mend='index="k-SII"'
            )
        return indices.interaction_terms(values, "k-SII" if index == "2-SII" else index, order)

    def _evidence(
        self, scale: str | None, labels: Names, against: str
    ) -> tuple[Attribution, Tensor]:
        """Shapley values, and the least [N, L] that counts as a contribution."""
        chosen, values = self._values(scale, labels, against)
        return self.shapley(scale, labels, against), self._least(values, chosen, scale)

    def _least(self, values: Tensor, chosen: Sequence[int], scale: str | None) -> Tensor:
        # Of each sample by itself: it must not depend on its neighbours.
        found = [self.labels[column] for column in chosen]
        return least_evidence(found, values.abs().amax((0, 1)), scale)


def _check_order(order: int, least: int) -> None:
    if isinstance(order, bool) or not isinstance(order, int) or order < least:
        raise InputError(
            "an order that is none",
            expected=f"a whole number from {least}",
            got=repr(order),
            mend="2 for single modalities and pairs",
        )

"""How two modalities work together: additive, conflict, synergy, redundancy or suppression."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from modalxai.attribution.coalitions import mean_over
from modalxai.attribution.shares import ROUNDING
from modalxai.errors import InputError
from modalxai.types import Labels

KINDS = ("additive", "conflict", "synergy", "redundancy", "suppression")
"""Types of interaction, see `InteractionTypes`."""
CONTEXTS = ("others absent", "others present")
"""What the other modalities do meanwhile."""


@dataclass(frozen=True, eq=False)
class InteractionTypes:
    """Every pair of modalities as a game of two, over L labels and P pairs.

    With more than two modalities a pair plays two games, and may be of another type in each: one
    with all others absent, one with all others present (Q = 2 contexts, the same for M = 2). With
    a, b what each achieves alone there, j what both achieve, and ``m = j - a - b``::

        additive     |m| <= tolerance: no interaction, whatever the signs of a and b
        conflict     a and b differ in sign
        suppression  |j| < max(|a|, |b|) - tolerance, or j is on the other side than a and b
        redundancy   |j| < |a + b|: together less than the sum, no less than the stronger alone
        synergy      |j| > |a + b|: together more than the sum

    Whether the two agree in sign is another question than their type: opposed modalities may be
    perfectly additive. ``opposed`` answers it for all types. A negative m is not by itself
    redundancy.

    Parameters
    ----------
    sample_ids, labels, modalities
        N names, the L explained labels, M names.
    pairs
        The P pairs, first before second in the model's order.
    kinds
        Integer [N, L, P, Q], a place in `KINDS`; -1 where a sample lacks one of the two.
    opposed
        Bool [N, L, P, Q]: a and b differ in sign, beyond the rounding of float32 scores.
    first, second, joint, interaction
        Float [N, L, P, Q]: a, b, j and m.
    tolerance
        Float [N, L, P, Q].
    """

    sample_ids: tuple[str, ...]
    labels: Labels
    modalities: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    kinds: Tensor
    opposed: Tensor
    first: Tensor
    second: Tensor
    joint: Tensor
    interaction: Tensor
    tolerance: Tensor

    def named(
        self, pair: tuple[str, str], label: str, context: str = "others present"
    ) -> tuple[str, ...]:
        """The type of one pair for one label, by sample; empty where a sample lacks one of them.

        Raises
        ------
        InputError
            A pair, label or context that is not there.
        """
        names = [one.name for one in self.labels]
        if pair not in self.pairs or label not in names or context not in CONTEXTS:
            raise InputError(
                "no such pair, label or context",
                expected=f"one of {list(self.pairs)}, {names} and {list(CONTEXTS)}",
                got=f"{pair!r}, {label!r}, {context!r}",
                mend="name a pair in the model's order",
            )
        place = names.index(label), self.pairs.index(pair), CONTEXTS.index(context)
        return tuple("" if kind < 0 else KINDS[kind] for kind in self.kinds[:, *place].tolist())


def find_types(
    values: Tensor,
    least: Tensor,
    tolerance: float | None,
    sample_ids: tuple[str, ...],
    labels: Labels,
    modalities: tuple[str, ...],
    present: Tensor,
    enumerated: bool = False,
) -> InteractionTypes:
    """Types from the table on a scale, [R, 2**M, N, L]; see `InteractionTypes`.

    Parameters
    ----------
    least
        [N, L], the tolerance for ``None``; three standard errors of m where those are more.
    enumerated
        Whether the draws are all there are.
    """
    everything, count = (1 << len(modalities)) - 1, len(modalities)
    pairs = list(combinations(range(count), 2))
    gains = values.new_empty(3, *values[:, 0].shape, len(pairs), len(CONTEXTS))
    for p, (i, j) in enumerate(pairs):
        both = 1 << i | 1 << j
        for q, others in enumerate((0, everything ^ both)):
            for place, own in enumerate((1 << i, 1 << j, both)):
                gains[place, ..., p, q] = values[:, others | own] - values[:, others]
    first, second, joint = gains.mean(1)
    drawn = gains[2] - gains[0] - gains[1]
    interaction, error = mean_over(drawn, enumerated)
    if tolerance is not None:
        limit = torch.full_like(interaction, tolerance)
    else:
        limit = torch.maximum(least[..., None, None].expand(interaction.shape), 3 * error)
    rounding = ROUNDING * values.abs().amax((0, 1)).clamp(min=1)[..., None, None]
    here = present.new_empty(len(sample_ids), 1, len(pairs), 1)
    for p, (i, j) in enumerate(pairs):
        here[:, 0, p, 0] = present[:, i] & present[:, j]
    opposed = _sign(first, rounding) * _sign(second, rounding) < 0
    kinds = _classify(first, second, joint, interaction, limit, opposed)
    return InteractionTypes(
        sample_ids=sample_ids,
        labels=labels,
        modalities=modalities,
        pairs=tuple((modalities[i], modalities[j]) for i, j in pairs),
        kinds=kinds.masked_fill(~here, -1),
        opposed=opposed & here,
        first=first,
        second=second,
        joint=joint,
        interaction=interaction,
        tolerance=limit,
    )


def _classify(a: Tensor, b: Tensor, j: Tensor, m: Tensor, limit: Tensor, opposed: Tensor) -> Tensor:
    """Places in `KINDS`; the later rule gives way to the earlier."""
    sides = a + b
    flipped = j * sides < 0
    stronger = torch.maximum(a.abs(), b.abs())
    rules = {
        "additive": m.abs() <= limit,
        "conflict": opposed,
        # First among the rest: beyond the other side's end j may even be large.
        "suppression": (j.abs() < stronger - limit) | flipped,
        "redundancy": j.abs() < sides.abs(),
    }
    kinds = torch.full_like(m, KINDS.index("synergy"), dtype=torch.long)
    for name, holds in reversed(rules.items()):
        kinds = kinds.masked_fill(holds, KINDS.index(name))
    return kinds


def _sign(values: Tensor, least: Tensor) -> Tensor:
    return values.sign() * (values.abs() > least)

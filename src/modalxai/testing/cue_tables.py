"""The fusion of the oracle models: a truth table of cues, and what is true of a sample by it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations, product
from typing import Any, Self

import torch
from torch import Tensor, nn

from modalxai import masking
from modalxai.errors import InputError
from modalxai.pretrained import Pretrained
from modalxai.testing.oracles import SimpleSum, Term, simple_sum
from modalxai.types import Features, Label, Prediction, check_labels, columns


class CueFusion(Pretrained):
    """A truth table of cues, one from each modality: the sum of its vectors' numbers.

    Between and beyond 0 and 1 the table is continued as a multilinear polynomial, so AND is the
    product of the cues and XOR ``a + b - 2ab``.

    Parameters
    ----------
    dims
        1 for each modality, in order.
    labels
        The K columns.
    table
        Raw scores [2**M, K], or [2**M] of one label. Bit j of a row's number is set where the cue
        of modality j is there.
    cap
        Whether a cue that is there twice is there once: the sum is cut to 0..1.

    Raises
    ------
    InputError
        A table that does not fit, or a width that is not 1.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        labels: Sequence[Label],
        table: Sequence[Sequence[float]] | Sequence[float] | Tensor,
        cap: bool = False,
    ) -> None:
        super().__init__()
        check_labels(labels)
        rows = torch.as_tensor(table, dtype=torch.float64)
        rows = rows[:, None] if rows.dim() == 1 else rows
        if rows.shape != (2 ** len(dims), len(labels)) or set(dims.values()) != {1}:
            raise InputError(
                "a truth table that does not fit",
                expected=f"[{2 ** len(dims)}, {len(labels)}], and dims of 1",
                got=f"{list(rows.shape)}, dims={dict(dims)}",
                mend="one row for each combination of cues, one column for each label",
            )
        self.dims = dict(dims)
        self.labels = tuple(labels)
        self.cap = cap
        self.table = nn.Parameter(rows.float())
        self.missing = {name: torch.zeros(1) for name in dims}

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments as json values."""
        return {
            "dims": [[name, width] for name, width in self.dims.items()],
            "labels": [asdict(label) for label in self.labels],
            "table": self.table.tolist(),
            "cap": self.cap,
        }

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Self:
        """The same fusion again."""
        labels = [Label(**label) for label in settings["labels"]]
        return cls(**settings | {"dims": dict(settings["dims"]), "labels": labels})

    def project(self, modality: str, features: Features) -> Tensor:
        """The cue of one modality, [B, 1]; 0 where the modality is absent."""
        cue = masking.blank(features.values, features.mask).sum(1)
        return cue.clamp(0, 1) if self.cap else cue

    def join(self, projected: Mapping[str, Tensor]) -> Prediction:
        """Scores [B, K]."""
        cues = [projected[name] for name in self.dims]
        terms = torch.ones_like(cues[0])
        for cue in cues:  # the products of all sets of cues, in binary order
            terms = torch.cat([terms, terms * cue], dim=1)
        return Prediction(terms @ _moebius(self.table), self.labels)

    def forward(self, features: Mapping[str, Features]) -> Prediction:
        """Scores [B, K] of every modality's features.

        Raises
        ------
        InputError
            A modality too many or too few, or of another width.
        """
        widths = {name: one.values.shape[-1] for name, one in features.items()}
        if widths != self.dims:
            raise InputError(
                "features that the fusion cannot read",
                expected=f"width by modality {self.dims}",
                got=str(widths),
                mend="make the fusion with the encoders' names",
            )
        return self.join({name: self.project(name, features[name]) for name in self.dims})


def truth(fusion: CueFusion, cues: Mapping[str, Sequence[float]]) -> SimpleSum:
    """What is true of one sample, on the default scale of its labels.

    Parameters
    ----------
    fusion
        The model's.
    cues
        By modality the value of each of its players (a word's, a segment's), in order; those of a
        modality that the sample lacks are left out, ``[]``. With ``cap``, 0 or 1 each.

    Returns
    -------
    SimpleSum
        Its players are those of the first modality, then those of the second. `SimpleSum.shapley`
        are the values of the flat game, `SimpleSum.owen` those whose sums are the modalities'.

    Raises
    ------
    InputError
        Cues of other modalities, or other than 0 and 1 under ``cap``.
    """
    given = [value for name in cues for value in cues[name]]
    if list(cues) != list(fusion.dims) or (fusion.cap and not set(given) <= {0, 1}):
        raise InputError(
            "cues that the fusion does not read",
            expected=f"cues of {list(fusion.dims)}, in order" + ", each 0 or 1" * fusion.cap,
            got=repr(dict(cues)),
            mend="give the value of each word and each segment",
        )
    raw = _moebius(fusion.table.detach().double().cpu())
    classes = columns(fusion.labels, "categorical")
    parts: list[list[tuple[float, tuple[int, ...]]]] = []
    count = 0
    for name in fusion.dims:
        players = range(count, count + len(cues[name]))
        count += len(cues[name])
        parts.append(_sum_of(cues[name], players) if not fusion.cap else _any(cues[name], players))
    logits, centred = [], []
    for row, weights in enumerate(raw):
        chosen = [part for place, part in enumerate(parts) if row >> place & 1]
        for factors in product(*chosen):
            size = math.prod(factor for factor, _ in factors)
            who = tuple(player for _, players in factors for player in players)
            logits.append(Term(tuple((size * weights).tolist()), who))
            on_clr = weights.clone()
            on_clr[classes] -= weights[classes].mean()
            centred.append(Term(tuple((size * on_clr).tolist()), who))
    found = simple_sum(count, logits, fusion.labels)
    # The constant belongs to nobody.
    return SimpleSum(found.values, fusion.labels, tuple(t for t in centred if t.players))


def _sum_of(cues: Sequence[float], players: range) -> list[tuple[float, tuple[int, ...]]]:
    return [(float(cue), (player,)) for cue, player in zip(cues, players, strict=True) if cue]


def _any(cues: Sequence[float], players: range) -> list[tuple[float, tuple[int, ...]]]:
    """1 if any of those with a cue is there, as a sum of "all of these are there"."""
    has = [player for cue, player in zip(cues, players, strict=True) if cue]
    return [
        ((-1.0) ** (size + 1), chosen)
        for size in range(1, len(has) + 1)
        for chosen in combinations(has, size)
    ]


def _moebius(table: Tensor) -> Tensor:
    """Values of corners [2**M, K] to coefficients of the products of cues [2**M, K]."""
    found = table
    step = 1
    while step < len(table):
        low, high = torch.unflatten(found, 0, (-1, 2, step)).unbind(1)
        found = torch.stack([low, high - low], dim=1).flatten(0, 2)
        step *= 2
    return found

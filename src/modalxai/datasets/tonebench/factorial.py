"""The gold of a trained model: its own factorial table, by brute force, and the ANOVA of that.

Which rule was planted says nothing about a model that has learnt something else. What a model
really does is found by interventions: the text of one sample, the recording of another, the body
of a third, through plain forward calls, for all of them. Then everything is arithmetic. This file
uses none of `modalxai.games` and `modalxai.attribution`, so that it can judge them.

The estimand, and who else computes it. With samples i and donors D,
``v_i(S) = mean over (j_m in D, m not in S, each m on its own) of clr f(i where m in S, j_m else)``:
marginal removal with independent donors, every combination of them. That is ::

    mx.explain(model, samples, removal="marginal-independent", draws="all", background=donors)

to the precision of the scores, with ``background=renamed(samples)`` where the samples are their own
donors: modalxai lets none lend to itself, and knows it by its id. ``removal="marginal"`` lends all
that is missing from one and the same donor. It differs in coalitions that lack two modalities or
more: of two modalities, in v(nothing) alone, which moves both Shapley values by half of that.
With D a whole corpus crossed by itself, v is the functional ANOVA of the factorial table (Hooker
2004): its effects under independent uniform factors are the Moebius coefficients of v.

Axis letters: N samples, P samples and donors, Q different mixtures, M modalities, K labels.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modalxai.datasets.tonebench.gold import NO_EVIDENCE, Truth
from modalxai.datasets.tonebench.rule import Array
from modalxai.errors import InputError
from modalxai.types import Prediction

KINDS = ("additive", "conflict", "synergy", "redundancy", "suppression")
"""Types of interaction, as in `modalxai.attribution.interaction_types`, written down once more."""
ROUNDING = 1e-5
"""Of the scores: below it a sign is none."""
MOST = 200_000
"""Mixtures that are asked for at most."""

Sample = Mapping[str, Any]
Predict = Callable[[Sequence[Sample]], Prediction | ArrayLike]
"""Plain forward calls: samples to scores [B, K], logits of labels that share a softmax."""


@dataclass(frozen=True, eq=False)
class Factorial:
    """What a model says of every mixture, and what follows.

    Parameters
    ----------
    sample_ids
        Of the N samples.
    labels, modalities
        Names of the K labels and M modalities.
    values
        Float64 [2**M, N, K], nats: v(S) on clr. Coalitions are ordered by the binary number of the
        modalities kept, the first being the lowest digit, as in `mx.explain`.
    pool_ids
        Of the P samples and donors that mixtures were made of; the N samples come first.
    origins
        Whole numbers [Q, M]: which of the pool gave each modality.
    scores
        Float64 [Q, K]: the model's logits of each mixture.
    """

    sample_ids: tuple[str, ...]
    labels: tuple[str, ...]
    modalities: tuple[str, ...]
    values: Array
    pool_ids: tuple[str, ...]
    origins: NDArray[np.int64]
    scores: Array

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The label [N] that the model gives each sample as it is."""
        return np.asarray(self.values[-1].argmax(-1))

    def dividends(self) -> dict[tuple[str, ...], Array]:
        """By coalition but the empty one, m(S) [N, K]: the effects of the functional ANOVA."""
        found: dict[tuple[str, ...], Array] = {}
        for size in range(1, len(self.modalities) + 1):
            for members in combinations(range(len(self.modalities)), size):
                part = np.zeros_like(self.values[0])
                for fewer in range(size + 1):
                    for some in combinations(members, fewer):
                        part += (-1) ** (size - fewer) * self.values[sum(1 << m for m in some)]
                found[tuple(self.modalities[m] for m in members)] = part
        return found

    def shapley(self) -> Array:
        """Shapley values [N, K, M], nats: ``sum over S with m of m(S) / |S|``."""
        parts = self.dividends()
        return np.stack(
            [
                sum(
                    (part / len(seen) for seen, part in parts.items() if name in seen), np.zeros(())
                )
                for name in self.modalities
            ],
            axis=-1,
        )

    def types(self, tolerance: float = NO_EVIDENCE) -> NDArray[np.int64]:
        """The type of each pair's interaction [N, K, pairs, 2], a place in `KINDS`.

        Pairs are in the order of `itertools.combinations`; the last axis is the game in which all
        other modalities are absent, and the one in which they are present (alike for two). With a
        and b what each achieves alone, j what both do and ``m = j - a - b``, the first that holds:
        additive ``|m| <= tolerance``; conflict, a and b differ in sign; suppression,
        ``|j| < max(|a|, |b|) - tolerance`` or j and a + b differ in sign; redundancy,
        ``|j| < |a + b|``; else synergy.
        """
        every = (1 << len(self.modalities)) - 1
        least = ROUNDING * np.maximum(1, np.abs(self.values).max(0))
        found = []
        for one, two in combinations(range(len(self.modalities)), 2):
            mine, other = 1 << one, 1 << two
            for rest in (0, every ^ (mine | other)):
                a, b, j = (
                    self.values[rest | kept] - self.values[rest]
                    for kept in (mine, other, mine | other)
                )
                opposed = (a * b < 0) & (np.minimum(np.abs(a), np.abs(b)) > least)
                stronger = np.maximum(np.abs(a), np.abs(b))
                holds = [
                    np.abs(j - a - b) <= tolerance,
                    opposed,
                    (np.abs(j) < stronger - tolerance) | (j * (a + b) < 0),
                    np.abs(j) < np.abs(a + b),
                ]
                order = ("additive", "conflict", "suppression", "redundancy")
                places = [KINDS.index(name) for name in order]
                found.append(np.select(holds, places, KINDS.index("synergy")))
        pairs = math.comb(len(self.modalities), 2)
        return np.stack(found, axis=-1).reshape(*self.values.shape[1:], pairs, 2)

    def shares(self, belongs: ArrayLike | None = None) -> dict[str, Truth]:
        """One row per label over the samples that belong to it, as the rows of `tonebench.gold`.

        Parameters
        ----------
        belongs
            Names of the labels [N] that samples are grouped by; those that the model predicts for
            ``None``.

        Raises
        ------
        InputError
            Not one known label for each sample.
        """
        names = [self.labels[k] for k in self.predicted] if belongs is None else belongs
        found = [str(name) for name in np.asarray(names).tolist()]
        if len(found) != len(self.sample_ids) or not set(found) <= set(self.labels):
            raise InputError(
                "labels that do not group the samples",
                expected=f"{len(self.sample_ids)} of {list(self.labels)}",
                got=f"{len(found)} of {sorted(set(found))}",
                mend="give each sample's label by name",
            )
        return {
            label: self._share(k, np.array(found) == label) for k, label in enumerate(self.labels)
        }

    def _share(self, k: int, rows: NDArray[np.bool_]) -> Truth:
        parts = {seen: part[rows, k] for seen, part in self.dividends().items()}
        values = dict(zip(self.modalities, self.shapley()[rows, k].T, strict=True))
        nothing = not rows.any()

        def mean(one: Array) -> float:
            return math.nan if nothing else float(one.mean())

        sizes = {name: mean(np.abs(value)) for name, value in values.items()}
        whole = sum(sizes.values())
        reason = "no sample belongs to this label" if nothing else None
        if whole < NO_EVIDENCE:
            reason = "no modality evidence for this label"
        shown = math.nan if reason else 1 / whole
        amounts = {seen: mean(np.abs(part)) for seen, part in parts.items()}
        joint = sum(amount for seen, amount in amounts.items() if len(seen) > 1)
        every = sum(amounts.values())
        return Truth(
            share={name: size * shown for name, size in sizes.items()},
            evidence={name: mean(value) for name, value in values.items()},
            interaction=sum(mean(part) for seen, part in parts.items() if len(seen) > 1),
            interaction_share=math.nan if reason else joint / every,
            dividends={seen: mean(part) for seen, part in parts.items() if len(seen) > 1},
            frequency=float(rows.mean()),
            reason=reason,
        )


def factorial(
    predict: Predict,
    samples: Sequence[Sample],
    modalities: Sequence[str],
    *,
    donors: Sequence[Sample] | None = None,
    labels: Sequence[str] | None = None,
    batch_size: int = 64,
) -> Factorial:
    """Ask a model about every mixture of samples and donors.

    Each mixture is asked for once. Their number is, for two modalities,
    ``N + 2 N |D| + |D|**2`` with donors of their own, and ``N**2`` without; see `MOST`.

    Parameters
    ----------
    predict
        Samples to logits [B, K]: ``model.predict``, or any forward call. It is given samples that
        hold an id and the modalities, and nothing else.
    samples
        N samples that have all modalities, and different ids.
    modalities
        M names, in the model's order.
    donors
        Who lends what is removed: crossed and balanced, so that what is lent is independent of
        what is kept. Their ids are others than those of the samples. The samples themselves for
        ``None``; then each is among its own donors.
    labels
        Names of the K columns, where ``predict`` does not return a `Prediction`.
    batch_size
        Mixtures of one call.

    Raises
    ------
    InputError
        Samples without an id or a modality, too many mixtures, no labels, or scores that are not
        finite [B, K].
    """
    names = tuple(modalities)
    pool, lent = _pool(list(samples), None if donors is None else list(donors), names)
    every = 1 << len(names)
    ways = len(samples) * sum(len(lent) ** row.bit_count() for row in range(every))
    if ways > len(names) * every * MOST:
        raise InputError(
            "more mixtures than can be asked for",
            expected=f"about {MOST} or fewer",
            got=f"{ways} ways to mix {len(samples)} samples and {len(lent)} donors",
            mend="give fewer samples, or fewer donors",
        )
    places: dict[tuple[int, ...], int] = {}
    rows: list[list[list[int]]] = []  # by coalition and sample the mixtures
    for kept in range(every):
        mine: list[list[int]] = []
        for own in range(len(samples)):
            if kept == 0 and mine:
                mine.append(mine[0])
                continue
            chosen = product(*((own,) if kept >> m & 1 else lent for m in range(len(names))))
            mine.append([places.setdefault(origin, len(places)) for origin in chosen])
        rows.append(mine)
    if len(places) > MOST:
        raise InputError(
            "more mixtures than can be asked for",
            expected=f"{MOST} or fewer",
            got=str(len(places)),
            mend="give fewer samples, or fewer donors",
        )
    origins = np.array(list(places), dtype=np.int64)
    scores, found = _ask(predict, pool, origins, names, labels, batch_size)
    clr = scores - scores.mean(-1, keepdims=True)
    values = np.stack([[clr[own].mean(0) for own in mine] for mine in rows])
    ids = tuple(str(one["id"]) for one in pool)
    return Factorial(ids[: len(samples)], found, names, values, ids, origins, scores)


def renamed(samples: Sequence[Sample], prefix: str = "donor/") -> list[dict[str, Any]]:
    """The same samples under other ids, so that they may be donors of themselves."""
    return [{**sample, "id": f"{prefix}{sample['id']}"} for sample in samples]


def _pool(
    samples: list[Sample], donors: list[Sample] | None, names: tuple[str, ...]
) -> tuple[list[Sample], list[int]]:
    """Samples and donors, and the places of the donors."""
    pool = samples + (donors or [])
    lent = list(range(len(samples) if donors is not None else 0, len(pool)))
    lacking = [
        str(one.get("id"))
        for one in pool
        if not isinstance(one.get("id"), str) or any(one.get(name) is None for name in names)
    ]
    twice = [] if lacking else [one for one, n in Counter(o["id"] for o in pool).items() if n > 1]
    if lacking or twice or not (samples and lent and names):
        raise InputError(
            "samples that cannot be mixed",
            expected=f"samples and donors, all of different ids, all with {list(names)}",
            got=f"lacking something: {lacking[:5]}; twice: {twice[:5]}; {len(pool)} in all",
            mend="take them from one corpus; for donors among the samples give none",
        )
    return pool, lent


def _ask(
    predict: Predict,
    pool: Sequence[Sample],
    origins: NDArray[np.int64],
    names: tuple[str, ...],
    labels: Sequence[str] | None,
    batch_size: int,
) -> tuple[Array, tuple[str, ...]]:
    """Scores [Q, K] of the mixtures, and the names of the labels."""
    parts = []
    for first in range(0, len(origins), batch_size):
        mixed = [
            {"id": f"mix/{first + row}"}
            | {name: pool[at][name] for name, at in zip(names, origin, strict=True)}
            for row, origin in enumerate(origins[first : first + batch_size].tolist())
        ]
        said = predict(mixed)
        if isinstance(said, Prediction):
            labels = [label.name for label in said.labels]
            said = said.scores.detach().cpu().double().numpy()
        scores = np.asarray(said, dtype=np.float64)
        width = len(labels or ())
        if not width or scores.shape != (len(mixed), width) or not np.isfinite(scores).all():
            raise InputError(
                "predictions that make no table",
                expected=f"finite scores [{len(mixed)}, K], and the names of the K labels",
                got=f"{list(scores.shape)} for the labels {list(labels or ())}",
                mend="return a Prediction, or logits and labels=[...]",
            )
        parts.append(scores)
    return np.concatenate(parts), tuple(labels or ())

"""shapiq on modalities as players: one sample and one label, the predicted one, at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from modalxai.benchmark.tonebench.contestant import Answer, Method
from modalxai.benchmark.tonebench.question import Question
from modalxai.benchmark.tonebench.scores import classify
from modalxai.benchmark.tonebench.whole import WholeModel

Approximate = Callable[[Any, int, int], tuple[Any, Any]]
"""A centred game of masks, the number of players and a seed to Shapley values, and order 2."""


def _computed(game: Any, players: int, seed: int) -> tuple[Any, Any]:
    import shapiq

    computer = shapiq.ExactComputer(game, players)
    return computer("SV", 1), computer("k-SII", 2)


def _kernel(game: Any, players: int, seed: int) -> tuple[Any, Any]:
    import shapiq

    # Both from samples of their own, as somebody would who wants values and interactions.
    values = shapiq.KernelSHAP(players, random_state=seed).approximate(1 << players, game)
    found = shapiq.KernelSHAPIQ(players, max_order=2, index="k-SII", random_state=seed)
    return values, found.approximate(1 << players, game)


def _contestant(name: str, question: str, approximate: Approximate) -> Method:
    def method(asked: Question) -> Answer:
        whole = WholeModel(asked)
        rows = asked.rows
        before = rows.remembered
        on, off = (whole(masks, whole.rows) for masks in (whole.on, whole.off))
        rows.remembered = before  # shapiq asks for these itself
        found, kinds = [], []
        for row, label in enumerate(asked.predicted.tolist()):
            function, empty = whole.of(row), float(off[row, label])

            def game(masks: Any, of: Any = function, at: int = label, zero: float = empty) -> Any:
                return of(np.atleast_2d(masks))[:, at] - zero

            values, pairs = approximate(game, whole.players, asked.seed)
            own = [float(values[(m,)]) for m in range(whole.players)]
            found.append(torch.tensor(own))
            # Of two modalities k-SII gives what each achieves alone, and the interaction.
            a, b, m = (float(pairs[key]) for key in ((0,), (1,), (0, 1)))
            kinds.append(int(classify(a, b, a + b + m)) if whole.players == 2 else -1)
        values = torch.stack(found)
        at = torch.arange(len(values)), asked.predicted
        dense_kinds = torch.full((len(values), len(asked.labels)), -1)
        dense_kinds[at] = torch.tensor(kinds)
        residual = torch.full(dense_kinds.shape, torch.nan)
        residual[at] = (on - off)[at] - values.sum(-1)
        return Answer(asked.spread(values), nats=True, residual=residual, kinds=dense_kinds)

    cost = "rows of whole models, one for each donor, sample and label"
    return Method(name, "shapiq", question, cost, method, "shapiq")


SHAPIQ = (
    _contestant("shapiq/ExactComputer", "Shapley values, and k-SII of order 2", _computed),
    _contestant("shapiq/KernelSHAPIQ", "Shapley values by regression, k-SII of order 2", _kernel),
)

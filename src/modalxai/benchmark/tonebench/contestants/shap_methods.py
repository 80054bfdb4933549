"""SHAP's explainers on modalities as players, sample by sample, all labels at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from modalxai.audio import seed_for
from modalxai.benchmark.tonebench.contestant import Answer, Method
from modalxai.benchmark.tonebench.question import Question
from modalxai.benchmark.tonebench.whole import WholeModel

Array = NDArray[np.float64]
Explain = Callable[[Any, Array, Array, int], Any]
"""A function of masks, ones [1, M], zeros [1, M] and a seed to values [1, M, K]."""


def _exact(function: Any, on: Array, off: Array, seed: int) -> Any:
    import shap

    return shap.explainers.Exact(function, off)(on, max_evals=1 << on.shape[1], silent=True).values


def _permutation(function: Any, on: Array, off: Array, seed: int) -> Any:
    import shap

    # Each permutation is walked there and back, which for two modalities is all there is; of more,
    # as many as there are pairs of permutations.
    players = on.shape[1]
    walks = math.factorial(players) // 2
    explainer = shap.explainers.Permutation(function, off, seed=seed)
    return explainer(on, max_evals=walks * (2 * players + 1), silent=True).values


def _partition(function: Any, on: Array, off: Array, seed: int) -> Any:
    import shap

    return shap.explainers.Partition(function, shap.maskers.Partition(off, clustering=_tree(on)))(
        on, max_evals=1 << (on.shape[1] + 1), silent=True
    ).values


def _kernel(function: Any, on: Array, off: Array, seed: int) -> Any:
    import shap

    return shap.KernelExplainer(function, off).shap_values(on, silent=True)


def _tree(on: Array) -> Array:
    """Modalities joined one after the other: a linkage [M - 1, 4], as scipy has it."""
    players = on.shape[1]
    rows = [
        [0 if step == 0 else players + step - 1, step + 1, step + 1, step + 2]
        for step in range(players - 1)
    ]
    return np.asarray(rows, dtype=np.float64)


def _contestant(name: str, question: str, explain: Explain) -> Method:
    def method(asked: Question) -> Answer:
        whole = WholeModel(asked)
        on, off = whole.on[:1].double().numpy(), whole.off[:1].double().numpy()
        before: Any = np.random.get_state()
        found = []
        try:
            np.random.seed(seed_for("shap", asked.seed) % 2**32)
            for row in range(len(asked.samples)):
                values = explain(whole.of(row), on, off, asked.seed)
                found.append(torch.from_numpy(np.asarray(values, dtype=np.float64)[0].T).float())
        finally:
            np.random.set_state(before)
        values = torch.stack(found)
        rows = asked.rows.remembered
        ends = whole(whole.on, whole.rows) - whole(whole.off, whole.rows)
        asked.rows.remembered = rows  # SHAP has asked for these itself
        return Answer(values, nats=True, residual=ends - values.sum(-1))

    return Method(
        name, "SHAP", question, "rows of whole models, one for each donor", method, "shap"
    )


SHAP = (
    _contestant("shap/Exact", "Shapley values of the modalities", _exact),
    _contestant("shap/Permutation", "Shapley values, permutations drawn", _permutation),
    _contestant("shap/Partition", "Owen values along a tree of modalities", _partition),
    _contestant("shap/Kernel", "Shapley values, weighted regression", _kernel),
)

"""Which sample is what: truth, prediction and cluster of every sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from modalxai.annotations import annotate
from modalxai.attribution import Explanation
from modalxai.datasets.parts import LEAK
from modalxai.errors import InputError
from modalxai.types import Labels, Targets, columns

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


class Truth(NamedTuple):
    """What is known to be right: float and bool [N, K], as in `modalxai.types.Targets`."""

    values: Floats
    known: Bools


@dataclass(frozen=True)
class Column:
    """A column of the samples, or a mapping from id to value."""

    source: str | Mapping[str, Any]
    role: str

    def values(self, explanation: Explanation) -> tuple[Any, ...]:
        """One value per sample, ``None`` where the mapping has none.

        Raises
        ------
        InputError
            No such column, or a mapping that knows none of the samples.
        """
        if isinstance(self.source, str):
            if self.source not in explanation.columns:
                raise InputError(
                    f"{self.role}: the samples have no column {self.source!r}",
                    expected=f"one of the columns {sorted(explanation.columns)}",
                    got=repr(self.source),
                    mend=f"give the samples this column, pass {{id: value}}, or {self.role}=None",
                )
            return tuple(explanation.columns[self.source])
        if not any(name in self.source for name in explanation.sample_ids):
            raise InputError(
                f"{self.role}: the mapping knows none of the samples",
                expected=f"ids such as {list(explanation.sample_ids[:3])}",
                got=f"keys such as {list(self.source)[:3]}",
                mend="use the ids of the samples as keys",
            )
        return tuple(self.source.get(name) for name in explanation.sample_ids)


def exact(explanation: Explanation) -> Explanation:
    """The explanation on the CPU in float64, so that differences lose nothing.

    Raises
    ------
    InputError
        No samples, or scores that are not finite.
    """
    if not explanation.sample_ids:
        raise InputError(
            "a report of no samples",
            expected="an explanation of one sample or more",
            got="none",
            mend="explain some samples first",
        )
    draws = explanation.draws.detach().cpu().double()
    bad = (~torch.isfinite(draws)).any(-1).any(0).any(0)
    if bad.any():
        names = [explanation.sample_ids[int(row)] for row in bad.nonzero()[:3, 0]]
        raise InputError(
            "scores that are not finite",
            expected="finite scores for every coalition",
            got=f"NaN or infinite for {int(bad.sum())} samples, {names}",
            mend="leave these samples out, or mend the model that scores them so",
        )
    targets = Targets(explanation.targets.values.cpu(), explanation.targets.mask.cpu())
    return replace(explanation, draws=draws, present=explanation.present.cpu(), targets=targets)


def clusters_of(explanation: Explanation, cluster: str | Mapping[str, Any] | None) -> list[str]:
    """The cluster of every sample; its own id where ``cluster`` is None.

    Raises
    ------
    InputError
        An unknown column, or a sample without a cluster.
    """
    if cluster is None:
        return list(explanation.sample_ids)
    values = Column(cluster, "cluster").values(explanation)
    without = [
        name for name, value in zip(explanation.sample_ids, values, strict=True) if value is None
    ]
    if without:
        raise InputError(
            f"{len(without)} samples have no cluster",
            expected="a cluster for every sample",
            got=f"None for {without[:3]}",
            mend="name their clusters, or pass cluster=None",
        )
    return [str(value) for value in values]


def leaks_of(explanation: Explanation) -> tuple[str, ...]:
    """What the splits that the samples come from share between their parts, each once."""
    return tuple(dict.fromkeys(str(one) for one in explanation.columns.get(LEAK, ()) if one))


def truth_of(explanation: Explanation, truth: str | Mapping[str, Any] | None) -> Truth | None:
    """What is right, or None where nothing is known.

    Parameters
    ----------
    truth
        ``"labels"``, the targets that travelled with the samples; the name of a column; ``{id:
        value}``; or None. For a value see `modalxai.annotations.annotate`.

    Raises
    ------
    InputError
        An unknown column or label.
    """
    if truth is None:
        return None
    if truth == "labels":
        values = explanation.targets.values.detach().cpu().double().numpy()
        known = explanation.targets.mask.detach().cpu().bool().numpy()
    else:
        given = Column(truth, "truth").values(explanation)
        values = np.zeros((len(given), len(explanation.labels)))
        known = np.zeros(values.shape, dtype=bool)
        for row, (name, value) in enumerate(zip(explanation.sample_ids, given, strict=True)):
            try:
                found = annotate(explanation.labels, value)
            except InputError as error:
                raise error.at(f"truth of sample {name!r}", row) from error
            values[row], known[row] = (part.numpy() for part in found)
    return Truth(values, known) if known.any() else None


def predicted(scores: Floats, labels: Labels) -> NDArray[np.intp]:
    """The categorical label with the highest score of ``scores`` [N, K]: its column, [N]."""
    categorical = columns(labels, "categorical")
    found: NDArray[np.intp] = np.asarray(categorical, dtype=np.intp)[
        scores[:, categorical].argmax(-1)
    ]
    return found


def true_class(truth: Truth, labels: Labels) -> NDArray[np.intp]:
    """The true categorical label of each sample, its column, [N]; -1 where unknown or tied."""
    categorical = columns(labels, "categorical")
    shares = truth.values[:, categorical]
    best = shares.max(-1, keepdims=True)
    clear = truth.known[:, categorical].all(-1) & ((shares == best).sum(-1) == 1)
    found = np.asarray(categorical, dtype=np.intp)[shares.argmax(-1)]
    return np.where(clear, found, -1)

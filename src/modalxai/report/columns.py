"""Which sample is what: truth, prediction, cluster and group of every sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modalxai.annotations import annotate
from modalxai.attribution import Explanation
from modalxai.errors import InputError
from modalxai.types import Labels, columns

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


class Truth(NamedTuple):
    """What is known to be right: float and bool [N, K], as in `modalxai.types.Targets`."""

    values: Floats
    known: Bools


class Stratum(NamedTuple):
    """The samples of one row, and the label whose contributions it averages."""

    group: str
    column: int
    rows: NDArray[np.intp]


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


def strata(
    explanation: Explanation,
    scores: Floats,
    truth: Truth | None,
    by: str | Mapping[str, Any],
) -> Iterator[Stratum]:
    """The rows of a report.

    ``"predicted"``: row c holds the samples predicted c (categorical), predicted positive
    (binary: a probability above 0.5), or all of them (dimensional). ``"true"``: the same by the
    truth. ``"correct"`` and columns: the rows of ``"predicted"``, each divided into groups;
    groups without a sample are left out.

    Raises
    ------
    InputError
        An unknown column, or ``"true"`` and ``"correct"`` where the truth is unknown.
    """
    labels = explanation.labels
    said = _membership(labels, scores, None)
    if by == "predicted":
        for column in range(len(labels)):
            yield Stratum("", column, np.flatnonzero(said[:, column]))
        return
    if by in ("true", "correct"):
        if truth is None:
            raise InputError(
                f"rows by {by!r} need to know the truth",
                expected="annotated samples",
                got="truth unknown",
                mend='pass truth="labels", a column or {id: label}, or by="predicted"',
            )
        right = _membership(labels, truth.values, truth.known)
        if by == "true":
            for column in range(len(labels)):
                yield Stratum("", column, np.flatnonzero(right[:, column]))
            return
        judged = _judged(labels, truth)
        groups = {"correct": said & right, "wrong": said & judged & ~right}
        skip = columns(labels, "dimensional")
    else:
        values = Column(by, "by").values(explanation)
        texts = np.asarray(["unknown" if value is None else str(value) for value in values])
        groups = {name: said & (texts == name)[:, None] for name in sorted(set(texts.tolist()))}
        skip = []
    for group, members in groups.items():
        for column in range(len(labels)):
            rows = np.flatnonzero(members[:, column])
            if len(rows) and column not in skip:
                yield Stratum(group, column, rows)


def _membership(labels: Labels, values: Floats, known: Bools | None) -> Bools:
    """Which samples belong to which label, [N, K]; ``known`` is None for raw scores."""
    members = np.ones(values.shape, dtype=bool) if known is None else known.copy()
    if categorical := columns(labels, "categorical"):
        found = (
            predicted(values, labels) if known is None else true_class(Truth(values, known), labels)
        )
        members[:, categorical] = found[:, None] == np.asarray(categorical)
    if binary := columns(labels, "binary"):  # a raw score is a logit: 0 means p = 0.5
        members[:, binary] &= values[:, binary] > (0 if known is None else 0.5)
    return members


def _judged(labels: Labels, truth: Truth) -> Bools:
    judged = truth.known.copy()
    if categorical := columns(labels, "categorical"):
        judged[:, categorical] = (true_class(truth, labels) >= 0)[:, None]
    return judged

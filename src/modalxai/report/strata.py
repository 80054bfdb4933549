"""The rows of a report: which samples belong together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modalxai.attribution import Explanation
from modalxai.errors import InputError
from modalxai.report.columns import Bools, Column, Floats, Truth, predicted, true_class
from modalxai.types import Labels, columns

By = str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]]
"""What rows are made by, see `modalxai.report.Report`."""


class Stratum(NamedTuple):
    """The samples of one row, and the label whose contributions it averages.

    ``pool`` are the samples of the group whatever their label; None where the group knows whether
    the model was right.
    """

    group: str
    column: int
    rows: NDArray[np.intp]
    pool: NDArray[np.intp] | None


def strata(
    explanation: Explanation, scores: Floats, truth: Truth | None, by: By
) -> Iterator[Stratum]:
    """The rows of a report.

    ``"predicted"``: row c holds the samples predicted c (categorical), predicted positive
    (binary: a probability above 0.5), or all of them (dimensional). ``"true"`` or ``"truth"``: the
    same by the truth. ``"correct"``, columns and mappings divide these rows into groups; where
    neither predicted nor true is named they divide the predicted. Several divide each other.
    Groups without a sample are left out.

    Raises
    ------
    InputError
        Nothing named, an unknown column, rows by both predicted and true, or ``"true"`` and
        ``"correct"`` where the truth is unknown.
    """
    labels, samples = explanation.labels, len(explanation.sample_ids)
    base, divisions = _parts(by)
    said, whole = _membership(labels, scores, None), np.arange(samples)
    if truth is None and (base == "true" or "correct" in divisions):
        raise InputError(
            f"rows by {'true' if base == 'true' else 'correct'!r} need to know the truth",
            expected="annotated samples",
            got="truth unknown",
            mend='pass truth="labels", a column or {id: label}, or by="predicted"',
        )
    right = None if truth is None else _membership(labels, truth.values, truth.known)
    members = right if base == "true" and right is not None else said
    if not divisions:
        for column in range(len(labels)):
            yield Stratum("", column, np.flatnonzero(members[:, column]), whole)
        return
    judged = any(part == "correct" for part in divisions)
    skip = columns(labels, "dimensional") if judged else []
    choices: list[list[tuple[str, Bools]]] = []
    for part in divisions:
        if part == "correct" and truth is not None and right is not None:
            hit = said & right
            choices.append([("correct", hit), ("wrong", _judged(labels, truth) & ~hit)])
        else:
            choices.append(_groups(Column(part, "by").values(explanation)))
    for combination in product(*choices):
        inside = np.all([mask & np.ones_like(members) for _, mask in combination], axis=0)
        pool = None if judged else np.flatnonzero(inside[:, 0])
        for column in range(len(labels)):
            rows = np.flatnonzero(members[:, column] & inside[:, column])
            if len(rows) and column not in skip:
                yield Stratum(", ".join(name for name, _ in combination), column, rows, pool)


def said_of(by: By) -> str:
    """What the rows are made by, in words that the provenance keeps."""
    parts = [by] if isinstance(by, str | Mapping) else list(by)
    return ", ".join(part if isinstance(part, str) else "a mapping" for part in parts)


def sentence(by: By) -> str:
    """What a row holds."""
    base, divisions = _parts(by)
    names = said_of([part for part in divisions if part != "correct"])
    apart = ", correct and wrong apart" if "correct" in divisions else ""
    return f"Rows are {base} labels{f', by {names}' if names else ''}{apart}."


def _parts(by: By) -> tuple[str, list[str | Mapping[str, Any]]]:
    parts = [by] if isinstance(by, str | Mapping) else list(by)
    parts = ["true" if part == "truth" else part for part in parts]
    bases = [part for part in parts if part in ("predicted", "true")]
    if not parts or len(bases) > 1:
        raise InputError(
            "rows by both what was predicted and what is true" if parts else "rows by nothing",
            expected="'predicted' or 'true', and columns that divide their rows",
            got=said_of(by) or "nothing",
            mend='name one of them, for example by=("predicted", "noise")',
        )
    return str(bases[0]) if bases else "predicted", [p for p in parts if p not in bases]


def _groups(values: Sequence[Any]) -> list[tuple[str, Bools]]:
    """Every value of a column and who has it, [N, 1]; numbers in their order."""
    names = ["unknown" if value is None else str(value) for value in values]
    known = {name: value for name, value in zip(names, values, strict=True) if value is not None}
    numbers = all(isinstance(value, int | float) for value in known.values())
    order = sorted(known, key=lambda name: known[name]) if numbers else sorted(known)
    order += ["unknown"] if "unknown" in names and "unknown" not in known else []
    texts = np.asarray(names)
    return [(name, (texts == name)[:, None]) for name in order]


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

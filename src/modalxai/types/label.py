"""What a column of scores means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from modalxai.errors import InputError

LabelKind = Literal["categorical", "binary", "dimensional"]
"""What a column of scores is, see `Label`."""
KINDS: tuple[LabelKind, ...] = ("categorical", "binary", "dimensional")
"""All kinds of labels."""


@dataclass(frozen=True)
class Label:
    """One column of scores.

    Parameters
    ----------
    name
        The emotion or dimension.
    kind
        ``"categorical"`` columns share one softmax, a ``"binary"`` column has its own sigmoid,
        a ``"dimensional"`` column is a regression value (valence, arousal).
    """

    name: str
    kind: LabelKind = "categorical"


Labels = tuple[Label, ...]
"""The columns of scores, in order."""


def labels(*names: str, kind: LabelKind = "categorical") -> Labels:
    """Labels of one kind, in the given order; join kinds with ``+``.

    Parameters
    ----------
    *names
        Different, non-empty names.
    kind
        What the columns are, see `Label`.

    Returns
    -------
    tuple of Label

    Raises
    ------
    InputError
        No name, an empty or repeated name, an unknown kind, or a single categorical label (its
        softmax is always 1).

    Examples
    --------
    >>> [label.name for label in labels("anger", "joy") + labels("valence", kind="dimensional")]
    ['anger', 'joy', 'valence']
    """
    made = tuple(Label(name, kind) for name in names)
    check_labels(made)
    return made


def check_labels(found: Sequence[Label]) -> None:
    """Refuse a set of labels that cannot head a model; see `labels` for the rules."""
    if not all(isinstance(label, Label) for label in found):
        raise InputError(
            "labels of the wrong type",
            expected="what mx.labels makes",
            got=repr(list(found)),
            mend='write mx.labels("anger", "joy", ...)',
        )
    names = [label.name for label in found]
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise InputError(
            "a model needs named labels",
            expected="one or more non-empty strings",
            got=repr(names),
            mend='write mx.labels("anger", "joy", ...)',
        )
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise InputError(
            "two labels share a name",
            expected="different names",
            got=f"{twice} twice or more",
            mend="rename or drop one of each",
        )
    if wrong := sorted({str(label.kind) for label in found} - set(KINDS)):
        raise InputError(
            "unknown kind of label",
            expected=f"one of {list(KINDS)}",
            got=repr(wrong),
            mend="a softmax class is categorical, an on/off tag binary, a value dimensional",
        )
    if len(columns(found, "categorical")) == 1:
        raise InputError(
            "a single categorical label is always certain",
            expected="at least two categorical labels",
            got=repr(names),
            mend='give the other classes too, or use kind="binary"',
        )


def columns(found: Sequence[Label], kind: LabelKind) -> list[int]:
    """The columns of one kind, in order."""
    return [index for index, label in enumerate(found) if label.kind == kind]


def select(found: Sequence[Label], names: Sequence[str] | None) -> list[int]:
    """Columns of the named labels, in the order asked for; every column for ``None``.

    Raises
    ------
    InputError
        A name that is not a label of the model, or none at all.
    """
    known = [label.name for label in found]
    if names is None:
        return list(range(len(known)))
    # What cannot be gone through, a number say, is one name, and unknown.
    several = isinstance(names, Iterable) and not isinstance(names, str)
    asked: list[Any] = list(names) if several else [names]
    unknown = [name for name in asked if name not in known]
    if unknown or not asked:
        raise InputError(
            "unknown label" if unknown else "no label to explain",
            expected=f"some of {known}",
            got=repr(unknown or asked),
            mend="use the names that the model's labels have, or None for every label",
        )
    return [known.index(name) for name in asked]

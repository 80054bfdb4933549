"""What scores are computed from: arrays, or a `Prediction` with its `Targets`, checked once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from modalxai.errors import InputError
from modalxai.types import Labels, Prediction, Targets, columns

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Classes = NDArray[np.intp]


class Coded(NamedTuple):
    """Two lists of classes as numbers: ``truth`` and ``said`` int [N], into ``classes``."""

    classes: tuple[Any, ...]
    truth: Classes
    said: Classes


def coded(
    truth: ArrayLike | Tensor,
    said: ArrayLike | Tensor,
    mask: ArrayLike | Tensor | None = None,
    classes: Sequence[Any] | None = None,
) -> Coded:
    """Names or numbers of classes, [N] each, without what ``mask`` leaves out.

    Parameters
    ----------
    truth, said
        N names or whole numbers.
    mask
        Bool [N], True where the truth is known; ``None``: everywhere.
    classes
        The classes, in order; ``None``: all that occur in either, sorted.

    Raises
    ------
    InputError
        Other shapes, no sample, scores instead of classes, or a class outside ``classes``.
    """
    left, right = _flat(truth, "truth"), _flat(said, "said")
    kept = _mask(mask, (len(left),))
    if len(left) != len(right) or not kept.any():
        raise _shape(f"{len(left)} and {len(right)}, {int(kept.sum())} of them known")
    left, right = left[kept], right[kept]
    occurring = sorted({*left.tolist(), *right.tolist()}, key=lambda one: (str(type(one)), one))
    if len({type(one) for one in occurring}) > 1:
        raise InputError(
            "classes of different types",
            expected="names, or numbers, in the truth and in what was said",
            got=str(occurring)[:80],
            mend="turn the numbers into names, or the names into numbers",
        )
    names = occurring if classes is None else list(classes)
    if unknown := [name for name in occurring if name not in names]:
        raise InputError(
            f"a class outside the set: {unknown[0]!r}",
            expected=f"some of {names}",
            got=str(unknown)[:80],
            mend="name every class, or leave classes=... out",
        )
    place = {name: number for number, name in enumerate(names)}
    numbers = [
        np.array([place[one] for one in side.tolist()], dtype=np.intp) for side in (left, right)
    ]
    return Coded(tuple(names), *numbers)


def numeric(
    truth: ArrayLike | Tensor, said: ArrayLike | Tensor, mask: ArrayLike | Tensor | None = None
) -> tuple[Floats, Floats, Bools]:
    """Finite numbers of one shape, [N] or [N, D], and which of them count.

    What the mask leaves out becomes 0, whatever it held.

    Raises
    ------
    InputError
        Other shapes, nothing known, or numbers that count and are not finite.
    """
    left, right = (np.asarray(_array(one), dtype=np.float64) for one in (truth, said))
    kept = _mask(mask, left.shape)
    if left.shape != right.shape or left.ndim not in (1, 2) or not kept.any():
        raise _shape(f"{list(left.shape)} and {list(right.shape)}, {int(kept.sum())} known")
    if not np.isfinite(np.stack([left[kept], right[kept]])).all():
        raise InputError(
            "numbers that are not finite cannot be scored",
            expected="finite numbers wherever the truth is known",
            got="NaN or infinite",
            mend="set their mask to False, and say how many there were",
        )
    return np.where(kept, left, 0.0), np.where(kept, right, 0.0), kept


class Answers(NamedTuple):
    """Targets and the scores of one prediction, float64 and bool [N, K], on the CPU."""

    labels: Labels
    truth: Floats
    known: Bools
    scores: Floats


def answers(prediction: Prediction, targets: Targets) -> Answers:
    """A prediction and its targets, checked.

    Raises
    ------
    InputError
        Shapes that do not fit, or scores that are not finite.
    """
    scores = scores_of(prediction, "the prediction")
    truth, known = (np.asarray(_array(part)) for part in targets)
    if not len(scores) or truth.shape != scores.shape or known.shape != scores.shape:
        raise InputError(
            "targets that do not fit the prediction",
            expected=f"values and mask [B, K] = {list(scores.shape)}, B of at least 1",
            got=f"{list(truth.shape)} and {list(known.shape)}",
            mend="score a prediction with the targets of its own batch",
        )
    if not np.isfinite(scores).all():
        raise InputError(
            "scores that are not finite",
            expected="finite scores for every sample",
            got=f"NaN or infinite in {int((~np.isfinite(scores)).any(1).sum())} samples",
            mend="leave these samples out, or mend the model that scores them so",
        )
    known = known.astype(bool)
    return Answers(prediction.labels, np.where(known, truth, 0.0).astype(float), known, scores)


def scores_of(prediction: Prediction, name: str) -> Floats:
    """Scores, float64 [N, K]."""
    scores = np.asarray(_array(prediction.scores), dtype=np.float64)
    if scores.ndim != 2 or scores.shape[1] != len(prediction.labels):
        raise InputError(
            f"{name} does not fit its labels",
            expected=f"scores [B, {len(prediction.labels)}]",
            got=str(list(scores.shape)),
            mend="give one column per label",
        )
    return scores


def said_class(scores: Floats, labels: Labels) -> Classes:
    """Which of the categorical labels has the highest score, [N]; the first of equals."""
    said: Classes = scores[:, columns(labels, "categorical")].argmax(1)
    return said


def true_class(found: Answers) -> Classes:
    """The true one of the categorical labels, [N]; -1 where unknown, or tied between raters."""
    classes = columns(found.labels, "categorical")
    shares = found.truth[:, classes]
    best = shares.max(1, keepdims=True)
    clear = found.known[:, classes].all(1) & ((shares == best).sum(1) == 1)
    return np.where(clear, shares.argmax(1), -1)


def _array(value: Any) -> Any:
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        # numpy has no bfloat16.
        return (value.double() if value.is_floating_point() else value).numpy()
    return np.asarray(value)


def _flat(value: ArrayLike | Tensor, name: str) -> NDArray[Any]:
    found: NDArray[Any] = _array(value)
    if found.ndim != 1 or found.dtype.kind not in "iubUOSf":
        raise _shape(f"{name} of shape {list(found.shape)} and type {found.dtype}")
    whole = found.dtype.kind != "f" or bool((np.isfinite(found) & (found % 1 == 0)).all())
    if not whole or any(one is None for one in found.tolist()):
        raise InputError(
            f"{name} holds no classes",
            expected="names or whole numbers",
            got=str(found[:4].tolist()),
            mend="take the class with the highest score: scores.argmax(1); mask unknown ones",
        )
    return found.astype(np.int64) if found.dtype.kind == "f" else found


def _mask(mask: ArrayLike | Tensor | None, shape: tuple[int, ...]) -> Bools:
    if mask is None:
        return np.ones(shape, dtype=bool)
    found: NDArray[Any] = _array(mask)
    if found.shape != shape or found.dtype != bool:
        raise InputError(
            "a mask that does not fit",
            expected=f"bool {list(shape)}, True where the truth is known",
            got=f"{found.dtype} {list(found.shape)}",
            mend="write mask.bool()",
        )
    return found


def _shape(got: str) -> InputError:
    return InputError(
        "truth and answers that do not fit each other",
        expected="one of each per sample, of one shape, and at least one known",
        got=got,
        mend="give both in the same order, classes as [N]",
    )


def every(parts: Bools) -> Bools:
    """Rows that are True throughout, [N, C] to [N]."""
    rows: Bools = np.logical_and.reduce(parts, axis=1)
    return rows

"""What a user's function returned, as raw scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from modalxai.errors import InputError
from modalxai.types import Labels, Prediction, columns

Outputs = Literal["logits", "probabilities"]
OUTPUTS: tuple[str, ...] = get_args(Outputs)
CLOSE = 1e-4
"""How far from 1 the sum of probabilities may be."""


def read_scores(
    found: Any, rows: int, labels: Labels, outputs: Outputs | None, name: Callable[[int], str]
) -> Tensor:
    """Finite raw scores [n, K] on the CPU, in float32 or wider.

    Parameters
    ----------
    found
        A tensor, an array, nested lists, or a `Prediction`.
    rows
        How many samples the function was given, n.
    labels
        The K columns.
    outputs
        What the function says it returns, see `modalxai.CallableGame`.
    name
        What each row is called in an error.

    Raises
    ------
    InputError
        Another shape, no numbers, a row that is not finite, the predictions of other labels, or
        probabilities where logits were meant or the other way round.
    """
    if isinstance(found, Prediction):
        if found.labels != labels:
            raise InputError(
                "the function predicts other labels than the game has",
                expected=str([label.name for label in labels]),
                got=str([label.name for label in found.labels]),
                mend="pass labels=model.labels",
            )
        found = found.scores
    scores = _tensor(found)
    if tuple(scores.shape) != (rows, len(labels)):
        raise InputError(
            "the function returned scores of the wrong shape",
            expected=f"[{rows}, {len(labels)}]: one row per sample, one column per label",
            got=str(list(scores.shape)),
            mend="return scores[:, None] for a single label",
        )
    scores = scores.detach().cpu()
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    _require_finite(scores, name, "look for divisions by zero, and for logarithms of 0")
    if outputs == "probabilities":
        logits = _logits(scores, labels)
        _require_finite(logits, name, "a probability of 0 has no logit: return logits if you can")
        return logits
    if outputs is None and _are_probabilities(scores[:, columns(labels, "categorical")]):
        raise InputError(
            "the function seems to return probabilities",
            expected="raw logits of categorical labels",
            got="rows between 0 and 1 that sum to 1",
            mend='say outputs="probabilities", or outputs="logits" if they are none',
        )
    return scores


def _require_finite(scores: Tensor, name: Callable[[int], str], mend: str) -> None:
    finite = torch.isfinite(scores).all(1)
    if not finite.all():
        bad = int((~finite).nonzero()[0])
        raise InputError(
            f"sample {name(bad)!r}: scores that are not finite",
            expected="finite scores for every coalition",
            got=str(scores[bad].tolist()),
            mend=mend,
        )


def _tensor(found: Any) -> Tensor:
    if isinstance(found, list | tuple) and found and isinstance(found[0], Tensor):
        found = torch.stack(list(found)) if len({one.shape for one in found}) == 1 else None
    if not isinstance(found, Tensor):
        try:
            array = np.asarray(found)
        except ValueError:  # rows of different lengths
            array = np.asarray(None)
        # Not from_numpy: it would warn of arrays that cannot be written to.
        found = torch.tensor(array) if array.dtype.kind in "fiu" else None
    if found is None or found.dtype == torch.bool or found.is_complex():
        raise InputError(
            "the function returned no scores",
            expected="numbers [n, K]: a tensor, an array, or a list of rows",
            got="something else",
            mend="return the logits themselves, outputs.logits for example",
        )
    scores: Tensor = found
    return scores


def _logits(scores: Tensor, labels: Labels) -> Tensor:
    """Log-probabilities of categorical columns, log-odds of binary ones.

    A softmax is undone up to a constant of the row, which no shift-invariant scale sees.
    """
    result = scores.clone()
    categorical, binary = columns(labels, "categorical"), columns(labels, "binary")
    shares, odds = scores[:, categorical], scores[:, binary]
    inside = bool(((odds >= 0) & (odds <= 1)).all())
    if (categorical and not _are_probabilities(shares)) or not inside:
        raise InputError(
            "the function returned no probabilities",
            expected="rows between 0 and 1; categorical columns sum to 1",
            got=str([round(value, 4) for value in scores[0].tolist()]) + ", ...",
            mend='say outputs="logits" if it returns logits',
        )
    result[:, categorical], result[:, binary] = shares.log(), odds.logit()
    return result


def _are_probabilities(shares: Tensor) -> bool:
    summed = (shares.sum(-1) - 1).abs() <= CLOSE
    return bool(shares.numel() and (shares >= 0).all() and summed.all())

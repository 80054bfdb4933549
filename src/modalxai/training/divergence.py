"""How far two predictions for the same samples are from each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modalxai.errors import InputError
from modalxai.types import Prediction, columns

Direction = Literal["gold||recognised", "recognised||gold", "symmetric"]
Path = Literal["gold", "recognised"]
DIRECTIONS = ("gold||recognised", "recognised||gold", "symmetric")
PATHS = (None, "gold", "recognised")


class ConsistencyLoss(nn.Module):
    """Kullback-Leibler divergence between two predictions for the same samples.

    Over the categorical columns the divergence of their softmax, averaged over samples; over the
    binary ones the divergence of each Bernoulli, averaged over cells; the sum of both.
    Dimensional columns have no distribution and no part in it. No annotation is needed.

    Parameters
    ----------
    direction
        ``"gold||recognised"`` is KL(p_gold || p_recognised), ``"recognised||gold"`` the other, and
        ``"symmetric"`` the mean of both.
    stop_gradient
        The path that is only followed, never moved by this loss; ``None`` moves both.

    Raises
    ------
    InputError
        A setting that is none of these.
    """

    def __init__(
        self, direction: Direction = "gold||recognised", stop_gradient: Path | None = None
    ) -> None:
        super().__init__()
        _require("direction", direction, DIRECTIONS)
        _require("stop_gradient", stop_gradient, PATHS)
        self.direction = direction
        self.stop_gradient = stop_gradient

    def forward(self, gold: Prediction, recognised: Prediction) -> Tensor:
        """The divergence, [], 0 or more, in nats.

        Raises
        ------
        InputError
            Other labels or shapes on the two paths, or dimensional labels alone.
        """
        if gold.labels != recognised.labels or gold.scores.shape != recognised.scores.shape:
            raise InputError(
                "two predictions that cannot be compared",
                expected=f"scores {list(gold.scores.shape)} of the same labels",
                got=f"scores {list(recognised.scores.shape)}",
                mend="predict the same samples with the same model on both paths",
            )
        classes, tags = columns(gold.labels, "categorical"), columns(gold.labels, "binary")
        if not classes and not tags:
            raise InputError(
                "labels without a distribution",
                expected="categorical or binary labels",
                got=str([label.name for label in gold.labels]),
                mend="train dimensional labels without the consistency loss",
            )
        wide = torch.promote_types(gold.scores.dtype, torch.float32)
        with torch.autocast(gold.scores.device.type, enabled=False):
            first, second = gold.scores.to(wide), recognised.scores.to(wide)
            first = first.detach() if self.stop_gradient == "gold" else first
            second = second.detach() if self.stop_gradient == "recognised" else second
            # A sum over nothing: exactly 0, and a graph.
            total = first[:, :0].sum()
            if classes:
                pair = first[:, classes].log_softmax(1), second[:, classes].log_softmax(1)
                total = total + self._divergence(*pair).sum(1).mean()
            if tags:
                pair = _bernoulli(first[:, tags]), _bernoulli(second[:, tags])
                total = total + self._divergence(*pair).sum(0).mean()
        return total

    def _divergence(self, gold: Tensor, recognised: Tensor) -> Tensor:
        """The terms of the divergence, like the log-probabilities given."""
        forward, backward = gold.exp() * (gold - recognised), recognised.exp() * (recognised - gold)
        if self.direction == "symmetric":
            return (forward + backward) / 2
        return forward if self.direction == "gold||recognised" else backward


def _bernoulli(scores: Tensor) -> Tensor:
    """Log-probabilities of on and off, [2, B, C]."""
    return torch.stack([F.logsigmoid(scores), F.logsigmoid(-scores)])


def _require(name: str, value: object, offered: Sequence[object]) -> None:
    if value not in offered:
        raise InputError(
            f"unknown {name}",
            expected=f"one of {list(offered)}",
            got=repr(value),
            mend="choose one of them",
        )

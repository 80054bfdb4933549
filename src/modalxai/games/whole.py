"""The scores of the samples as they are, joined once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from modalxai.types import Features


class Whole:
    """What the fusion said of the encodings that nothing was removed from.

    Who follows gradients runs the fusion on them, and they are the last row of the table of
    coalitions. A fusion transformer as wide as its encoders costs a tenth of a prediction, so that
    one run serves both. Only the numbers are kept: the graph goes with whoever recorded it.

    Parameters
    ----------
    scores
        [B, K], raw; ``None`` until they are known.
    """

    def __init__(self, scores: Tensor | None = None) -> None:
        self.scores = scores

    def learn(
        self,
        scores: Tensor,
        features: Mapping[str, Features],
        full: Mapping[str, Features | None],
    ) -> None:
        """Keep the scores [N, K] of ``features`` if these are the whole encodings ``full``.

        The numbers are compared, so that it does not matter who passed them on, or copied them.
        Scores of autocast are not kept: the table may be asked for outside it.
        """
        if self.scores is not None or features.keys() != full.keys():
            return
        if torch.is_autocast_enabled(scores.device.type):
            return
        if all(_same(features[name], found) for name, found in full.items()):
            self.scores = scores.detach()

    def select(self, rows: Sequence[int]) -> Whole:
        """Those of some of the samples."""
        return Whole(None if self.scores is None else self.scores[list(rows)])


def _same(one: Features, other: Features | None) -> bool:
    """Whether values, masks and spans are equal."""
    ours, theirs = pytree.tree_leaves(one), pytree.tree_leaves(other)
    return len(ours) == len(theirs) and all(map(_equal, ours, theirs))


def _equal(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    alike = (one.shape, one.dtype, one.device) == (other.shape, other.dtype, other.device)
    return alike and torch.equal(one, other)

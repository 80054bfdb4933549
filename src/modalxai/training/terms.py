"""The loss of each kind of label: scores, targets and mask [B, C] to one mean over what is known.

Every function fills what is not annotated before it computes anything, so that nothing there, not
even a NaN, reaches the sum or the gradient; and gives exactly 0 where nothing is annotated.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def categorical(
    scores: Tensor,
    shares: Tensor,
    mask: Tensor,
    weights: Tensor | None = None,
    smoothing: float = 0.0,
    gamma: float = 0.0,
) -> Tensor:
    """Cross-entropy with class shares, all [B, C], averaged over the annotated samples.

    ``torch.nn.functional.cross_entropy`` of the class numbers where the shares are one-hot, its
    weighted mean and its label smoothing included. PyTorch divides by the weights for class
    numbers but not for class shares; here the first rule holds for both.

    With ``gamma`` each class's term is multiplied by ``(1 - p) ** gamma``, p its probability: the
    focal loss of Lin et al. (2017), equation 4, after smoothing and weights.
    """
    known = mask.all(1)
    scores, shares = scores.masked_fill(~known[:, None], 0), shares.masked_fill(~known[:, None], 0)
    weight = None if weights is None else weights.to(scores.dtype)
    if gamma:
        smooth = (1 - smoothing) * shares + smoothing / shares.shape[1]
        terms = smooth * -scores.log_softmax(1) * (gamma * _log_other(scores)).exp()
        losses = (terms if weight is None else terms * weight).sum(1)
    else:
        losses = F.cross_entropy(
            scores, shares, weight=weight, label_smoothing=smoothing, reduction="none"
        )
    counts = known.to(scores.dtype) if weight is None else shares @ weight
    return _mean(losses.masked_fill(~known, 0), counts)


def binary(scores: Tensor, values: Tensor, mask: Tensor, gamma: float = 0.0) -> Tensor:
    """Binary cross-entropy with logits, all [B, C], averaged over the annotated cells.

    ``gamma`` as in `categorical`, for "on" and for "off".
    """
    scores, values = scores.masked_fill(~mask, 0), values.masked_fill(~mask, 0)
    if gamma:
        on, off = F.logsigmoid(scores), F.logsigmoid(-scores)
        losses = -values * on * (gamma * off).exp() - (1 - values) * off * (gamma * on).exp()
    else:
        losses = F.binary_cross_entropy_with_logits(scores, values, reduction="none")
    return _mean(losses.masked_fill(~mask, 0), mask.to(scores.dtype))


def squared_error(scores: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """Squared error, all [B, C], averaged over the annotated cells."""
    errors = (scores - values).masked_fill(~mask, 0)
    return _mean(errors.square(), mask.to(scores.dtype))


def discordance(scores: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """One minus the concordance correlation coefficient of each column, averaged over columns.

    Lin (1989): ``ccc = 2 cov / (var_x + var_y + (mean_x - mean_y) ** 2)``, variances divided by n.
    One minus that is the mean squared error over the same denominator, which is how it is computed:
    no difference of nearly equal numbers. It runs from 0 (equal) to 2. A column needs two
    annotated samples in the batch; one without them is left out of the average.
    """
    counts = mask.to(scores.dtype).sum(0)
    several = counts >= 2
    counts = counts.clamp(min=1)
    x, y = scores.masked_fill(~mask, 0), values.masked_fill(~mask, 0)
    x_mean, y_mean = x.sum(0) / counts, y.sum(0) / counts
    x_spread = (x - x_mean).masked_fill(~mask, 0).square().sum(0) / counts
    y_spread = (y - y_mean).masked_fill(~mask, 0).square().sum(0) / counts
    denominator = x_spread + y_spread + (x_mean - y_mean).square()
    # Where it is 0 all numbers are equal: concordant, and 0 / 1.
    ratios = (x - y).square().sum(0) / counts / torch.where(denominator > 0, denominator, 1)
    return _mean(ratios.masked_fill(~several, 0), several.to(scores.dtype))


def _log_other(scores: Tensor) -> Tensor:
    """``log(1 - p)`` of each class, [B, C], without the rounding of ``1 - p`` near p = 1."""
    count = scores.shape[1]
    own = torch.eye(count, dtype=torch.bool, device=scores.device)
    others = scores[:, None].expand(-1, count, -1).masked_fill(own, -torch.inf)
    return others.logsumexp(2) - scores.logsumexp(1, keepdim=True)


def _mean(losses: Tensor, counts: Tensor) -> Tensor:
    count = counts.sum()
    return losses.sum() / torch.where(count > 0, count, 1)

"""What a score means before differences are taken: clr, contrast, log-odds, probability, raw.

Raw logits are not identifiable (adding h(x) to all of them leaves every probability unchanged), so
the default is the centred log-ratio; Aitchison 1982, Shapley compositions (arXiv 2408.01382).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from modalxai.errors import InputError
from modalxai.types import Label, columns

Scale = Literal["clr", "contrast", "log-odds", "probability", "raw"]
"""Name of a scale, see `on_scale`."""
SCALES: tuple[str, ...] = get_args(Scale)
"""All of them."""


def on_scale(
    scores: Tensor, labels: Sequence[Label], scale: str, rivals: Tensor | None = None
) -> Tensor:
    """Raw scores [..., B, K] on a scale, [..., B, K], in float32 or wider.

    Categorical columns::

        clr          z_c - mean_j z_j               sums to 0 over the labels
        contrast     z_c - z_rival                  why c rather than its rival
        log-odds     z_c - logsumexp_{j != c} z_j   one against the rest
        probability  softmax(z)_c                   saturates: for display
        raw          z_c                            not identifiable

    Binary columns are their own log-odds (their sigmoid under ``"probability"``); dimensional
    columns stay as they are.

    Parameters
    ----------
    rivals
        Integer [B, K], see `rivals_of`; needed for ``"contrast"`` only.
    """
    check_scale(scale)
    whole = scores.to(torch.promote_types(scores.dtype, torch.float32))
    values = whole.clone()
    categorical = columns(labels, "categorical")
    logits = values[..., categorical]
    if categorical and scale == "clr":
        values[..., categorical] = logits - logits.mean(-1, keepdim=True)
    elif categorical and scale == "contrast":
        if rivals is None:
            raise InputError(
                "a contrast without rivals",
                expected="integer [B, K], the label each one is compared with",
                got="None",
                mend="pass rivals_of(scores, labels, against)",
            )
        # From the copy that is not written to, or no gradient could pass.
        rival = whole.gather(-1, rivals.expand(whole.shape))[..., categorical]
        values[..., categorical] = logits - rival
    elif categorical and scale == "log-odds":
        own = torch.eye(len(categorical), dtype=torch.bool, device=values.device)
        others = logits[..., None, :].expand(*logits.shape, len(categorical))
        values[..., categorical] = logits - others.masked_fill(own, -torch.inf).logsumexp(-1)
    elif categorical and scale == "probability":
        values[..., categorical] = logits.softmax(-1)
    if scale == "probability" and (binary := columns(labels, "binary")):
        values[..., binary] = values[..., binary].sigmoid()
    return values


def rivals_of(scores: Tensor, labels: Sequence[Label], against: str) -> Tensor:
    """Which column each column is compared with, integer [B, K].

    Parameters
    ----------
    scores
        Raw, [B, K], with everything present: the rival is one and the same for all coalitions.
    against
        ``"rival"``, the highest-scoring other categorical label of the sample, or a label's name.
    """
    categorical = columns(labels, "categorical")
    result = torch.arange(len(labels), device=scores.device).repeat(len(scores), 1)
    if not categorical:
        return result
    if against != "rival":
        names = [labels[column].name for column in categorical]
        if against not in names:
            raise InputError(
                "a contrast against an unknown label",
                expected=f"'rival' or one of {names}",
                got=repr(against),
                mend="name a categorical label of the model",
            )
        result[:, categorical] = categorical[names.index(against)]
        return result
    index = torch.tensor(categorical, device=scores.device)
    for column in categorical:
        others = index[index != column]
        result[:, column] = others[scores[:, others].argmax(-1)]
    return result


def check_scale(scale: str) -> None:
    """Refuse a scale that does not exist."""
    if scale not in SCALES:
        raise InputError(
            "unknown scale", expected=f"one of {list(SCALES)}", got=repr(scale), mend="choose one"
        )

"""A control that has nothing to explain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from modalxai.errors import InputError
from modalxai.types import Sample


def shuffled_labels(samples: Sequence[Sample], seed: int = 0) -> list[dict[str, Any]]:
    """The samples with their labels dealt out anew, for training a control.

    A model that was trained on these has learnt nothing of the task: contributions to the *true*
    label must then be 0 on average, their interval covering it. The samples given are not changed.

    Raises
    ------
    InputError
        Fewer than two samples.
    """
    if len(samples) < 2:
        raise InputError(
            "too few samples to shuffle labels",
            expected="two or more",
            got=str(len(samples)),
            mend="give the whole training set",
        )
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(samples), generator=generator).tolist()
    dealt = []
    for sample, other in zip(samples, order, strict=True):
        changed = dict(sample)
        changed.pop("labels", None)
        if "labels" in samples[other]:
            changed["labels"] = samples[other]["labels"]
        dealt.append(changed)
    return dealt

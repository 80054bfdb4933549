"""SpecAugment on a speech transformer's input: spans of frames and of channels are masked.

References
----------
Park et al. (2019), SpecAugment; Baevski et al. (2020), wav2vec 2.0, section 4.1 and appendix B.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from modalxai import masking
from modalxai.errors import InputError


@dataclass(frozen=True)
class Axis:
    """How one axis is masked.

    Parameters
    ----------
    share
        The part of the axis, in [0, 1], that the spans make up together; they may overlap.
    span
        Length of a span.
    least
        The fewest spans, as far as they fit.
    """

    share: float
    span: int
    least: int


@dataclass(frozen=True)
class SpecAugment:
    """Masks in time, by a learned vector, and over channels, by zeros.

    Parameters
    ----------
    time, channels
        How each axis is masked; ``None`` for not at all.
    """

    time: Axis | None
    channels: Axis | None

    @classmethod
    def of(cls, config: Any, wanted: bool | None) -> Self | None:
        """What a config of transformers says, ``None`` where nothing is to be masked.

        Parameters
        ----------
        config
            With ``mask_time_prob``, ``mask_time_length``, ``mask_time_min_masks`` and the same for
            ``mask_feature``, and ``apply_spec_augment``.
        wanted
            Whether to mask; ``None`` is ``apply_spec_augment`` of the config.

        Raises
        ------
        InputError
            Masks are wanted and the config has none; or no switch.
        """
        if wanted is not None and not isinstance(wanted, bool):
            raise InputError(
                "spec_augment is a switch",
                expected="True, False, or None for what the config says",
                got=repr(wanted),
                mend="leave it out; the masks themselves are settings of the config",
            )
        made = cls(_axis(config, "mask_time"), _axis(config, "mask_feature"))
        some = made.time is not None or made.channels is not None
        if wanted and not some:
            raise InputError(
                "spec_augment=True without masks",
                expected="mask_time_prob or mask_feature_prob above 0 in the config, and a learned "
                "mask vector in the checkpoint",
                got="neither",
                mend="leave spec_augment out, or load a checkpoint that was not fine-tuned",
            )
        applied = getattr(config, "apply_spec_augment", True) if wanted is None else wanted
        return made if applied and some else None

    def __call__(self, values: Tensor, mask: Tensor, blank: Tensor) -> Tensor:
        """Mask frames [B, T, D], real ones only; ``mask`` bool [B, T], ``blank`` [D]."""
        count, longest, width = values.shape
        if self.time is not None:
            frames = spans(mask.sum(1), longest, self.time)
            values = torch.where(frames[..., None], blank.to(values.dtype), values)
        if self.channels is not None:
            whole = torch.full((count,), width, device=values.device)
            values = values.masked_fill(spans(whole, width, self.channels)[:, None], 0)
        return values


def spans(lengths: Tensor, longest: int, axis: Axis) -> Tensor:
    """Random spans inside the first ``lengths`` of each row, bool [B, longest].

    A row of length n has ``share * n / span`` spans, rounded up or down at random so that this is
    the mean; at least ``least``, and at most as many as fit side by side. Their starts are drawn
    without replacement, and they may overlap. Rows too short for a span have none.

    Nothing depends on the padding: the lengths are the rows' own, and the numbers are drawn frame
    by frame, those of padding last. They come from torch's generator of the CPU, on any device.
    """
    rounding = torch.rand(len(lengths)).to(lengths.device)
    noise = torch.rand(longest, len(lengths)).to(lengths.device).T
    number = (axis.share * lengths / axis.span + rounding).floor().clamp(min=axis.least)
    number = torch.minimum(number, lengths // axis.span)
    places = masking.from_lengths(lengths - axis.span + 1, longest)
    order = noise.masked_fill(~places, torch.inf).argsort(1).argsort(1)
    begun = (order < number[:, None]).long().cumsum(1)
    ended = torch.zeros_like(begun)
    ended[:, axis.span :] = begun[:, : -axis.span]
    return begun > ended


def _axis(config: Any, name: str) -> Axis | None:
    share = float(getattr(config, f"{name}_prob", 0.0))
    if not share:
        return None
    span, least = (int(getattr(config, f"{name}_{part}")) for part in ("length", "min_masks"))
    return Axis(share, span, least)

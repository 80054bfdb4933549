"""The convolutional front end of wav2vec 2.0 and its kin, run so that padding means nothing."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F


def convolve(
    extractor: nn.Module, config: Any, waveform: Tensor, lengths: Tensor, longest: int, field: int
) -> Tensor:
    """Padded waveforms [B, S] to frames [B, T, C], each row what its clip gives alone.

    A group norm takes its statistics over a whole row, padding too, so such a front end runs once
    per length. Layer norms are local: one padded run is exact.

    Parameters
    ----------
    extractor
        Waveforms [B, S] to channels [B, C, T].
    config
        Its config: ``feat_extract_norm``, ``conv_dim``.
    waveform, lengths
        Float [B, S], and int [B] in samples; 0 for a missing clip.
    longest
        Number of frames T.
    field
        Samples that a frame sees.
    """
    if config.feat_extract_norm == "layer":
        short = max(0, field - waveform.shape[1])
        local: Tensor = extractor(F.pad(waveform, (0, short)))
        return local.transpose(1, 2)
    rows = defaultdict(list)
    for row, length in enumerate(lengths.tolist()):
        rows[length].append(row)
    rows.pop(0, None)  # missing clips
    frames = waveform.new_zeros(len(lengths), longest, config.conv_dim[-1])
    for length, same in rows.items():
        whole = extractor(waveform[same, :length]).transpose(1, 2)
        frames[same, : whole.shape[1]] = whole.to(frames.dtype)
    return frames

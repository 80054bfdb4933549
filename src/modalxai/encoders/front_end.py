"""The convolutional front end of wav2vec 2.0 and its kin, run so that padding means nothing."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modalxai import masking


def convolve(
    extractor: nn.Module, config: Any, waveform: Tensor, lengths: Tensor, longest: int, field: int
) -> Tensor:
    """Padded waveforms [B, S] to frames [B, T, C], each row what its clip gives alone.

    A group norm takes its statistics over a whole row, padding too, so such a front end runs once
    per length; while a graph is captured (``torch.compile``, ``torch.export``), which cannot branch
    on lengths, all rows run padded and the statistics leave the padding out. Layer norms are local:
    one padded run is exact.

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
    short = max(0, field - waveform.shape[1])
    if config.feat_extract_norm == "layer":
        local: Tensor = extractor(F.pad(waveform, (0, short)))
        return local.transpose(1, 2)
    if torch.compiler.is_compiling():
        return _in_one_graph(extractor, F.pad(waveform, (0, short)), lengths)
    rows = defaultdict(list)
    for row, length in enumerate(lengths.tolist()):
        rows[length].append(row)
    rows.pop(0, None)  # missing clips
    frames = waveform.new_zeros(len(lengths), longest, config.conv_dim[-1])
    for length, same in rows.items():
        whole = extractor(waveform[same, :length]).transpose(1, 2)
        frames[same, : whole.shape[1]] = whole.to(frames.dtype)
    return frames


def _in_one_graph(extractor: Any, waveform: Tensor, lengths: Tensor) -> Tensor:
    """The layers one by one, group norms over real frames only."""
    hidden, counts = waveform[:, None], lengths
    for layer in extractor.conv_layers:
        conv = layer.conv
        hidden = conv(hidden)
        counts = (counts - conv.kernel_size[0]).div(conv.stride[0], rounding_mode="floor") + 1
        if (norm := getattr(layer, "layer_norm", None)) is not None:
            real = masking.from_lengths(counts, hidden.shape[-1])
            hidden = _group_norm(hidden, real, norm)
        hidden = layer.activation(hidden)
    return hidden.transpose(1, 2)


def _group_norm(values: Tensor, real: Tensor, norm: nn.GroupNorm) -> Tensor:
    """``norm`` of [B, C, T] with the statistics of the frames that ``real`` [B, T] names."""
    rows, channels, length = values.shape
    grouped = values.float().reshape(rows, norm.num_groups, channels // norm.num_groups, length)
    weight = real[:, None, None].to(grouped.dtype)
    count = (weight.sum((2, 3), keepdim=True) * grouped.shape[2]).clamp(min=1)
    mean = (grouped * weight).sum((2, 3), keepdim=True) / count
    centred = grouped - mean
    variance = (centred.square() * weight).sum((2, 3), keepdim=True) / count
    normed = (centred * (variance + norm.eps).rsqrt()).flatten(1, 2).to(values.dtype)
    scaled: Tensor = normed * norm.weight[:, None] + norm.bias[:, None]
    return scaled

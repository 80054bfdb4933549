"""Time-frequency maps of a convolution along time whose input channels are mel bands."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modalxai.types import Features, Spans


def band_maps(convolution: nn.Conv1d, values: Tensor, bands: int) -> Tensor:
    """What each band gives to each channel, [B, N, P * bands] to [B, N', bands, K].

    A convolution over all bands is a sum of convolutions over one band each: summed over the
    bands, and the bias added, this is what ``convolution`` gives.

    Parameters
    ----------
    convolution
        P * bands channels to K; P values of each band, all bands of one before those of the next.
    values
        Its input.
    """
    # Channel p * bands + f of the input is channel f * P + p of a convolution in groups.
    by_band = torch.unflatten(values, -1, (-1, bands)).transpose(-1, -2).flatten(-2)
    weight = torch.unflatten(convolution.weight, 1, (-1, bands)).permute(2, 0, 1, 3)
    maps = F.conv1d(
        by_band.transpose(1, 2),
        weight.flatten(0, 1),
        stride=convolution.stride,
        padding=convolution.padding,
        groups=bands,
    )
    return torch.unflatten(maps, 1, (bands, -1)).permute(0, 3, 1, 2)


def band_edges(bands: int, fmin: float, fmax: float, step: int = 1) -> Tensor:
    """Edges in hertz, float64, of cells around every ``step``-th mel band's centre (HTK scale).

    Midway on the mel scale between the centres, and never beyond ``fmin`` and ``fmax``.
    """
    low, high = (2595 * math.log10(1 + hertz / 700) for hertz in (fmin, fmax))
    # The centres are the inner ones of bands + 2 points.
    cells = (bands - 1) // step + 1
    steps = (torch.arange(cells + 1, dtype=torch.float64) - 0.5) * step + 1
    mel = low + steps.clamp(0, bands + 1) * (high - low) / (bands + 1)
    return 700 * (10 ** (mel / 2595) - 1)


def cells(maps: Tensor, times: Spans, edges: Tensor) -> Features:
    """Maps [B, N, F, K] as N * F cells, those of one moment together, 0 on padding.

    Parameters
    ----------
    maps
        Where ``times`` is padding it is ignored.
    times
        [B, N], in seconds.
    edges
        [F + 1], in hertz, rising.
    """
    count = len(edges) - 1
    start, end = (edge.repeat_interleave(count, dim=1) for edge in (times.start, times.end))
    mask = end > start
    hertz = edges.to(start).repeat(1, times.start.shape[1], 1)
    low, high = (hertz[..., cut].reshape(1, -1) * mask for cut in (slice(None, -1), slice(1, None)))
    values = maps.flatten(1, 2).masked_fill(~mask[..., None], 0)
    return Features(values, mask, Spans(start, end, times.unit, low, high))

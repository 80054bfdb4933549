"""Signals of the body, as features or as windows of samples, into fully connected layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from modalxai import masking
from modalxai.biosignals import FEATURES, Biosignal
from modalxai.encoders.trainable import PartlyTrainable, Trainable
from modalxai.encoders.waveforms import check_offered, check_positive
from modalxai.errors import InputError, RemovalError, each
from modalxai.pretrained import Pretrained
from modalxai.types import Features, Inputs, Spans

FEWEST_SAMPLES = 8
"""Below this, a surrogate with the same spectrum is hardly different from the signal."""


@dataclass(frozen=True)
class BiosignalCollate:
    """Features or samples to windows; holds no weights.

    Parameters
    ----------
    centre, spread
        What is subtracted from each of the C channels, and what it is then divided by.
    samples
        Samples N of a window, 1 for features.
    rate
        Samples per second; ``None`` for features.
    """

    centre: tuple[float, ...]
    spread: tuple[float, ...]
    samples: int
    rate: float | None

    def __call__(self, raws: Sequence[Biosignal | None]) -> dict[str, Tensor]:
        """Collate.

        Returns
        -------
        dict
            ``values`` float32 [B, T, C, N], standardised, and ``known`` bool of that shape, where
            values are real; ``mask`` bool, ``start`` and ``end`` float64 (``index`` or seconds),
            each [B, T]; ``baseline`` float32 and ``baseline_known`` bool, each [B, C]. Windows in
            which nothing is known are left out, so a signal that is all gap is a missing one.

        Raises
        ------
        InputError
            A signal that cannot be used, with its ``index``.
        """
        if not raws:
            raise InputError(
                "an empty batch",
                expected="one signal or more",
                got="none",
                mend="give None where a signal is missing",
            )
        channels = len(self.centre)
        none = {
            "values": torch.zeros(0, channels, self.samples),
            "known": torch.zeros(0, channels, self.samples, dtype=torch.bool),
            "start": torch.zeros(0, dtype=torch.double),
            "end": torch.zeros(0, dtype=torch.double),
        }
        empty = (none, torch.full((channels,), math.nan))
        rows = [empty if found is None else found for found in each(raws, self._row)]
        inputs = {key: masking.pad([row[key] for row, _ in rows])[0] for key in none}
        resting = torch.stack([baseline for _, baseline in rows])
        return {
            **inputs,
            "mask": inputs["end"] > inputs["start"],
            "baseline": resting.nan_to_num(0),
            "baseline_known": resting.isfinite(),
        }

    def _row(self, raw: Biosignal) -> tuple[dict[str, Tensor], Tensor]:
        channels = len(self.centre)
        if not isinstance(raw, Biosignal):
            raise InputError(
                "a biosignal of the wrong type",
                expected="modalxai.biosignals.Biosignal(values, rate)",
                got=type(raw).__name__,
                mend="wrap it: Biosignal(features), or Biosignal(samples, rate=4.0)",
            )
        if raw.rate != self.rate:
            raise InputError(
                "a biosignal at another rate",
                expected="features, without a rate"
                if self.rate is None
                else f"{self.rate:g} samples per second",
                got="no rate" if raw.rate is None else f"{raw.rate:g} samples per second",
                mend="make the encoder with window= and sample_rate= of the signal, or resample it",
            )
        signal = self._standard(raw.values, (channels,) if self.rate is None else (channels, None))
        signal = signal.reshape(channels, -1)
        baseline = torch.full((channels,), math.nan, dtype=torch.double)
        if raw.baseline is not None:
            baseline = self._standard(raw.baseline, (channels,))
        count = math.ceil(signal.shape[1] / self.samples)
        whole = torch.full((channels, count * self.samples), math.nan, dtype=torch.double)
        whole[:, : signal.shape[1]] = signal
        windows = whole.reshape(channels, count, self.samples).transpose(0, 1)
        known = windows.isfinite()
        start = torch.arange(count, dtype=torch.double) * self.samples
        end = (start + self.samples).clamp(max=signal.shape[1])
        real = known.flatten(1).any(1)
        row = {
            "values": windows.masked_fill(~known, 0)[real].float(),
            "known": known[real],
            "start": start[real] / (self.rate or 1),
            "end": end[real] / (self.rate or 1),
        }
        return row, baseline.float()

    def _standard(self, values: Any, shape: tuple[int | None, ...]) -> Tensor:
        try:
            found = torch.from_numpy(np.array(values, dtype=np.float64))
        except (TypeError, ValueError) as error:
            raise InputError(
                "a biosignal that is no array of numbers",
                expected="numbers, NaN where missing",
                got=str(error),
                mend="write NaN for None",
            ) from error
        fits = found.dim() == len(shape) and found.shape[0] == shape[0]
        if not fits or bool(found.isinf().any()):
            raise InputError(
                "a biosignal of the wrong shape, or infinite",
                expected=f"{['S' if size is None else size for size in shape]}, channels first, "
                "NaN where missing",
                got=f"{list(found.shape)}, {int(found.isinf().sum())} infinite",
                mend=f"this encoder has {shape[0]} channels; make another with channels=",
            )
        aside = (-1,) + (1,) * (found.dim() - 1)
        centre, spread = torch.tensor([self.centre, self.spread], dtype=torch.double)
        standard: Tensor = (found - centre.reshape(aside)) / spread.reshape(aside)
        return standard


class BiosignalEncoder(PartlyTrainable, Pretrained):
    """Fully connected layers, ReLU between them, over each window: three in the KEMDy19 system.

    Without ``window``, a raw value is one vector of features (see `modalxai.biosignals.summary`)
    and gives one vector, at index 0 to 1. With it, a raw value is C channels of samples, and each
    window gives a vector, with its span in seconds; the last window may be shorter, and windows in
    which nothing was recorded are left out.

    What is missing is told to the first layer: beside each value goes whether it is known, and a
    value that is not stands at 0, the training mean where ``centre`` is given.

    Parameters
    ----------
    dim
        Width D of the vectors.
    channels
        Features or channels C; by default those of `modalxai.biosignals.FEATURES`.
    window
        Seconds; ``None`` for features.
    sample_rate
        Samples per second, read with ``window`` only.
    hidden, layers
        Width of the layers between, and how many there are in all, 1 or more.
    centre, spread
        One number per channel, see `modalxai.biosignals.standards`; ``None`` for 0 and 1. Features
        have very different units, so give them.
    dropout
        Probability from 0 to below 1 after each hidden layer, in training only.
    trainable
        ``"none"``, ``"all"``, or how many top layers learn.

    Raises
    ------
    InputError
        Settings that do not fit one another.
    """

    kinds: tuple[str, ...] = ("window",)

    def __init__(
        self,
        dim: int = 64,
        channels: int = len(FEATURES),
        window: float | None = None,
        sample_rate: float = 4.0,
        hidden: int = 64,
        layers: int = 3,
        centre: Sequence[float] | None = None,
        spread: Sequence[float] | None = None,
        dropout: float = 0.1,
        trainable: Trainable = "all",
    ) -> None:
        super().__init__()
        centre = [0.0] * channels if centre is None else [float(value) for value in centre]
        spread = [1.0] * channels if spread is None else [float(value) for value in spread]
        # Read back by `settings`: every argument, under its own name.
        self._settings = {
            name: value for name, value in locals().items() if name not in ("self", "__class__")
        }
        _check(dim, channels, hidden, layers, centre, spread, dropout)
        check_positive("sample_rate", sample_rate)
        if window is not None:
            check_positive("window", window)
        self.dim = dim
        samples = 1 if window is None else max(1, round(window * sample_rate))
        rate = None if window is None else sample_rate
        self.removals: tuple[str, ...] = ("baseline",) if window is None else ("baseline", "noise")
        self.collate = BiosignalCollate(tuple(centre), tuple(spread), samples, rate)
        widths = [2 * channels * samples, *[hidden] * (layers - 1), dim]
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))
        self.dropout = nn.Dropout(dropout)
        self.train_only(trainable, list(self.layers))

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments as json values."""
        return dict(self._settings)

    def forward(self, inputs: Inputs) -> Features:
        """Windows [B, T, C, N] to vectors [B, T, D], 0 on padding."""
        known, mask = inputs["known"], inputs["mask"]
        dtype = next(self.parameters()).dtype
        values = masking.blank(inputs["values"].to(dtype), known)
        values = torch.cat([values.flatten(2), known.to(dtype).flatten(2)], dim=-1)
        for index, layer in enumerate(self.layers):
            values = layer(self.dropout(values.relu()) if index else values)
        return Features(masking.blank(values, mask), mask, self.units(inputs, "window"))

    def units(self, inputs: Inputs, kind: str) -> Spans:
        """The windows of each signal, [B, T]: in seconds, or index 0 to 1 for features.

        Raises
        ------
        RemovalError
            ``kind`` is not in `kinds`.
        """
        check_offered(kind, self.kinds, "kind of unit")
        unit: Any = "index" if self.collate.rate is None else "seconds"
        return Spans(inputs["start"].float(), inputs["end"].float(), unit)

    def remove(
        self, inputs: Inputs, units: Spans, keep: Tensor, how: str, seed: int | Sequence[int]
    ) -> Inputs:
        """The signals without the samples that lie in a unit whose ``keep`` is False.

        Nothing is filled with zeros. ``"baseline"`` puts the subject's resting values in place;
        a channel whose resting value is not known becomes missing there. ``"noise"`` (windows
        only) puts a surrogate of all that was recorded in place: the same power at every frequency
        and the same mean, random phases (the same for all channels, so that their correlations
        stay too); gaps stay gaps.

        Parameters
        ----------
        inputs
            What `collate` returned; it is not modified.
        units
            Spans [B, U] in the encoder's unit; not only its own. What none covers stays.
        keep
            Bool [B, U], True for what stays.
        how
            ``"baseline"`` or ``"noise"``.
        seed
            One number, or one per row.

        Raises
        ------
        RemovalError
            ``how`` is not offered, a row to be changed has no baseline, or too few samples.
        InputError
            ``keep`` or ``units`` of the wrong type, shape or unit.

        References
        ----------
        Theiler et al. (1992), Testing for nonlinearity in time series; Prichard and Theiler (1994)
        for the common phases.
        """
        check_offered(how, self.removals, "removal")
        seeds = self._check_units(inputs, units, keep, seed)
        gone = self._gone(inputs, units, keep)
        values, known = inputs["values"].clone(), inputs["known"].clone()
        for row in gone.flatten(1).any(1).nonzero().flatten().tolist():
            place = gone[row][:, None].expand_as(values[row])
            if how == "baseline":
                real = inputs["baseline_known"][row]
                _require_baseline(real)
                known[row] = torch.where(place, real[:, None], known[row])
                filling = inputs["baseline"][row][:, None].expand_as(values[row])
            else:
                filling = _surrogate(values[row], known[row], inputs["mask"][row], seeds[row])
            values[row] = torch.where(place & known[row], filling.to(values), values[row])
            values[row].masked_fill_(~known[row], 0)
        return {**inputs, "values": values, "known": known}

    def _gone(self, inputs: Inputs, units: Spans, keep: Tensor) -> Tensor:
        """Bool [B, T, N]: samples whose middle lies in a removed unit."""
        start, mask = inputs["start"], inputs["mask"]
        rate = self.collate.rate or 1
        steps = torch.arange(self.collate.samples, device=start.device) + 0.5
        middle = start[..., None] + steps / rate
        left, right = (edge.to(start)[:, None, None] for edge in (units.start, units.end))
        inside = (left <= middle[..., None]) & (middle[..., None] < right)
        gone = (inside & ~keep.to(start.device)[:, None, None]).any(-1)
        return gone & mask[..., None] & (middle < inputs["end"][..., None])

    def _check_units(
        self, inputs: Inputs, units: Spans, keep: Tensor, seed: int | Sequence[int]
    ) -> list[int]:
        rows, own = len(inputs["mask"]), "index" if self.collate.rate is None else "seconds"
        shape = tuple(units.start.shape)
        seeds = [seed] * rows if isinstance(seed, int) else list(seed)
        bool_keep = isinstance(keep, Tensor) and keep.dtype == torch.bool
        found = tuple(keep.shape) if isinstance(keep, Tensor) else type(keep).__name__
        fits = bool_keep and found == shape and shape[0] == rows == len(seeds)
        if units.unit != own or not fits:
            raise InputError(
                "units, a mask or seeds that do not fit the signals",
                expected=f"Spans in {own}, keep as bool {[rows, *shape[1:]]} (True for what "
                f"stays), one seed or {rows}",
                got=f"Spans in {units.unit} {list(shape)}, keep {found} "
                f"{getattr(keep, 'dtype', '')}, {len(seeds)} seeds",
                mend="make it from the units: torch.ones_like(units.mask)",
            )
        return seeds


def _require_baseline(known: Tensor) -> None:
    if not bool(known.any()):
        raise RemovalError(
            'the removal "baseline" of a signal without one',
            expected="the subject's resting values",
            got="none",
            mend='give Biosignal(values, rate, baseline=...), or name the removal "absent"',
        )


def _surrogate(values: Tensor, known: Tensor, mask: Tensor, seed: int) -> Tensor:
    """Windows [T, C, N] of one row to a phase-randomised copy of its real samples."""
    count, channels, samples = values[mask].shape
    signal = values[mask].transpose(0, 1).reshape(channels, -1).double()
    there = known[mask].transpose(0, 1).reshape(channels, -1)
    # The short end of the last window is not part of the recording.
    length = int(there.any(0).nonzero().max()) + 1
    if length < FEWEST_SAMPLES:
        raise RemovalError(
            'the removal "noise" of a signal that is too short',
            expected=f"{FEWEST_SAMPLES} samples or more",
            got=str(length),
            mend='name the removal "baseline" or "absent"',
        )
    mean = (signal * there).sum(1, keepdim=True) / there.sum(1, keepdim=True).clamp(min=1)
    spectrum = torch.fft.rfft(torch.where(there, signal, mean)[:, :length], dim=1)
    generator = torch.Generator().manual_seed(seed)
    phase = 2 * math.pi * torch.rand(spectrum.shape[1], generator=generator, dtype=torch.double)
    phase[0] = 0  # the mean has no phase
    if length % 2 == 0:
        phase[-1] = 0  # nor has the highest frequency of an even number of samples
    turned = spectrum * torch.polar(torch.ones_like(phase), phase).to(spectrum.device)
    result = torch.zeros_like(signal)
    result[:, :length] = torch.fft.irfft(turned, n=length, dim=1)
    windows = torch.zeros_like(values, dtype=torch.double)
    windows[mask] = result.reshape(channels, count, samples).transpose(0, 1)
    return windows


def _check(
    dim: int,
    channels: int,
    hidden: int,
    layers: int,
    centre: Sequence[float],
    spread: Sequence[float],
    dropout: float,
) -> None:
    if min(dim, channels, hidden, layers) < 1 or not 0 <= dropout < 1:
        raise InputError(
            "a setting of the biosignal encoder out of its range",
            expected="dim, channels, hidden and layers of 1 or more, dropout from 0 to below 1",
            got=f"dim={dim}, channels={channels}, hidden={hidden}, layers={layers}, "
            f"dropout={dropout}",
            mend="leave the default, or choose a value in the range",
        )
    finite = all(math.isfinite(value) for value in (*centre, *spread))
    if len(centre) != channels or len(spread) != channels or not finite or min(spread) <= 0:
        raise InputError(
            "centre or spread that do not fit the channels",
            expected=f"{channels} finite numbers each, spread above 0",
            got=f"{len(centre)} and {len(spread)}, spread from {min(spread, default=0):g}",
            mend="take them from modalxai.biosignals.standards(training rows)",
        )

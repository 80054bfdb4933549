"""A training loop that can be killed: one epoch after another, the best one kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sized
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from modalxai.errors import InputError
from modalxai.training.augment.dataset import PerEpoch
from modalxai.training.progress import Progress
from modalxai.types import Batch


class Samples(Sized, Protocol):
    """A list of samples, or a map-style Dataset of them."""

    def __getitem__(self, index: int, /) -> Any:
        """One sample."""
        ...


@dataclass(frozen=True)
class FitSettings:
    """How `fit` trains.

    Parameters
    ----------
    epochs
        Times through the samples.
    lr
        Learning rate; the highest one under a schedule.
    batch_size
        Samples of one optimiser step.
    micro_batch
        Samples that go through the model at once, ``batch_size`` for ``None``: smaller ones
        accumulate gradients and give the same step in less memory.
    optimizer
        ``"adam"`` or ``"adamw"``.
    weight_decay
        Of either.
    schedule
        ``"constant"``; ``"cosine"``, which rises over the first tenth of the steps and falls to 0.
    clip
        Largest norm of the gradient; ``None`` for any.
    seed
        Of the order of the samples and of everything that the model draws.
    workers
        Processes that read and collate.
    precision
        ``"float32"``, or ``"bfloat16"`` for autocast.

    Raises
    ------
    InputError
        A setting out of its range.
    """

    epochs: int = 3
    lr: float = 5e-5
    batch_size: int = 32
    micro_batch: int | None = None
    optimizer: Literal["adam", "adamw"] = "adam"
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    clip: float | None = 1.0
    seed: int = 0
    workers: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        micro = self.batch_size if self.micro_batch is None else self.micro_batch
        for name, ok, expected in (
            ("epochs", self.epochs >= 1, "1 or more"),
            ("lr", 0 < self.lr < math.inf, "above 0"),
            ("batch_size", self.batch_size >= 1, "1 or more"),
            ("micro_batch", 1 <= micro <= self.batch_size, "None, or 1 to batch_size"),
            ("optimizer", self.optimizer in OPTIMIZERS, f"one of {list(OPTIMIZERS)}"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "0 or more"),
            ("schedule", self.schedule in ("constant", "cosine"), "'constant' or 'cosine'"),
            ("clip", self.clip is None or self.clip > 0, "None, or above 0"),
            ("workers", self.workers >= 0, "0 or more"),
            ("precision", self.precision in ("float32", "bfloat16"), "'float32' or 'bfloat16'"),
        ):
            if not ok:
                raise InputError(
                    f"fit: {name} out of range",
                    expected=expected,
                    got=repr(getattr(self, name)),
                    mend="see FitSettings",
                )


@dataclass(frozen=True)
class History:
    """What `fit` saw.

    Parameters
    ----------
    losses
        Mean training loss of each epoch.
    scores
        What ``validate`` returned after each epoch; empty without one.
    best
        The epoch (from 0) whose weights the model now has: the first of the highest scores, or the
        last one where nothing validated.
    """

    losses: tuple[float, ...]
    scores: tuple[float, ...]
    best: int


OPTIMIZERS: dict[str, Any] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def fit(
    step: nn.Module,
    samples: Samples,
    collate: Callable[..., Batch],
    settings: FitSettings | None = None,
    *,
    validate: Callable[[], float] | None = None,
    folder: str | Path | None = None,
    title: str | None = None,
) -> History:
    """Train what learns of ``step``; go on where a killed run in ``folder`` stopped.

    The generators of the caller are as before: order and dropout of an epoch are drawn from the
    seed and the epoch's number alone, so that a resumed run ends with the weights of one that was
    never stopped (on a CPU, bit for bit).

    Parameters
    ----------
    step
        ``step(**batch)`` gives a dict with ``"loss"``, the mean over the batch: an `Objective`.
    samples
        What to train on. Augmented ones (`modalxai.training.augment`) are told each epoch.
    collate
        Samples to a batch, ``model.collate`` or a wrapper of it.
    settings
        See `FitSettings`.
    validate
        Called after each epoch; higher is better. The weights of the best epoch are restored.
    folder
        Where to keep what a resumed run needs. Weights that do not learn are not written.
    title
        Of a progress bar; ``None`` shows none.

    Returns
    -------
    History
        Losses, scores, and the epoch that was kept.

    Raises
    ------
    InputError
        Nothing learns, no sample, or a loss that is not finite; the samples are named.
    CheckpointError
        The folder holds a run with other settings.
    """
    chosen = FitSettings() if settings is None else settings
    learning = {name: one for name, one in step.named_parameters() if one.requires_grad}
    if not learning or len(samples) == 0:
        raise InputError(
            "nothing to train",
            expected="parameters that require gradients, and samples",
            got=f"{len(learning)} learning parameters, {len(samples)} samples",
            mend="make an encoder with trainable=..., and check the data",
        )
    optimizer = OPTIMIZERS[chosen.optimizer](
        learning.values(), lr=chosen.lr, weight_decay=chosen.weight_decay
    )
    device = next(iter(learning.values())).device
    steps = math.ceil(len(samples) / chosen.batch_size)
    progress = Progress.begin(folder, step, optimizer, asdict(chosen) | {"samples": len(samples)})
    mode = {module: module.training for module in step.modules()}
    try:
        for epoch in _shown(range(len(progress.losses), chosen.epochs), chosen.epochs, title):
            with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
                torch.manual_seed(_seed(chosen.seed, epoch))
                step.train()
                if isinstance(samples, PerEpoch):
                    samples.set_epoch(epoch)
                loss = _epoch(step, samples, collate, optimizer, chosen, epoch, steps, device)
                score = None if validate is None else float(validate())
            progress.keep(loss, score)
        progress.restore_best()
    finally:
        for module, training in mode.items():
            module.training = training
    return History(tuple(progress.losses), tuple(progress.scores), progress.best)


def _epoch(
    step: nn.Module,
    samples: Samples,
    collate: Callable[..., Batch],
    optimizer: torch.optim.Optimizer,
    chosen: FitSettings,
    epoch: int,
    steps: int,
    device: torch.device,
) -> float:
    """Mean loss of one pass through the samples."""
    draw = torch.Generator().manual_seed(_seed(chosen.seed, epoch))
    order: list[int] = torch.randperm(len(samples), generator=draw).tolist()
    micro = chosen.micro_batch or chosen.batch_size
    rows = [
        order[first : min(first + micro, end)]
        for start in range(0, len(order), chosen.batch_size)
        for end in [start + chosen.batch_size]  # no part reaches into the next step
        for first in range(start, min(end, len(order)), micro)
    ]
    loader: DataLoader[Any] = DataLoader(
        samples,  # type: ignore[arg-type]  # torch names Dataset; it uses len and [] alone
        batch_sampler=rows,
        collate_fn=collate,
        num_workers=chosen.workers,
        generator=draw,
    )
    parts, total = iter(loader), 0.0
    for number in range(steps):
        size = min(chosen.batch_size, len(samples) - number * chosen.batch_size)
        factor = _factor(chosen, epoch * steps + number, chosen.epochs * steps)
        for group in optimizer.param_groups:
            group["lr"] = chosen.lr * factor
        optimizer.zero_grad(set_to_none=True)
        for batch in islice(parts, math.ceil(size / micro)):
            here = batch.to(device)
            with torch.autocast(
                device.type, torch.bfloat16, enabled=chosen.precision == "bfloat16"
            ):
                loss: Tensor = step(**here)["loss"]
            part = len(batch["ids"]) / size
            if not torch.isfinite(loss):
                raise InputError(
                    f"the loss is not finite in epoch {epoch}",
                    expected="a finite number",
                    got=f"{loss.item()} for samples {list(batch['ids'])[:8]}",
                    mend="lower the learning rate, or look at these samples",
                )
            (loss * part).backward()  # type: ignore[no-untyped-call]  # torch's own
            total += loss.item() * len(batch["ids"])
        if chosen.clip is not None:
            nn.utils.clip_grad_norm_(
                [one for group in optimizer.param_groups for one in group["params"]], chosen.clip
            )
        optimizer.step()
    return total / len(samples)


def _factor(chosen: FitSettings, done: int, of: int) -> float:
    """What the learning rate is multiplied by at one step."""
    if chosen.schedule == "constant":
        return 1.0
    rise = max(1, of // 10)
    if done < rise:
        return (done + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (done - rise) / max(1, of - rise)))


def _seed(seed: int, epoch: int) -> int:
    return seed * 100_003 + epoch


def _shown(epochs: range, of: int, title: str | None) -> Iterator[int]:
    if title is None:
        return iter(epochs)
    from tqdm import tqdm

    return iter(tqdm(epochs, desc=title, unit="epoch", initial=epochs.start, total=of))

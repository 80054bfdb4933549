"""A training loop that may explain on the way, and all of its state that must not notice."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from tests.support.toys import MIXED, vector_model, vector_samples
from torch import Tensor, nn

import modalxai as mx
from modalxai.attribution import FeatureDifference, IntegratedGradients, Owen
from modalxai.model import EmotionModel

Wrap = Callable[[nn.Module], nn.Module]


class Norm(nn.Module):
    """Batch norm counts and dropout draws in train mode, and every call draws from everywhere."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.dropout = inner, nn.Dropout(0.3)
        self.norm = nn.BatchNorm1d(inner.dim)
        for name in ("dim", "collate", "removals", "kinds", "units", "remove"):
            setattr(self, name, getattr(inner, name))

    def forward(self, inputs: dict[str, Tensor]) -> mx.Features:
        if not torch.compiler.is_compiling():
            random.random(), np.random.rand(), torch.rand(3)
        found = self.inner(inputs)
        values = self.norm(found.values.flatten(0, 1)).view_as(found.values)
        values = self.dropout(values).masked_fill(~found.mask[..., None], 0)
        return mx.Features(values, found.mask, found.spans)


def labelled(count: int = 12) -> list[dict]:
    """Samples, some without a modality, with labels of every kind."""
    samples = vector_samples(count, missing=True)
    for place, sample in enumerate(samples):
        sample["labels"] = {MIXED[place % 3].name: 1, "tired": place % 2, "valence": place / count}
    return samples


def objective(seed: int = 0) -> mx.training.Objective:
    """A model with dropout, batch norm, modality dropout and a frozen weight, and its loss."""
    torch.manual_seed(seed)
    plain = vector_model(2, hidden=6, dropout=0.0)
    encoders = {name: Norm(plain.encoders[name]) for name in plain.modalities}
    fusion = mx.plugins.create(
        "fusion", "shallow", dims=plain.fusion.dims, labels=MIXED, hidden=6, dropout=0.2
    )
    model = EmotionModel(encoders, fusion, modality_dropout=0.3)
    model.encoders["b"].inner.layer.bias.requires_grad_(False)
    return mx.training.Objective(model, mx.training.EmotionLoss())


def look(wrapped: nn.Module, samples: list[dict]) -> None:
    """Explain in several ways."""
    mx.explain(wrapped, samples[:5])
    mx.explain(wrapped, samples[:5], removal="marginal", background=samples, draws=2)
    model = mx.games.run.unwrap(wrapped)
    game = model.game(samples[:3], removal="noise", draws=2)
    Owen(players={"a": "item"}).attribute(game)
    FeatureDifference().attribute(game)
    IntegratedGradients().attribute(model.game(samples[:3], removal="zero"))
    model.predict(samples)


def train(
    wrap: Wrap = lambda step: step,
    *,
    every: int | None,
    steps: int = 6,
    accumulate: int = 1,
    context: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> dict[str, Any]:
    """Train, explain every few steps or never, and say everything that training left behind."""
    inner, samples = objective(), labelled()
    step = wrap(inner)
    step.train()
    inner.model.encoders["a"].norm.eval()  # somebody has frozen these statistics
    handle = inner.model.encoders["a"].register_forward_hook(lambda *_: None)
    learning = [one for one in inner.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=0.05)
    random.seed(4), np.random.seed(4), torch.manual_seed(4)
    losses = []
    for number in range(steps):
        for part in range(accumulate):
            order = torch.randperm(len(samples))[: 8 // accumulate].tolist()
            batch = inner.model.collate([samples[place] for place in order])
            with context():
                if every and number % every == 0:
                    mx.explain(step, samples[:4])  # autocast caches weights where it can
                loss = step(**batch)["loss"] / accumulate
            if every and number % every == 0:
                look(step, samples)  # between forward and backward, the hardest place
            loss.backward()
            losses.append(loss.detach())
            if every and number % every == 0 and part == 0:
                mx.explain(step, samples[:2])  # and with gradients lying there
        optimizer.step()
        optimizer.zero_grad(set_to_none=number % 2 == 0)
    found = everything(inner, optimizer) | {"losses": losses}
    handle.remove()
    return found


def everything(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """All that a training step could read or write."""
    return {
        "weights": {name: one.detach().clone() for name, one in model.named_parameters()},
        "buffers": {name: one.clone() for name, one in model.named_buffers()},
        "gradients": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "wants": [p.requires_grad for p in model.parameters()],
        "modes": [module.training for module in model.modules()],
        "hooks": [
            [len(found) for key, found in vars(module).items() if key.endswith("_hooks")]
            for module in model.modules()
        ],
        "attributes": [sorted(vars(module)) for module in model.modules()],
        "optimizer": optimizer.state_dict(),
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state()[1].copy(),
        "random": random.getstate(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "gradient mode": torch.is_grad_enabled(),
    }


def differences(one: Any, two: Any, place: str = "") -> Iterator[str]:
    """Every place where two nested values differ in a single bit."""
    if isinstance(one, Tensor | np.ndarray):
        one, two = torch.as_tensor(one), torch.as_tensor(two)
        # Not equal(): NaN is a value here, and 0 is not -0.
        same = one.dtype == two.dtype and one.shape == two.shape
        if not same or one.numpy().tobytes() != two.numpy().tobytes():
            yield place
    elif isinstance(one, dict):
        if one.keys() != two.keys():
            yield f"{place} keys"
        for key in one.keys() & two.keys():
            yield from differences(one[key], two[key], f"{place}/{key}")
    elif isinstance(one, list | tuple):
        if len(one) != len(two):
            yield f"{place} length"
        for number, (a, b) in enumerate(zip(one, two, strict=False)):
            yield from differences(a, b, f"{place}/{number}")
    elif one != two:
        yield place

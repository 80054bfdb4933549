"""Training with and without explaining on the way ends in the same bits."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.loop.loops import differences, everything, labelled, look, objective, train
from torch import nn
from torch.utils.checkpoint import checkpoint

import modalxai as mx
from modalxai.errors import InputError
from modalxai.training import FitSettings, fit


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory):
    """A process group of one, met through a file: no port, no network."""
    meet = tmp_path_factory.mktemp("group") / "meet"
    torch.distributed.init_process_group("gloo", init_method=f"file://{meet}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def ddp(step: nn.Module) -> nn.Module:
    return nn.parallel.DistributedDataParallel(step, find_unused_parameters=True)


def compiled(step: nn.Module) -> nn.Module:
    torch.compiler.reset()
    return torch.compile(step, backend="eager")


def checkpointed(step: nn.Module) -> nn.Module:
    """Encoders run again in the backward pass, with the dropout that they drew before."""
    for encoder in step.model.encoders.values():
        real = encoder.inner.layer.forward
        encoder.inner.layer.forward = lambda x, real=real: checkpoint(real, x, use_reentrant=False)
    return step


LOOPS: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulated": {"accumulate": 2},
    "bfloat16": {"context": lambda: torch.autocast("cpu", torch.bfloat16)},
    "ddp": {"wrap": ddp},
    "compiled": {"wrap": compiled},
    "checkpointed": {"wrap": checkpointed},
}


@pytest.mark.parametrize(
    "loop", [pytest.param(n, marks=[pytest.mark.full] * (n == "compiled")) for n in LOOPS]
)
def test_training_ends_in_the_same_bits(loop: str, alone: None) -> None:
    never, often = (train(**LOOPS[loop], every=every) for every in (None, 2))
    assert list(differences(never, often)) == []
    assert torch.stack(never["losses"]).isfinite().all()
    assert never["losses"][0] != never["losses"][-1]


def test_a_difference_would_be_seen() -> None:
    """The comparison itself: one more draw, one bit, one mode."""
    one, two = (train(every=None, steps=2) for _ in range(2))
    assert list(differences(one, two)) == []
    two["weights"]["model.fusion.bias"].view(torch.int32)[0] ^= 1
    two["modes"][3] = not two["modes"][3]
    two["torch"][100] ^= 1
    assert sorted(differences(one, two)) == ["/modes/3", "/torch", "/weights/model.fusion.bias"]


def fitted(asked: Callable[[nn.Module, list[dict]], object], folder: Path | None) -> dict[str, Any]:
    step, samples = objective(), labelled()
    random.seed(9), np.random.seed(9), torch.manual_seed(9)
    scores = []

    def validate() -> float:
        asked(step, samples)
        scores.append(float(step.model.predict(samples).scores.mean()))
        return scores[-1]

    settings = FitSettings(epochs=3, lr=0.05, batch_size=5, micro_batch=3, optimizer="adamw")
    history = fit(step, samples, step.model.collate, settings, validate=validate, folder=folder)
    left = everything(step, torch.optim.SGD(step.parameters(), lr=1))
    return left | {"losses": list(history.losses), "scores": scores, "best": history.best}


def test_fit_trains_the_same_when_validation_explains(tmp_path: Path) -> None:
    quiet = fitted(lambda step, samples: None, tmp_path / "a")
    loud = fitted(lambda step, samples: look(step, samples), tmp_path / "b")
    assert list(differences(quiet, loud)) == []


def test_the_older_sharding_is_named(alone: None) -> None:
    from torch.distributed.fsdp import FullyShardedDataParallel

    step = objective()
    samples = labelled(4)
    expected = mx.explain(step, samples).draws
    wrapped = FullyShardedDataParallel(step, device_id=torch.device("cpu"), use_orig_params=True)
    with pytest.raises(InputError, match="fully_shard"):
        mx.explain(wrapped, samples)
    with FullyShardedDataParallel.summon_full_params(wrapped):
        assert torch.equal(mx.explain(wrapped.module, samples).draws, expected)


def test_what_was_explained_on_the_way_is_true_of_that_moment() -> None:
    """Not only harmless: the table of step k is that of a model that stopped at step k."""
    step, samples = objective(), labelled()
    optimizer = torch.optim.SGD(step.parameters(), lr=0.1)
    step.train()
    tables = []
    for _ in range(3):
        tables.append(mx.explain(step, samples).draws)
        kept = {name: one.clone() for name, one in step.state_dict().items()}
        step(**step.model.collate(samples))["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        still = objective().eval()
        still.load_state_dict(kept)
        assert torch.equal(mx.explain(still, samples).draws, tables[-1])
    assert not torch.equal(tables[0], tables[2])

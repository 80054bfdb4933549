from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from toys import vector_model, vector_samples

import modalxai as mx
from modalxai.games.run import unwrap


def check(wrapped: nn.Module, model: nn.Module) -> None:
    samples = vector_samples(4)
    assert unwrap(wrapped) is model
    assert torch.equal(mx.explain(wrapped, samples).draws, mx.explain(model, samples).draws)


@pytest.fixture
def alone(tmp_path: Path):
    """A process group of one, met through a file: no port, no network."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


def test_distributed_models_are_unwrapped(alone: None) -> None:
    model = vector_model(2)
    check(nn.parallel.DistributedDataParallel(model), model)


def test_data_parallel_models_are_unwrapped() -> None:
    model = vector_model(2)
    check(nn.DataParallel(model), model)


def test_compiled_models_are_unwrapped(alone: None) -> None:
    model = vector_model(2)
    # Not the inductor: no C compiler is needed, and the wrapper is the same.
    compiled = torch.compile(model, backend="eager")
    check(compiled, model)
    check(nn.parallel.DistributedDataParallel(compiled), model)


def test_a_compiled_model_that_has_run_is_explained_like_the_plain_one() -> None:
    model, samples = vector_model(2).eval(), vector_samples(4)
    compiled = torch.compile(model, backend="eager")
    with torch.no_grad():
        scores = compiled(model.collate(samples)).scores
    found = mx.explain(compiled, samples)
    torch.testing.assert_close(found.scores[-1], scores, rtol=1e-5, atol=1e-5)

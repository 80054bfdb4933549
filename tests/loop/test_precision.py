"""Half precision: the same shares within 2e-2, and scores that are subtracted in float32."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from tests.support.toys import speech_model, speech_samples
from torch import Tensor

import modalxai as mx
from modalxai.attribution import FeatureDifference, GradCAM

HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
CLOSE = 2e-2


def trained(device: str = "cpu") -> mx.EmotionModel:
    """Trained for a moment, so that its scores are those of a model and not noise."""
    torch.manual_seed(0)
    model = speech_model().to(device)
    samples = [
        {**sample, "labels": {"anger" if place % 2 else "joy": 1, "tired": place % 2}}
        for place, sample in enumerate(speech_samples(8, seconds=0.1))
    ]
    step = mx.training.Objective(model, mx.training.EmotionLoss())
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    batch = model.collate(samples).to(device)
    for _ in range(20):
        optimizer.zero_grad()
        step(**batch)["loss"].backward()
        optimizer.step()
    return model.eval()


def shares(totals: Tensor) -> Tensor:
    """Each modality's part of all that was said for or against a label, [N, L, M]."""
    return totals.abs() / totals.abs().sum(-1, keepdim=True).clamp(min=1e-6)


def check(
    model: mx.EmotionModel, inside: Callable[[], AbstractContextManager[Any]] = nullcontext
) -> None:
    samples = speech_samples(5, seconds=0.1)
    exact = mx.explain(model, samples)
    with inside():
        rough = mx.explain(model, samples)
    assert rough.draws.dtype == torch.float32
    assert not torch.equal(rough.draws, exact.draws), "nothing was computed in half precision"
    found, expected = (
        mx.types.Prediction(one.scores, model.labels).probabilities()[..., :-1]
        for one in (rough, exact)
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=CLOSE)
    # The last label is no probability: a number of any size.
    found, expected = (one.shapley(scale="probability").totals[:, :-1] for one in (rough, exact))
    torch.testing.assert_close(found, expected, rtol=0, atol=CLOSE)
    found, expected = (one.shapley().totals for one in (rough, exact))
    heard = expected.abs().sum(-1) > 0.5  # a share of nothing is no share
    assert heard.float().mean() > 0.3
    torch.testing.assert_close(shares(found)[heard], shares(expected)[heard], rtol=0, atol=CLOSE)
    assert rough.shapley().residual().abs().max() < 1e-4, "differences are taken in float32"


@pytest.mark.parametrize("half", HALVES)
def test_autocast_says_the_same(half: str) -> None:
    check(trained(), lambda: torch.autocast("cpu", HALVES[half]))


@pytest.mark.parametrize("half", HALVES)
def test_gradient_methods_under_autocast_say_the_same(half: str) -> None:
    model, samples = trained(), speech_samples(3, seconds=0.1)
    for attributor in (GradCAM(), FeatureDifference()):
        exact = attributor.attribute(model.game(samples)).totals
        with torch.autocast("cpu", HALVES[half]):
            rough = attributor.attribute(model.game(samples)).totals
        scale = exact.abs().max()
        torch.testing.assert_close(rough.float(), exact, rtol=0, atol=float(2 * CLOSE * scale))


@pytest.mark.gpu
@pytest.mark.parametrize("half", HALVES)
def test_autocast_on_a_gpu_says_the_same(half: str) -> None:
    check(trained("cuda"), lambda: torch.autocast("cuda", HALVES[half]))

"""Explaining leaves the model, the generators and the caller's modes as they were."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader
from toys import speech_model, speech_samples, vector_model, vector_samples

import modalxai as mx
from modalxai.attribution import Explanation, FeatureDifference, GradCAM
from modalxai.errors import StaleGameError
from modalxai.games import Background
from modalxai.model import EmotionModel
from modalxai.trace import Fingerprint


class Restless(nn.Module):
    """Draws from every generator on each call, and raises when told to."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.norm, self.dropout = inner, nn.BatchNorm1d(2), nn.Dropout(0.5)
        self.raises = False
        for name in ("dim", "collate", "removals", "kinds", "units", "remove"):
            if hasattr(inner, name):
                setattr(self, name, getattr(inner, name))

    def forward(self, inputs: Any) -> Any:
        random.random(), np.random.rand(), torch.rand(3)
        self.dropout(self.norm(torch.randn(4, 2)))
        if self.raises:
            raise ZeroDivisionError("inside the model")
        return self.inner(inputs)


def restless(model: EmotionModel) -> EmotionModel:
    encoders = {name: Restless(model.encoders[name]) for name in model.modalities}
    return EmotionModel(encoders, model.fusion)


def state(model: nn.Module) -> dict[str, Any]:
    return {
        "modes": [module.training for module in model.modules()],
        "weights": [tensor.clone() for tensor in model.state_dict().values()],
        "wants": [p.requires_grad for p in model.parameters()],
        "grads": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "hooks": [
            len(hooks)
            for module in model.modules()
            for hooks in (
                module._forward_hooks,
                module._forward_pre_hooks,
                module._backward_hooks,
                module._backward_pre_hooks,
            )
        ],
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state()[1],
        "random": random.getstate(),
        "modes of torch": (
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.is_autocast_enabled("cpu"),
            torch.backends.cudnn.deterministic,
            torch.backends.cudnn.benchmark,
            torch.are_deterministic_algorithms_enabled(),
            torch.get_default_dtype(),
            torch.get_num_threads(),
        ),
    }


def unchanged(before: Any, after: Any) -> bool:
    if isinstance(before, torch.Tensor):
        return torch.equal(before, after)
    if isinstance(before, np.ndarray):
        return bool((before == after).all())
    if isinstance(before, list):
        return len(before) == len(after) and all(map(unchanged, before, after))
    return bool(before == after)


def assert_no_trace(model: nn.Module, call: Callable[[], object]) -> None:
    before = state(model)
    call()
    after = state(model)
    for name in before:
        assert unchanged(before[name], after[name]), f"{name} changed"


def everything(model: EmotionModel, samples: list[dict], **settings: Any) -> None:
    game = model.game(samples, **settings)
    Explanation.of(game)
    GradCAM().attribute(game)
    FeatureDifference().attribute(game)
    mx.explain(model, samples, **settings)
    model.predict(samples)


def mixed_modes(model: EmotionModel) -> EmotionModel:
    """Some train, some eval; some frozen; some with gradients."""
    for index, module in enumerate(model.modules()):
        module.training = index % 2 == 0
    for index, parameter in enumerate(model.parameters()):
        parameter.requires_grad = index % 3 != 0
        if index % 2:
            parameter.grad = torch.randn_like(parameter)
    return model


@pytest.mark.parametrize("fusion", ["shallow", "late"])
@pytest.mark.parametrize("removal", ["absent", "noise", "mean"])
def test_explaining_leaves_no_trace(removal: str, fusion: str) -> None:
    samples = vector_samples(4, missing=True)
    model = mixed_modes(restless(vector_model(2, fusion)))
    model.encoders["a"].register_forward_hook(lambda *_: None)
    background = samples if removal == "mean" else None
    assert_no_trace(
        model, lambda: everything(model, samples, removal=removal, background=background)
    )


def test_real_encoders_are_left_alone_too() -> None:
    model, samples = mixed_modes(speech_model()), speech_samples(2)
    assert_no_trace(
        model, lambda: everything(model, samples, removal={"audio": "noise", "text": "mask"})
    )


def test_a_loader_that_draws_random_numbers_leaves_no_trace() -> None:
    model, samples = vector_model(2), vector_samples(6)
    for shuffle in (False, True):
        loader = DataLoader(samples, batch_size=2, collate_fn=model.collate, shuffle=shuffle)
        assert_no_trace(model, lambda loader=loader: mx.explain(model, loader))
        assert_no_trace(model, lambda loader=loader: Background.of(model, loader))


@pytest.mark.parametrize("where", ["a", "fusion"])
def test_an_error_inside_the_model_leaves_no_trace(where: str) -> None:
    samples = vector_samples(4)
    model = restless(vector_model(2, "joint"))
    calls: list[Callable[[], object]] = [
        lambda: mx.explain(model, samples, removal="noise"),
        lambda: Explanation.of(model.game(samples)),
        lambda: GradCAM().attribute(model.game(samples)),
        lambda: Background.of(model, samples),
        lambda: model.predict(samples),
    ]
    if where == "fusion":
        calls.pop(3)  # a background is only encoded
        model.fusion.register_forward_pre_hook(_raise)
    else:
        model.encoders["a"].raises = True
    mixed_modes(model)

    def ask(call: Callable[[], object]) -> None:
        with pytest.raises(ZeroDivisionError):
            call()

    for call in calls:
        assert_no_trace(model, lambda call=call: ask(call))


def _raise(*_: object) -> None:
    raise ZeroDivisionError("inside the fusion")


@pytest.mark.parametrize(
    "mode",
    [
        torch.no_grad,
        torch.inference_mode,
        lambda: torch.autocast("cpu", torch.bfloat16),
        lambda: torch.random.fork_rng(devices=[]),
    ],
)
def test_the_callers_modes_are_left_alone(mode: Callable[[], Any]) -> None:
    model, samples = vector_model(2), vector_samples(3)
    with mode():
        assert_no_trace(model, lambda: everything(model, samples))


def test_training_goes_on_as_if_nothing_had_been_explained() -> None:
    samples = vector_samples(6)

    def train(look: bool) -> list[torch.Tensor]:
        torch.manual_seed(0)
        model = vector_model(2, dropout=0.3)
        model.train()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for _ in range(4):
            model(model.collate(samples)).scores.square().mean().backward()
            if look:
                everything(model, samples, removal="noise")
            optimizer.step()
            optimizer.zero_grad()
        return [p.detach().clone() for p in model.parameters()]

    for one, two in zip(train(True), train(False), strict=True):
        assert torch.equal(one, two)


def test_dropout_and_batch_norm_are_in_eval_while_explaining() -> None:
    model = restless(vector_model(2, "shallow", hidden=8, dropout=0.5))
    model.train()
    samples = vector_samples(4)
    one, two = (mx.explain(model, samples).draws for _ in range(2))
    assert torch.equal(one, two)
    torch.testing.assert_close(one[0, -1], model.eval()(model.collate(samples)).scores.detach())


def test_the_batch_is_not_modified() -> None:
    model, samples = speech_model(), speech_samples(3)
    batch = model.collate(samples)
    before = copy.deepcopy({name: dict(batch[name]) for name in ("audio", "text")})
    for removal in (
        "absent",
        {"audio": "silence", "text": "mask"},
        {"audio": "noise", "text": "empty"},
    ):
        everything(model, batch, removal=removal, background=samples)
    for name, inputs in before.items():
        for key, value in inputs.items():
            assert torch.equal(value, batch[name][key]), (name, key)


def _optimizer_step(model: EmotionModel) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    model(model.collate(vector_samples(3))).scores.sum().backward()
    optimizer.step()


CHANGES: dict[str, Callable[[EmotionModel], object]] = {
    "an optimizer's step": _optimizer_step,
    "through .data": lambda m: m.encoders["a"].layer.weight.data.add_(0.1),
    "of a fusion's bias": lambda m: m.fusion.bias.data.add_(0.1),
    "load_state_dict": lambda m: m.load_state_dict(
        {k: v + 0.01 for k, v in m.state_dict().items()}
    ),
    "load_state_dict, assigned": lambda m: m.load_state_dict(
        {k: v + 0.01 for k, v in m.state_dict().items()}, assign=True
    ),
    "of a buffer": lambda m: m.encoders["a"].scale.add_(1),
    "of one value": lambda m: torch.no_grad()(m.encoders["a"].layer.weight[1, 2].add_)(1.0),
    "of precision": lambda m: m.double(),
    "of a parameter for another": lambda m: setattr(
        m.encoders["a"].layer, "bias", nn.Parameter(torch.zeros(3))
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_of_the_weights_makes_the_game_stale(what: str) -> None:
    model, samples = vector_model(2), vector_samples(3)
    model.encoders["a"].register_buffer("scale", torch.zeros(2))
    games = [model.game(samples) for _ in range(2)]
    features = {name: games[0].encode(name) for name in "ab"}
    keep = {name: torch.ones(3, 1).bool() for name in "ab"}
    games[0].value(keep)
    divided = model.game(samples, removal="zero").divide({"a": "item"})
    CHANGES[what](model)
    for call in (
        lambda: games[0].value(keep),
        lambda: games[0].encode("a"),
        lambda: games[0].fuse(features),
        lambda: games[0].present,
        lambda: games[0].players,
        lambda: Explanation.of(games[1]),
        lambda: GradCAM().attribute(games[0]),
        lambda: divided.value(keep),
        lambda: divided.divide({"b": "item"}).players,
    ):
        with pytest.raises(StaleGameError, match="have changed"):
            call()


def test_looking_training_or_moving_modes_does_not_make_it_stale() -> None:
    model, samples = vector_model(2), vector_samples(3)
    game = model.game(samples)
    model.train()
    model(model.collate(samples)).scores.sum().backward()
    model.zero_grad()
    model.requires_grad_(False)
    mx.explain(model, samples)
    assert Explanation.of(game).scores.isfinite().all()


def test_weights_that_change_while_a_loader_is_read_are_noticed() -> None:
    model, samples = vector_model(2), vector_samples(4)

    def stream():
        yield model.collate(samples[:2])
        CHANGES["through .data"](model)
        yield model.collate(samples[2:])

    with pytest.raises(StaleGameError):
        mx.explain(model, stream())


def test_a_fingerprint_copes_with_every_kind_of_tensor() -> None:
    model = nn.Module()
    model.register_buffer("count", torch.tensor(3))
    model.register_buffer("flags", torch.tensor([True, False]))
    model.register_buffer("empty", torch.zeros(0))
    model.register_buffer("rough", torch.full((5,), float("nan"), dtype=torch.bfloat16))
    model.weight = nn.Parameter(torch.randn(40, 3).t())
    mark = Fingerprint(model)
    assert mark.matches(model)
    with torch.no_grad():
        model.weight.data.mul_(2)  # not contiguous, and unseen by its version counter
    assert not mark.matches(model)
    mark = Fingerprint(model)
    model.count += 1
    assert not mark.matches(model)
    assert Fingerprint(nn.Module()).matches(nn.Module())

"""All labels' gradients at once give what one label at a time gives, and cost no more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from toys import MIXED, JointFusion, VectorEncoder, vector_model, vector_samples

from modalxai import plugins
from modalxai.attribution import FeatureDifference, GradCAM, HiResCAM, IntegratedGradients
from modalxai.attribution.gradients import pullback
from modalxai.fusion import ShallowFusion
from modalxai.model import EmotionModel
from modalxai.types import Attribution, Features, labels

FUSIONS = ("shallow", "late", "meta-attention", "fusion-transformer", "crossmodal-transformer")
SIZES = (1, 3_000, 12_000, 1 << 30)


def model_with(fusion: str) -> EmotionModel:
    encoders = {"a": VectorEncoder(4, 8), "b": VectorEncoder(4, 8)}
    settings = {"width": 8, "heads": 2} if "transformer" in fusion else {}
    dims = {"a": 8, "b": 8}
    made = plugins.create("fusion", fusion, dims=dims, labels=MIXED, **settings)
    return EmotionModel(encoders, made).eval()


def close(one: Attribution, two: Attribution) -> None:
    torch.testing.assert_close(one.totals, two.totals, rtol=1e-5, atol=1e-6)
    for name in one.units:
        torch.testing.assert_close(one.units[name], two.units[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize(
    "method", [GradCAM(), HiResCAM(), FeatureDifference(), IntegratedGradients(nodes=5)]
)
def test_the_size_of_a_piece_does_not_change_the_result(
    fusion: str, method: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    game = model_with(fusion).game(vector_samples(5, missing=True), removal="zero")
    found = []
    for size in SIZES:
        monkeypatch.setattr(pullback, "CPU_BYTES", size)
        found.append(method.attribute(game))
    assert found[0].totals.abs().max() > 1e-4
    for other in found[1:]:
        close(found[0], other)


def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many labels each backward pass carries, 0 for a pass of one by itself."""
    seen: list[int] = []
    real = torch.autograd.grad

    def counted(outputs: Tensor, inputs: object, directions: Tensor, **rest: object) -> object:
        seen.append(len(directions) if rest["is_grads_batched"] else 0)
        return real(outputs, inputs, directions, **rest)

    monkeypatch.setattr(torch.autograd, "grad", counted)
    return seen


def test_labels_go_together_where_they_fit_and_singly_where_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    game = vector_model(2).eval().game(vector_samples(4))
    seen = calls(monkeypatch)
    GradCAM().attribute(game)
    assert seen == [5]
    seen.clear()
    monkeypatch.setattr(pullback, "CPU_BYTES", 1)
    GradCAM().attribute(game)
    assert seen == [0] * 5
    seen.clear()
    # Two modalities of 4 samples, 5 vectors, widths 3 and 4, float32: two labels fit.
    monkeypatch.setattr(pullback, "CPU_BYTES", 2 * 4 * 5 * (3 + 4) * 4)
    GradCAM().attribute(game)
    assert seen == [2, 2, 0]


def test_the_gradients_of_all_labels_never_exist_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    leaf = torch.randn(6, 50, 8)
    scores = (leaf.requires_grad_() @ torch.randn(8, 7)).tanh().sum(1)
    monkeypatch.setattr(pullback, "CPU_BYTES", 2 * leaf.numel() * 4)
    held: list[int] = []

    def reduce(_: str, gradient: Tensor) -> Tensor:
        held.append(len(gradient))
        return gradient.sum(-1)

    found = pullback.pull_back(scores, {"a": leaf}, reduce)
    assert held == [2, 2, 2, 1]
    expected = [
        torch.autograd.grad(scores[:, k].sum(), leaf, retain_graph=True)[0] for k in range(7)
    ]
    torch.testing.assert_close(found["a"], torch.stack(expected, 1).sum(-1))


def test_memory_that_runs_out_halves_the_piece_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    game = vector_model(2).eval().game(vector_samples(4))
    expected = HiResCAM().attribute(game)
    real, asked = torch.autograd.grad, []

    def small(outputs: Tensor, inputs: object, directions: Tensor, **rest: object) -> object:
        asked.append(directions.shape)
        if directions.dim() == 2 and len(directions) > 2:
            raise torch.OutOfMemoryError("no room")
        return real(outputs, inputs, directions, **rest)

    monkeypatch.setattr(torch.autograd, "grad", small)
    close(HiResCAM().attribute(game), expected)
    assert [len(shape) for shape in asked[:2]] == [2, 2]


class NoRule(torch.autograd.Function):
    """A kernel of one's own: numpy in the backward pass, so nothing can batch it."""

    @staticmethod
    def forward(ctx: object, values: Tensor) -> Tensor:
        ctx.save_for_backward(values)
        return torch.from_numpy(values.detach().numpy() ** 2)

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        (values,) = ctx.saved_tensors
        return torch.from_numpy(2 * values.detach().numpy() * gradient.numpy())


class Kernel(JointFusion):
    def forward(self, features: dict[str, Features]):
        changed = {
            name: replace(one, values=NoRule.apply(one.values)) for name, one in features.items()
        }
        return super().forward(changed)


class Plain(JointFusion):
    def forward(self, features: dict[str, Features]):
        return super().forward(
            {name: replace(one, values=one.values**2) for name, one in features.items()}
        )


def test_an_operator_without_a_batching_rule_is_asked_label_by_label(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = []
    seen = calls(monkeypatch)
    for cls in (Kernel, Plain):
        torch.manual_seed(0)
        fusion = cls({"a": 3, "b": 3}, MIXED)
        model = EmotionModel({"a": VectorEncoder(), "b": VectorEncoder()}, fusion).eval()
        game = model.game(vector_samples(4), removal="zero")
        found.append(FeatureDifference().attribute(game))
        assert seen == ([5, 0, 0, 0, 0, 0] if cls is Kernel else [5])
        seen.clear()
    close(*found)


def test_an_error_of_the_fusion_is_not_swallowed() -> None:
    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, values: Tensor) -> Tensor:
            return values.clone()

        @staticmethod
        def backward(ctx: object, gradient: Tensor) -> Tensor:
            raise RuntimeError("what is wrong with it")

    leaf = torch.randn(2, 3, requires_grad=True)
    scores = Broken.apply(leaf)
    with pytest.raises(RuntimeError, match="what is wrong"):
        pullback.pull_back(scores, {"a": leaf}, lambda _, gradient: gradient)


def flops(call: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


@pytest.mark.parametrize("fusion", FUSIONS)
def test_all_labels_cost_one_pass_forward_and_one_back_each(
    fusion: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In FLOPs, whether they go together or one by one, and nothing in an encoder."""
    model = model_with(fusion)
    model.encoders.requires_grad_(True)
    game = model.game(vector_samples(5), removal="absent")
    for name in game.modalities:
        game.encode(name)
    with torch.no_grad():
        once = flops(lambda: game.fuse({name: game.encode(name) for name in game.modalities}))
    spent = flops(lambda: GradCAM().attribute(game))
    assert spent <= once * (1 + len(MIXED)) + 1
    monkeypatch.setattr(pullback, "CPU_BYTES", 1)
    assert flops(lambda: GradCAM().attribute(game)) == spent
    # Each node once forward and once back for each label, then the scores at both ends.
    nodes = flops(lambda: IntegratedGradients(nodes=8).attribute(game))
    assert nodes == 8 * spent + 2 * once


def test_seven_labels_of_a_clip_and_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """At real sizes they go in one call; the seventh is minus the sum of the other six."""
    encoders = nn.ModuleDict({"audio": VectorEncoder(4, 768), "text": VectorEncoder(4, 768)})
    fusion = ShallowFusion({"audio": 768, "text": 768}, labels(*"abcdefg"))
    model = EmotionModel(dict(encoders), fusion).eval()
    seen = calls(monkeypatch)
    sample = {"id": "u", "audio": torch.randn(149, 4), "text": torch.randn(12, 4)}
    GradCAM().attribute(model.game(sample))
    assert seen == [6]


@pytest.mark.parametrize("size", SIZES)
def test_the_last_of_balanced_labels_follows_from_the_others(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pullback, "CPU_BYTES", size)
    leaf = torch.randn(6, 50, 8)
    raw = (leaf.requires_grad_() @ torch.randn(8, 7)).tanh().sum(1)
    scores = raw - raw.mean(1, keepdim=True)
    seen = calls(monkeypatch)
    with torch.no_grad():
        found = pullback.pull_back(scores, {"a": leaf}, lambda _, one: one.relu(), balanced=True)
        assert sum(max(count, 1) for count in seen) == 6
        every = pullback.pull_back(scores, {"a": leaf}, lambda _, one: one.relu())
    torch.testing.assert_close(found["a"], every["a"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("method", "chosen", "passes"),
    [
        (GradCAM(), None, 6),
        (GradCAM(), list("gfedcba"), 6),
        (GradCAM("probability"), None, 6),
        (GradCAM(), list("abcdef"), 6),
        (GradCAM("raw"), None, 7),
        (GradCAM("log-odds"), None, 7),
        (GradCAM("contrast"), None, 7),
    ],
)
def test_a_pass_is_saved_where_all_labels_sum_to_a_constant(
    method: GradCAM, chosen: list[str] | None, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoders = nn.ModuleDict({"a": VectorEncoder(4, 8)})
    model = EmotionModel(dict(encoders), ShallowFusion({"a": 8}, labels(*"abcdefg"))).eval()
    game = model.game(vector_samples(3, "a"))
    seen = calls(monkeypatch)
    found = method.attribute(game, chosen)
    assert seen == [passes]
    singly = [method.attribute(game, [label.name]) for label in found.labels]
    each = torch.cat([one.totals for one in singly], dim=1)
    torch.testing.assert_close(found.totals, each, rtol=1e-5, atol=1e-6)


def test_a_score_that_is_no_emotion_keeps_its_own_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a dimensional label the categorical ones alone sum to 0."""
    game = vector_model(2).eval().game(vector_samples(4))
    seen = calls(monkeypatch)
    GradCAM().attribute(game)
    assert seen == [len(MIXED)]

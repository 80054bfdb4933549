"""Focal loss, concordance and learned task weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from modalxai.errors import InputError
from modalxai.training import EmotionLoss, Objective, terms
from modalxai.types import Prediction, Targets, labels

CLASSES = labels("anger", "joy", "neutral")
TAGS = labels("sarcasm", "crying", kind="binary")
NUMBERS = labels("valence", "arousal", kind="dimensional")
MIXED = CLASSES + TAGS + NUMBERS


def annotated(values: Tensor) -> Targets:
    return Targets(values, torch.ones_like(values, dtype=torch.bool))


def make(seed: int, rows: int, share: float = 0.7) -> tuple[Prediction, Targets]:
    draw = torch.Generator().manual_seed(seed)
    scores = 3 * torch.randn(rows, len(MIXED), generator=draw)
    values = torch.rand(rows, len(MIXED), generator=draw)
    values[:, :3] /= values[:, :3].sum(1, keepdim=True)
    mask = torch.rand(rows, len(MIXED), generator=draw) < share
    mask[:, :3] = mask[:, :1]
    return Prediction(scores.requires_grad_(), MIXED), Targets(
        values.masked_fill(~mask, math.nan), mask
    )


def focal_oracle(scores, values, mask, gamma, weights, smoothing) -> float:
    """Lin et al. (2017), equation 4, cell by cell."""
    top, bottom = 0.0, 0.0
    for s, v, m in zip(scores.tolist(), values.tolist(), mask.tolist(), strict=True):
        if not all(m):
            continue
        total = sum(math.exp(each) for each in s)
        for k, w in enumerate(weights):
            p = math.exp(s[k]) / total
            share = (1 - smoothing) * v[k] + smoothing / len(s)
            top += w * share * (1 - p) ** gamma * -math.log(p)
            bottom += w * v[k]
    return top / bottom if bottom else 0.0


@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 5),
    gamma=st.sampled_from([0.5, 1.0, 2.0, 5.0]),
    weights=st.lists(st.floats(0.1, 5), min_size=3, max_size=3),
    smoothing=st.sampled_from([0.0, 0.2]),
)
@settings(max_examples=40, deadline=None)
def test_focal_loss_equals_the_slow_oracle(seed, rows, gamma, weights, smoothing):
    prediction, targets = make(seed, rows)
    loss = EmotionLoss(MIXED, weights, smoothing, {"binary": 0, "dimensional": 0}, gamma=gamma)(
        prediction, targets
    )
    expected = focal_oracle(
        prediction.scores[:, :3],
        targets.values[:, :3],
        targets.mask[:, :3],
        gamma,
        weights,
        smoothing,
    )
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_loss_of_tags_is_the_two_class_one(gamma):
    scores, values = torch.randn(9, 1), torch.rand(9, 1)
    tag = EmotionLoss(gamma=gamma)(Prediction(scores, TAGS[:1]), annotated(values))
    two = torch.cat([scores, torch.zeros(9, 1)], 1)
    classes = EmotionLoss(gamma=gamma)(
        Prediction(two, CLASSES[:2]), annotated(torch.cat([values, 1 - values], 1))
    )
    torch.testing.assert_close(tag, classes)


def test_focus_tends_to_cross_entropy():
    prediction, targets = make(1, 8)
    off = EmotionLoss(gamma=0.0)(prediction, targets)
    nearly = EmotionLoss(gamma=1e-6)(prediction, targets)
    torch.testing.assert_close(nearly, off, rtol=1e-4, atol=0)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_gradients_stay_finite_where_a_class_is_certain(gamma):
    scores = torch.tensor([[200.0, 0.0, -50.0, 150.0, -150.0]], requires_grad=True)
    values = torch.tensor([[1.0, 0.0, 0.0, 1.0, 1.0]])
    loss = EmotionLoss(gamma=gamma)(Prediction(scores, CLASSES + TAGS), annotated(values))
    loss.backward()
    assert loss.isfinite()
    assert scores.grad.isfinite().all()
    assert loss.item() == pytest.approx(75.0)  # half of 150: one of two tags is wholly wrong


def ccc(x: np.ndarray, y: np.ndarray) -> float:
    """Lin (1989) with variances divided by n."""
    covariance = ((x - x.mean()) * (y - y.mean())).mean()
    return 2 * covariance / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)


@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 9),
    share=st.sampled_from([0.0, 0.3, 0.7, 1.0]),
)
@settings(max_examples=60, deadline=None)
def test_concordance_equals_its_formula_per_label_over_the_annotated(seed, rows, share):
    prediction, targets = make(seed, rows, share)
    loss = EmotionLoss(task_weights={"categorical": 0, "binary": 0}, dimensional="ccc")(
        prediction, targets
    )
    expected = []
    for column in (5, 6):
        known = targets.mask[:, column]
        if known.sum() >= 2:
            x = prediction.scores.detach()[known, column].double().numpy()
            y = targets.values[known, column].double().numpy()
            expected.append(1 - ccc(x, y))
    wanted = sum(expected) / len(expected) if expected else 0.0
    assert float(loss.detach()) == pytest.approx(wanted, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [([1.0, 2.0, 4.0], 0.0), ([-1.0, -2.0, -4.0], None), ([2.0, 2.0, 2.0], 1.0)],
)
def test_known_concordances(scores, expected):
    y = torch.tensor([[1.0], [2.0], [4.0]])
    x = torch.tensor(scores)[:, None]
    loss = terms.discordance(x, y, torch.ones(3, 1, dtype=torch.bool))
    wanted = 1 - ccc(x.numpy(), y.numpy()) if expected is None else expected
    assert loss.item() == pytest.approx(wanted, abs=1e-6)


def test_equal_constants_are_concordant_and_finite():
    x = torch.full((3, 1), 2.0, requires_grad=True)
    loss = terms.discordance(x, torch.full((3, 1), 2.0), torch.ones(3, 1, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert x.grad.isfinite().all()


def test_a_label_with_one_annotation_has_no_concordance_and_no_gradient():
    x = torch.randn(4, 2, requires_grad=True)
    mask = torch.tensor([[1, 1], [0, 1], [0, 1], [0, 0]]).bool()
    terms.discordance(x, torch.randn(4, 2), mask).backward()
    assert torch.equal(x.grad != 0, mask & torch.tensor([False, True]))


def test_squared_error_and_concordance_add_up_with_their_weights():
    prediction, targets = make(2, 8)
    parts = {
        name: EmotionLoss(task_weights={"categorical": 0, "binary": 0}, dimensional=name)(
            prediction, targets
        )
        for name in ("mse", "ccc")
    }
    both = EmotionLoss(
        task_weights={"categorical": 0, "binary": 0}, dimensional={"mse": 0.5, "ccc": 2.0}
    )(prediction, targets)
    torch.testing.assert_close(both, 0.5 * parts["mse"] + 2 * parts["ccc"])


@pytest.mark.parametrize("learned", [None, "learned"])
def test_gradients_of_all_parts_agree_with_finite_differences(learned):
    prediction, targets = make(5, 6)
    loss = EmotionLoss(
        MIXED,
        [1.0, 2.0, 3.0],
        0.1,
        learned,
        gamma=1.5,
        dimensional={"mse": 1.0, "ccc": 1.0},
    ).double()
    assert torch.autograd.gradcheck(
        lambda scores: loss(Prediction(scores, MIXED), targets),
        prediction.scores.detach().double().requires_grad_(),
    )


def test_learned_weights_equal_the_formula_of_kendall():
    prediction, targets = make(3, 8, share=1.0)
    loss = EmotionLoss(MIXED, task_weights="learned")
    sigma = {"categorical": 0.5, "binary": 2.0, "dimensional": 3.0}
    expected = torch.zeros(())
    for kind, value in sigma.items():
        with torch.no_grad():
            loss.learned.log_variances[kind].fill_(math.log(value**2))
        only = dict.fromkeys(sigma, 0.0) | {kind: 1.0}
        part = EmotionLoss(task_weights=only)(prediction, targets)
        factor = 0.5 if kind == "dimensional" else 1.0
        expected = expected + factor / value**2 * part + math.log(value)
    torch.testing.assert_close(loss(prediction, targets), expected)


def test_learned_weights_settle_where_the_variance_is_the_error():
    # d/ds of exp(-s) L / 2 + s / 2 is zero where exp(s) = L.
    loss = EmotionLoss(NUMBERS, task_weights="learned")
    prediction = Prediction(torch.zeros(50, 2), NUMBERS)
    targets = annotated(4 * torch.randn(50, 2))
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        loss(prediction, targets).backward()
        optimizer.step()
    variance = loss.learned.log_variances["dimensional"].exp().item()
    assert variance == pytest.approx(targets.values.square().mean().item(), rel=1e-3)


def test_a_kind_without_annotations_teaches_its_weight_nothing():
    prediction, targets = make(3, 8)
    targets.mask[:, 5:] = False
    loss = EmotionLoss(MIXED, task_weights="learned")
    loss(prediction, targets).backward()
    gradients = {kind: one.grad.item() for kind, one in loss.learned.log_variances.items()}
    assert gradients["dimensional"] == 0  # and not None, which distributed training refuses
    assert gradients["categorical"] != 0
    nothing = Targets(targets.values, torch.zeros_like(targets.mask))
    assert loss(prediction, nothing).item() == 0


def test_learned_weights_are_parameters_of_the_objective_and_saved():
    step = Objective(torch.nn.Linear(1, 1), EmotionLoss(MIXED, task_weights="learned"))
    assert len(list(step.parameters())) == 2 + 3
    assert "loss.learned.log_variances.binary" in step.state_dict()
    assert set(EmotionLoss(CLASSES, task_weights="learned").learned.log_variances) == {
        "categorical"
    }


def test_all_parts_compile_in_one_graph():
    prediction, targets = make(2, 6)
    loss = EmotionLoss(MIXED, task_weights="learned", gamma=2.0, dimensional="ccc")
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(prediction, targets), loss(prediction, targets))


def test_focal_loss_of_one_hot_targets_is_the_textbook_one():
    scores, numbers = torch.randn(9, 3), torch.randint(3, (9,))
    p = scores.softmax(1)[torch.arange(9), numbers]
    ours = EmotionLoss(gamma=2.0)(
        Prediction(scores, CLASSES), annotated(F.one_hot(numbers, 3).float())
    )
    torch.testing.assert_close(ours, (-((1 - p) ** 2) * p.log()).mean())


@pytest.mark.parametrize(
    "wrong",
    [
        {"gamma": -1.0},
        {"gamma": math.nan},
        {"gamma": math.inf},
        {"dimensional": "mae"},
        {"dimensional": {"mse": -1.0}},
        {"dimensional": {"mse": 0.0}},
        {"dimensional": {}},
        {"task_weights": "learnt"},
        {"task_weights": "learned"},  # of no labels
    ],
)
def test_unusable_settings_of_the_parts_are_refused(wrong):
    with pytest.raises(InputError, match="mend:"):
        EmotionLoss(**wrong)

from __future__ import annotations

import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from modalxai.errors import InputError
from modalxai.training import EmotionLoss
from modalxai.types import Prediction, Targets, labels

CLASSES = labels("anger", "joy", "neutral")
TAGS = labels("sarcasm", "crying", kind="binary")
NUMBERS = labels("valence", "arousal", kind="dimensional")
# Kinds interleaved, so that nothing can rely on their columns being neighbours.
MIXED = (CLASSES[0], NUMBERS[0], TAGS[0], CLASSES[1], TAGS[1], CLASSES[2], NUMBERS[1])
KIND = [label.kind for label in MIXED]
CATEGORICAL = [index for index, kind in enumerate(KIND) if kind == "categorical"]


def oracle(
    scores: Tensor,
    values: Tensor,
    mask: Tensor,
    class_weights: list[float] | None = None,
    smoothing: float = 0.0,
    task_weights: dict[str, float] | None = None,
) -> float:
    """Cell by cell, with Python numbers, from the definitions."""
    class_weights = class_weights or [1.0] * len(CATEGORICAL)
    numerator = dict.fromkeys(("categorical", "binary", "dimensional"), 0.0)
    denominator = dict(numerator)
    for s, v, m in zip(scores.tolist(), values.tolist(), mask.tolist(), strict=True):
        if all(m[k] for k in CATEGORICAL):
            normaliser = math.log(sum(math.exp(s[k]) for k in CATEGORICAL))
            for k, w in zip(CATEGORICAL, class_weights, strict=True):
                share = (1 - smoothing) * v[k] + smoothing / len(CATEGORICAL)
                numerator["categorical"] += w * share * (normaliser - s[k])
                denominator["categorical"] += w * v[k]
        for k, kind in enumerate(KIND):
            if not m[k] or kind == "categorical":
                continue
            if kind == "binary":
                p = 1 / (1 + math.exp(-s[k]))
                numerator[kind] -= v[k] * math.log(p) + (1 - v[k]) * math.log(1 - p)
            else:
                numerator[kind] += (s[k] - v[k]) ** 2
            denominator[kind] += 1
    weights = dict.fromkeys(numerator, 1.0) | (task_weights or {})
    return sum(weights[k] * numerator[k] / denominator[k] for k in numerator if denominator[k])


def make(seed: int, rows: int = 6, share: float = 0.6) -> tuple[Prediction, Targets]:
    """Mixed labels, soft classes, some cells unannotated and NaN there."""
    draw = torch.Generator().manual_seed(seed)
    scores = torch.randn(rows, len(MIXED), generator=draw)
    values = torch.rand(rows, len(MIXED), generator=draw)
    values[:, CATEGORICAL] /= values[:, CATEGORICAL].sum(1, keepdim=True)
    mask = torch.rand(rows, len(MIXED), generator=draw) < share
    mask[:, CATEGORICAL] = mask[:, CATEGORICAL[:1]]
    values = values.masked_fill(~mask, math.nan)
    return Prediction(scores.requires_grad_(), MIXED), Targets(values, mask)


def annotated(values: Tensor) -> Targets:
    return Targets(values, torch.ones_like(values, dtype=torch.bool))


@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 5),
    share=st.sampled_from([0.0, 0.2, 0.7, 1.0]),
    weights=st.none() | st.lists(st.floats(0.1, 5), min_size=3, max_size=3),
    smoothing=st.sampled_from([0.0, 0.1, 0.5]),
    tasks=st.dictionaries(
        st.sampled_from(["categorical", "binary", "dimensional"]), st.floats(0, 3)
    ),
)
@settings(max_examples=60, deadline=None)
def test_equals_the_slow_oracle(seed, rows, share, weights, smoothing, tasks):
    prediction, targets = make(seed, rows, share)
    loss = EmotionLoss(MIXED, weights, smoothing, tasks)(prediction, targets)
    expected = oracle(prediction.scores, *targets, weights, smoothing, tasks)
    assert loss.shape == ()
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 3.0]])
def test_class_numbers_give_pytorchs_weighted_mean_cross_entropy(weights, smoothing):
    scores, numbers = torch.randn(9, 3), torch.randint(3, (9,))
    ours = EmotionLoss(CLASSES, weights, smoothing)(
        Prediction(scores, CLASSES), annotated(F.one_hot(numbers, 3).float())
    )
    weight = None if weights is None else torch.tensor(weights)
    theirs = F.cross_entropy(scores, numbers, weight=weight, label_smoothing=smoothing)
    torch.testing.assert_close(ours, theirs)


def test_soft_classes_give_pytorchs_cross_entropy():
    scores, shares = torch.randn(9, 3), torch.rand(9, 3).softmax(1)
    ours = EmotionLoss()(Prediction(scores, CLASSES), annotated(shares))
    torch.testing.assert_close(ours, F.cross_entropy(scores, shares))


def test_tags_give_pytorchs_binary_cross_entropy():
    scores, values = torch.randn(9, 2), torch.rand(9, 2)
    ours = EmotionLoss()(Prediction(scores, TAGS), annotated(values))
    torch.testing.assert_close(ours, F.binary_cross_entropy_with_logits(scores, values))


def test_numbers_give_pytorchs_squared_error():
    scores, values = torch.randn(9, 2), torch.randn(9, 2)
    ours = EmotionLoss()(Prediction(scores, NUMBERS), annotated(values))
    torch.testing.assert_close(ours, F.mse_loss(scores, values))


def test_only_the_ratios_of_class_weights_matter():
    prediction, targets = make(0, rows=20)
    one = EmotionLoss(class_weights=[1.0, 2.0, 5.0])(prediction, targets)
    ten = EmotionLoss(class_weights=torch.tensor([10.0, 20.0, 50.0]))(prediction, targets)
    torch.testing.assert_close(one, ten)


def test_unannotated_rows_change_neither_loss_nor_gradient():
    prediction, targets = make(3, rows=4)
    extra = Targets(torch.full((3, 7), math.nan), torch.zeros(3, 7, dtype=torch.bool))
    # Scores that overflow, too: what is not annotated is not even looked at.
    long = torch.cat([prediction.scores.detach(), torch.full((3, 7), math.inf)]).requires_grad_()
    joined = Targets(*(torch.cat(pair) for pair in zip(targets, extra, strict=True)))
    loss = EmotionLoss()
    short_loss, long_loss = loss(prediction, targets), loss(Prediction(long, MIXED), joined)
    torch.testing.assert_close(short_loss, long_loss, rtol=0, atol=0)
    short_loss.backward()
    long_loss.backward()
    torch.testing.assert_close(prediction.scores.grad, long.grad[:4], rtol=0, atol=0)
    assert (long.grad[4:] == 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_gradients_are_zero_exactly_where_nothing_is_annotated(seed):
    prediction, targets = make(seed)
    EmotionLoss(class_weights=[1.0, 2.0, 3.0], label_smoothing=0.1)(prediction, targets).backward()
    assert torch.equal(prediction.scores.grad != 0, targets.mask)


@pytest.mark.parametrize("found", [CLASSES, TAGS, NUMBERS, MIXED])
def test_nothing_annotated_is_exactly_zero_with_a_graph(found):
    scores = torch.randn(4, len(found), requires_grad=True)
    targets = Targets(torch.full_like(scores, math.nan), torch.zeros(4, len(found)).bool())
    loss = EmotionLoss(found)(Prediction(scores, found), targets)
    assert loss.item() == 0
    loss.backward()
    assert torch.equal(scores.grad, torch.zeros_like(scores))


def test_all_kinds_left_out_is_zero_with_a_graph():
    prediction, targets = make(0)
    off = dict.fromkeys(("categorical", "binary", "dimensional"), 0.0)
    loss = EmotionLoss(task_weights=off)(prediction, targets)
    loss.backward()
    assert loss.item() == 0
    assert (prediction.scores.grad == 0).all()


def test_gradients_agree_with_finite_differences():
    prediction, targets = make(5)
    loss = EmotionLoss(class_weights=[1.0, 2.0, 3.0], label_smoothing=0.1)
    assert torch.autograd.gradcheck(
        lambda scores: loss(Prediction(scores, MIXED), targets),
        prediction.scores.detach().double().requires_grad_(),
    )


def test_bfloat16_scores_are_widened_before_the_loss():
    prediction, targets = make(1, rows=32)
    narrow = prediction.scores.detach().bfloat16()
    loss = EmotionLoss(class_weights=[1.0, 2.0, 3.0])
    with torch.autocast("cpu", torch.bfloat16):
        low = loss(Prediction(narrow, MIXED), targets)
    assert low.dtype == torch.float32
    torch.testing.assert_close(
        low, loss(Prediction(narrow.float(), MIXED), targets), rtol=0, atol=0
    )


def test_extreme_scores_stay_finite():
    # 1e30 has no float32 square: a kind that is left out must not even be computed.
    scores = torch.tensor([[1e4, 1e30, 0.0, -1e4, 1e4, 1e4, 1e4]], requires_grad=True)
    values = torch.tensor([[0.0, 0.5, 1.0, 1.0, 0.0, 0.0, -0.5]])
    loss = EmotionLoss(task_weights={"dimensional": 0})(
        Prediction(scores, MIXED), annotated(values)
    )
    loss.backward()
    assert loss.isfinite()
    assert scores.grad.isfinite().all()


def test_a_compiled_loss_has_one_graph_and_the_same_value():
    prediction, targets = make(2)
    loss = EmotionLoss(class_weights=[1.0, 2.0, 3.0])
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(prediction, targets), loss(prediction, targets))


def test_settings_are_no_state_and_survive_pickling():
    loss = EmotionLoss(MIXED, [1.0, 2.0, 3.0], 0.1)
    assert not loss.state_dict()
    assert not list(loss.parameters())
    prediction, targets = make(2)
    again = pickle.loads(pickle.dumps(loss))
    assert torch.equal(again(prediction, targets), loss(prediction, targets))


@pytest.mark.parametrize(
    ("values", "mask", "wrong"),
    [
        ([1.0, 0.5, 0.0], [1, 1, 1], "distribution"),
        ([0.3, 0.3, 0.3], [1, 1, 1], "distribution"),
        ([1.5, -0.5, 0.0], [1, 1, 1], "distribution"),
        ([2.0, 2.0, 2.0], [1, 1, 1], "distribution"),
        ([math.nan, 1.0, 0.0], [1, 1, 1], "distribution"),
        ([0.5, 0.5, 0.0], [1, 1, 0], "only some"),
    ],
)
def test_class_shares_that_are_no_distribution_name_their_row(values, mask, wrong):
    targets = annotated(F.one_hot(torch.tensor([0, 1, 2]), 3).float())
    targets.values[1], targets.mask[1] = torch.tensor(values), torch.tensor(mask).bool()
    with pytest.raises(InputError, match=wrong) as caught:
        EmotionLoss()(Prediction(torch.zeros(3, 3), CLASSES), targets)
    assert caught.value.index == 1


@pytest.mark.parametrize(
    ("found", "value"),
    [(TAGS, 2.0), (TAGS, -1.0), (TAGS, math.nan), (NUMBERS, math.inf), (NUMBERS, math.nan)],
)
def test_values_out_of_range_name_their_row(found, value):
    targets = annotated(torch.zeros(3, 2))
    targets.values[2, 1] = value
    with pytest.raises(InputError, match=found[0].kind) as caught:
        EmotionLoss()(Prediction(torch.zeros(3, 2), found), targets)
    assert caught.value.index == 2


def test_shares_rounded_to_bfloat16_pass():
    shares = torch.rand(500, 3).softmax(1).bfloat16()
    loss = EmotionLoss()(Prediction(torch.zeros(500, 3), CLASSES), annotated(shares))
    assert loss.item() == pytest.approx(math.log(3), rel=1e-3)


def test_values_are_not_looked_at_without_check():
    wrong = annotated(torch.full((2, 3), 2.0))
    loss = EmotionLoss(check=False)(Prediction(torch.zeros(2, 3), CLASSES), wrong)
    assert loss.item() == pytest.approx(6 * math.log(3))


@pytest.mark.parametrize("shape", [(4, 3), (4,), (5, 7), (1, 7), (4, 7, 1)])
@pytest.mark.parametrize("place", ["scores", "values", "mask"])
def test_shapes_that_do_not_fit_are_refused(shape, place):
    tensors = {
        "scores": torch.zeros(4, 7),
        "values": torch.zeros(4, 7),
        "mask": torch.zeros(4, 7).bool(),
    }
    tensors[place] = tensors[place].new_zeros(shape)
    targets = Targets(tensors["values"], tensors["mask"])
    with pytest.raises(InputError, match="do not fit"):
        EmotionLoss()(Prediction(tensors["scores"], MIXED), targets)


def test_a_mask_of_numbers_is_refused():
    with pytest.raises(InputError, match="wrong type"):
        EmotionLoss()(
            Prediction(torch.zeros(2, 3), CLASSES), Targets(torch.zeros(2, 3), torch.ones(2, 3))
        )


def test_other_labels_than_expected_are_refused():
    prediction = Prediction(torch.zeros(2, 3), labels("anger", "joy", "fear"))
    with pytest.raises(InputError, match="other labels"):
        EmotionLoss(CLASSES)(prediction, annotated(torch.eye(3)[:2]))


def test_class_weights_that_do_not_fit_are_refused_as_soon_as_the_labels_are_known():
    with pytest.raises(InputError, match="class weights"):
        EmotionLoss(MIXED, class_weights=[1.0, 2.0])
    loss = EmotionLoss(class_weights=[1.0, 2.0])
    with pytest.raises(InputError, match="class weights"):
        loss(Prediction(torch.zeros(2, 3), CLASSES), annotated(torch.eye(3)[:2]))


@pytest.mark.parametrize(
    "settings",
    [
        {"class_weights": [1.0, 0.0, 1.0]},
        {"class_weights": [1.0, -1.0, 1.0]},
        {"class_weights": [1.0, math.nan, 1.0]},
        {"class_weights": [1.0, math.inf, 1.0]},
        {"class_weights": [[1.0, 1.0, 1.0]]},
        {"label_smoothing": 1.0},
        {"label_smoothing": -0.1},
        {"label_smoothing": math.nan},
        {"task_weights": {"categorial": 1.0}},
        {"task_weights": {"binary": -1.0}},
        {"task_weights": {"binary": math.nan}},
        {"labels": ()},
    ],
)
def test_unusable_settings_are_refused_at_once(settings):
    with pytest.raises(InputError):
        EmotionLoss(**settings)

import math

import pytest
import torch
from torch.utils import _pytree as pytree

import modalxai as mx
from modalxai.types import Targets, columns, select

LABELS = (
    mx.labels("anger", "joy")
    + mx.labels("tired", kind="binary")
    + mx.labels("valence", kind="dimensional")
)


def test_probabilities_follow_the_kind_of_each_column():
    found = mx.Prediction(torch.tensor([[math.log(3), 0.0, 0.0, -2.5]]), LABELS).probabilities()
    torch.testing.assert_close(found, torch.tensor([[0.75, 0.25, 0.5, -2.5]]))


def test_probabilities_leave_the_scores_alone():
    prediction = mx.Prediction(torch.ones(1, 4), LABELS)
    prediction.probabilities()
    assert prediction.scores.eq(1).all()


@pytest.mark.parametrize(
    "value",
    [
        mx.Spans(torch.zeros(1, 2), torch.ones(1, 2), "seconds", names=(("a", "b"),)),
        mx.Spans(
            torch.zeros(1, 2), torch.ones(1, 2), "seconds", torch.ones(1, 2), torch.ones(1, 2)
        ),
        mx.Features(
            torch.ones(1, 2, 3),
            torch.ones(1, 2, dtype=torch.bool),
            mx.Spans(torch.zeros(1, 2), torch.ones(1, 2), "seconds"),
        ),
        mx.Prediction(torch.ones(1, 4), LABELS),
        mx.Batch(
            audio={"x": torch.ones(1)},
            targets=Targets(torch.ones(1, 4), torch.ones(1, 4)),
            ids=("a",),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_are_pytree_nodes_that_come_back_whole(value):
    leaves, structure = pytree.tree_flatten(value)
    doubled = pytree.tree_unflatten(
        [leaf * 2 if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves], structure
    )
    assert type(doubled) is type(value)
    again, same = pytree.tree_flatten(doubled)
    assert same == structure
    assert all(
        torch.equal(a * 2, b) if isinstance(a, torch.Tensor) else a == b
        for a, b in zip(leaves, again, strict=True)
    )


def test_spans_without_frequency_have_tensor_leaves_only():
    leaves = pytree.tree_leaves(mx.Spans(torch.zeros(1, 2), torch.ones(1, 2), "seconds"))
    assert all(isinstance(leaf, torch.Tensor) for leaf in leaves)


def test_batch_survives_being_rebuilt_as_accelerate_and_the_trainer_do():
    batch = mx.Batch(
        audio={"x": torch.ones(2)},
        targets=Targets(torch.ones(2, 4), torch.ones(2, 4)),
        ids=("a", "b"),
    )
    rebuilt = type(batch)(dict(batch))
    assert rebuilt.ids == ("a", "b")
    assert list(rebuilt)[-1] == "ids"
    assert isinstance(batch.to("cpu"), mx.Batch)
    assert rebuilt.columns == {}


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        ((), "categorical"),
        (("a", "a"), "binary"),
        (("a", " "), "binary"),
        (("a",), "categorical"),
        (("a",), "odd"),
    ],
)
def test_labels_refuse_what_cannot_head_a_model(names, kind):
    with pytest.raises(mx.ModalxaiError, match="mend:"):
        mx.labels(*names, kind=kind)


def test_columns_and_select():
    assert columns(LABELS, "categorical") == [0, 1]
    assert select(LABELS, ["valence", "anger"]) == [3, 0]
    assert select(LABELS, None) == [0, 1, 2, 3]
    with pytest.raises(mx.ModalxaiError, match="unknown label"):
        select(LABELS, ["fear"])
    with pytest.raises(mx.ModalxaiError, match="no label"):
        select(LABELS, [])

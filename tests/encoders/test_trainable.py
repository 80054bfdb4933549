"""What learns, what is frozen, and what of it stays in eval."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.support.pretrained import SPEECH_KINDS, make, raws
from torch import nn

from modalxai.encoders import Wav2Vec2Encoder
from modalxai.encoders.trainable import PartlyTrainable
from modalxai.errors import InputError


class Stack(PartlyTrainable):
    """Two layers and a dropout between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.between, self.last = nn.Linear(2, 2), nn.Dropout(), nn.Linear(2, 2)
        self.head = nn.Sequential(nn.Linear(2, 1), nn.Dropout())


def learning(module: nn.Module) -> set[str]:
    return {name.partition(".")[0] for name, w in module.named_parameters() if w.requires_grad}


@pytest.mark.parametrize(
    ("trainable", "expected"),
    [
        ("none", set()),
        ("all", {"first", "last", "head"}),
        (0, set()),
        (1, {"last"}),
        (2, {"first", "last"}),
        ("top", {"head"}),
    ],
)
def test_what_learns_is_chosen(trainable: Any, expected: set[str]) -> None:
    stack = Stack()
    stack.train_only("all", [])
    stack.train_only(trainable, [stack.first, stack.last], {"top": stack.head.parameters()})
    assert learning(stack) == expected
    assert {name for name, part in stack.named_children() if part.training} == (
        expected | {"between"}
    )
    # A part without weights follows its parent.
    assert stack.head[1].training == ("head" in expected)
    assert not any(part.training for part in stack.eval().modules())


@pytest.mark.parametrize(
    "trainable", ["some", 3, -1, True, 1.0, None, "top", ["none"], torch.tensor(1), {}]
)
def test_an_unknown_choice_is_refused_and_changes_nothing(trainable: Any) -> None:
    stack = Stack()
    stack.train_only(1, [stack.first, stack.last])
    with pytest.raises(InputError, match="unknown choice of trainable") as caught:
        stack.train_only(trainable, [stack.first, stack.last])
    assert "0 to 2" in caught.value.expected
    assert learning(stack) == {"last"}


@pytest.mark.parametrize("kind", SPEECH_KINDS)
def test_all_but_the_front_end_learns(kind: str, tmp_path: Path) -> None:
    encoder = make(kind, trainable="transformer").train()
    front = dict(encoder._extractor.named_parameters())
    model = dict(encoder.model.named_parameters())
    assert front
    assert not any(weight.requires_grad for weight in front.values())
    assert sum(weight.requires_grad for weight in model.values()) == len(model) - len(front)
    assert not any(module.training for module in encoder._extractor.modules())
    # What is before the transformer learns, and so its dropout is on.
    assert encoder._transformer.dropout.training
    assert all(module.training for module in encoder._prenet.feature_projection.modules())
    encoder(encoder.collate(raws(kind))).values.square().sum().backward()
    assert all(weight.grad is None for weight in front.values())
    assert all((weight.grad is not None) == weight.requires_grad for weight in model.values())
    encoder.save_pretrained(tmp_path)
    again = type(encoder).from_pretrained(tmp_path)
    assert again.trainable == "transformer"
    assert not any(weight.requires_grad for weight in again._extractor.parameters())


def test_it_freezes_what_transformers_freezes() -> None:
    from tests.support.pretrained import SPEECH
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    encoder = make("wav2vec2", trainable="transformer")
    other = Wav2Vec2ForCTC(Wav2Vec2Config(**SPEECH, vocab_size=5))
    other.freeze_feature_encoder()
    theirs = {name for name, weight in other.wav2vec2.named_parameters() if weight.requires_grad}
    ours = {name for name, weight in encoder.model.named_parameters() if weight.requires_grad}
    assert ours == theirs


def test_more_layers_than_there_are() -> None:
    with pytest.raises(InputError, match="unknown choice of trainable") as caught:
        make("wav2vec2", trainable=3)
    assert "'transformer', 'lora' or a number of top layers from 0 to 2" in caught.value.expected
    assert isinstance(make("wav2vec2", trainable=2), Wav2Vec2Encoder)

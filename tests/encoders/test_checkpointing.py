"""Gradient checkpointing: the same gradients, layers run twice, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.support.pretrained import KINDS, clip, make, raws
from torch.utils.flop_counter import FlopCounterMode

import modalxai as mx
from modalxai.encoders import Lora, Wav2Vec2Encoder
from modalxai.errors import InputError
from modalxai.training import CachedEncoder
from modalxai.training.fingerprint import fingerprint

ABLE = [kind for kind in KINDS if kind != "albert"]  # transformers offers it for all but ALBERT


def layers(encoder: Any) -> list[Any]:
    for path in ("encoder.layers", "wrapped_encoder.layers", "transformer.layer", "encoder.layer"):
        try:
            return list(encoder.model.get_submodule(path))
        except AttributeError:
            continue
    return list(encoder.model.h)


def step(encoder: Any, kind: str) -> dict[str, torch.Tensor]:
    """One training step with its dropout, and the gradients."""
    inputs = encoder.collate(raws(kind))
    encoder.train()
    torch.manual_seed(7)
    values = encoder(inputs).values
    (values * torch.linspace(-1, 1, values.shape[-1])).sum().backward()
    gradients = {n: w.grad for n, w in encoder.named_parameters() if w.grad is not None}
    return {"values": values.detach(), **gradients}


CHOICES: list[tuple[Any, Any]] = [("all", "last"), (1, "last"), ("lora", "last")]
CHOICES += [("all", "weighted"), (1, "weighted"), ("lora", "weighted"), ("none", "weighted")]


@pytest.mark.parametrize(
    ("kind", "trainable", "mixing"),
    [
        (kind, *choice)
        for kind in ABLE
        if kind not in ("kobert", "hanbert", "electra")  # layers like klue's
        for choice in CHOICES
        # The layers of a GPT-2 are not known by number.
        if kind != "gpt2" or choice in [("all", "last"), ("lora", "last")]
    ],
)
def test_the_gradients_are_the_same(kind: str, trainable: Any, mixing: Any) -> None:
    settings = {"trainable": trainable, "layers": mixing}
    plain = step(make(kind, **settings), kind)
    again = step(make(kind, **settings, checkpointing=True), kind)
    assert plain.keys() == again.keys()
    assert len(plain) > 1
    for name, expected in plain.items():
        torch.testing.assert_close(again[name], expected, atol=1e-6, rtol=1e-6, msg=name)


@pytest.mark.parametrize(
    ("trainable", "runs"), [("all", [2, 2]), (1, [1, 2]), ("lora", [2, 2]), ("none", [1, 1])]
)
@pytest.mark.parametrize("kind", ["wav2vec2", "hubert", "speecht5-text", "distilbert", "klue"])
def test_layers_that_learn_run_twice(kind: str, trainable: Any, runs: list[int]) -> None:
    encoder = make(kind, trainable=trainable, layers="weighted", checkpointing=True)
    # Counted inside the layers, since what is called from outside is called once.
    counts = [0, 0]

    def note(index: int) -> Any:
        def count(*_: Any) -> None:
            counts[index] += 1

        return count

    for index, layer in enumerate(layers(encoder)):
        next(layer.children()).register_forward_hook(note(index))
    step(encoder, kind)
    assert counts == runs
    counts[:] = 0, 0
    encoder.eval()(encoder.collate(raws(kind))).values.sum().backward()
    assert counts == [1, 1]


def test_the_cost_is_one_more_forward_of_the_layers() -> None:
    def flops(checkpointing: bool, backward: bool) -> int:
        encoder = make("wav2vec2", checkpointing=checkpointing, spec_augment=False).train()
        with torch.no_grad():  # the front end has a graph of its own
            stem = encoder.stem(encoder.collate([clip(9000)]))
        with FlopCounterMode(display=False) as counter:
            values = encoder.tail(stem).values
            if backward:
                values.sum().backward()
        return int(counter.get_total_flops())

    encoder = make("wav2vec2").train()
    hidden = torch.zeros(1, int(encoder.frames.counts(torch.tensor([9000]))), 32)
    with FlopCounterMode(display=False) as counter:
        for layer in layers(encoder):
            layer(hidden)
    assert flops(True, False) == flops(False, False)
    assert flops(True, True) - flops(False, True) == counter.get_total_flops() > 0


def test_less_is_kept_for_the_backward_pass() -> None:
    def kept(checkpointing: bool) -> int:
        encoder = make("klue", checkpointing=checkpointing).train()
        inputs = encoder.collate(["It is good, it is good, it is"] * 8)
        total = 0

        def pack(value: torch.Tensor) -> torch.Tensor:
            nonlocal total
            total += value.numel()
            return value

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
            encoder(inputs)
        return total

    assert kept(True) < 0.5 * kept(False)


@pytest.mark.parametrize("kind", ABLE)
def test_nothing_changes_in_eval(kind: str, tmp_path: Path) -> None:
    plain = make(kind, trainable="none").eval()
    encoder = make(kind, trainable="none", checkpointing=True).eval()
    inputs = encoder.collate(raws(kind))
    found = encoder(inputs).values
    assert torch.equal(found, plain(inputs).values)
    # A frozen encoder asks for no gradient, whatever checkpointing does elsewhere.
    assert not found.requires_grad
    assert fingerprint(encoder) == fingerprint(plain)
    assert torch.equal(CachedEncoder(encoder, tmp_path)(inputs).values, found)


def test_an_explanation_does_not_change() -> None:
    shapley = []
    for checkpointing in (False, True):
        audio = make("wav2vec2", checkpointing=checkpointing)
        text = make("distilbert", checkpointing=checkpointing)
        torch.manual_seed(0)
        fusion = mx.plugins.create(
            "fusion",
            "shallow",
            dims={"audio": audio.dim, "text": text.dim},
            labels=mx.labels("anger", "joy"),
        )
        model = mx.EmotionModel({"audio": audio, "text": text}, fusion=fusion).train()
        samples = [{"id": "a", "audio": clip(7000), "text": "Well done."}]
        shapley.append(mx.explain(model, samples).shapley().totals)
        assert model.training
    assert torch.equal(*shapley)


def test_the_setting_is_saved_and_may_be_given_anew(tmp_path: Path) -> None:
    make("wav2vec2", trainable=Lora(rank=2), checkpointing=True).save_pretrained(tmp_path / "a")
    make("distilbert", checkpointing=True).save_pretrained(tmp_path / "b")
    for folder, kind in (("a", Wav2Vec2Encoder), ("b", mx.encoders.DistilBertEncoder)):
        again = kind.from_pretrained(tmp_path / folder)
        assert again.checkpointing
        assert all(layer.gradient_checkpointing for layer in layers(again))
        off = kind.from_pretrained(tmp_path / folder, checkpointing=False)
        assert not off.checkpointing
        assert not any(layer.gradient_checkpointing for layer in layers(off))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="AlbertModel cannot be run layer by layer again"):
        make("albert", checkpointing=True)
    with pytest.raises(InputError, match="checkpointing is a switch"):
        make("distilbert", checkpointing=2)

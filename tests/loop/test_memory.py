"""Memory is bounded on request, and where it ends smaller pieces are tried: the result is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.loop.loops import labelled
from tests.support.toys import MIXED, VectorEncoder, vector_model, vector_samples
from torch import nn
from torch.utils import _pytree as pytree

import modalxai as mx
from modalxai.corpus_run import explain_corpus
from modalxai.errors import InputError
from modalxai.games import Background
from modalxai.games.bank import Bank
from modalxai.model import EmotionModel

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def of(tree: Any) -> int:
    """Bytes of the tensors of a tree."""
    leaves = [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
    return sum(leaf.numel() * leaf.element_size() for leaf in leaves)


class Watch:
    """The most bytes that a call of the fusion read, and that a bank of rows held."""

    def __init__(self, model: EmotionModel, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read, self.held, self.calls = 0, 0, 0
        entrance = "join" if hasattr(model.fusion, "join") else "forward"
        call, add = getattr(model.fusion, entrance), Bank.add

        def reading(given: Any) -> Any:
            self.read, self.calls = max(self.read, of(given)), self.calls + 1
            return call(given)

        def adding(bank: Bank, keys: Any, rows: Any) -> None:
            add(bank, keys, rows)
            self.held = max(self.held, bank.bytes)

        monkeypatch.setattr(model.fusion, entrance, reading)
        monkeypatch.setattr(Bank, "add", adding)


def sequences() -> EmotionModel:
    torch.manual_seed(0)
    encoders = {name: VectorEncoder(4, 8) for name in "ab"}
    settings = {"dims": dict.fromkeys("ab", 8), "labels": MIXED, "width": 8, "heads": 2}
    return EmotionModel(encoders, mx.plugins.create("fusion", "fusion-transformer", **settings))


def long(count: int) -> list[dict]:
    draw = torch.Generator().manual_seed(1)
    return [
        {"id": str(row), **{name: torch.randn(6 + row % 2, 4, generator=draw) for name in "ab"}}
        for row in range(count)
    ]


@pytest.mark.parametrize("make", [lambda: vector_model(2), sequences], ids=["pooled", "sequences"])
def test_a_table_keeps_to_its_budget(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, samples = make().eval(), long(4)
    keep = {"a": torch.rand(12, 1, 4, 7) < 0.5, "b": torch.rand(1, 12, 4, 7) < 0.5}

    def asked(max_bytes: int | None) -> tuple[torch.Tensor, Watch]:
        with pytest.MonkeyPatch.context() as patch:
            game = model.game(samples, removal="zero", max_bytes=max_bytes)
            game = game.divide({"a": "item", "b": "item"})
            watch = Watch(model, patch)
            return game.value(keep), watch

    expected, free = asked(None)
    budget = free.held // 8
    found, watch = asked(budget)
    torch.testing.assert_close(found, expected, **CLOSE)
    assert watch.read <= budget < free.read
    assert watch.calls > 8 * free.calls
    # A question that fits, beside the one before it and the samples as they are.
    originals = model.game(samples, removal="zero")
    originals.value({name: torch.ones(4, 1).bool() for name in "ab"})
    least = originals._encodings["a"].source.bank.bytes
    assert watch.held <= 2 * budget + least < free.held
    one, smallest = asked(1)
    torch.testing.assert_close(one, expected, **CLOSE)
    assert smallest.read <= free.read / (12 * 12)  # a row at a time: of 4 samples, 144 coalitions


@pytest.mark.parametrize("removal", ["absent", "noise", "marginal"])
def test_an_explanation_under_a_budget_is_the_same(removal: str, tmp_path: Any) -> None:
    model, samples = vector_model(2), vector_samples(7, missing=True)
    settings = {"removal": removal, "draws": 1 if removal == "absent" else 3, "batch_size": 4}
    if removal == "marginal":
        settings["background"] = samples
    free = mx.explain(model, samples, **settings)
    bounded = mx.explain(model, samples, **settings, max_bytes=64)
    torch.testing.assert_close(bounded.draws, free.draws, **CLOSE)
    assert bounded.provenance == free.provenance, "how it was computed is no part of the result"
    run = explain_corpus(model, samples, tmp_path / "run", **settings, max_bytes=64)
    torch.testing.assert_close(run.explanation().draws, free.draws, **CLOSE)
    # A run may be gone on with under another budget.
    explain_corpus(model, samples, tmp_path / "run", **settings)


def test_a_budget_is_a_number_of_bytes() -> None:
    model, samples = vector_model(2), vector_samples(2)
    for wrong in (0, -1, 1.5, True, "1G"):
        with pytest.raises(InputError, match="max_bytes out of range"):
            mx.explain(model, samples, max_bytes=wrong)
        with pytest.raises(InputError, match="max_bytes out of range"):
            model.game(samples, max_bytes=wrong)


def short_of_memory(
    model: EmotionModel, where: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> list[int]:
    """A part of the model that has no room for more than some rows at once; what it was given."""
    owner: nn.Module = model.encoders["a"] if where in ("encoder", "remove") else model.fusion
    entrance = "forward" if where == "encoder" else where
    call, seen = getattr(owner, entrance), []

    def limited(*given: Any) -> Any:
        tensors = [leaf for leaf in pytree.tree_leaves(given) if isinstance(leaf, torch.Tensor)]
        seen.append(len(tensors[0]))
        if seen[-1] > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return call(*given)

    monkeypatch.setattr(owner, entrance, limited)
    return seen


ASKED: dict[str, Callable[[EmotionModel, list[dict]], torch.Tensor]] = {
    "explain": lambda model, samples: mx.explain(model, samples, batch_size=9).draws,
    "noise": lambda model, samples: mx.explain(model, samples, removal="noise", draws=2).draws,
    "lent": lambda model, samples: (
        mx.explain(model, samples, removal="marginal", background=samples, draws=3).draws
    ),
    "predict": lambda model, samples: model.predict(samples).scores,
    "mean": lambda model, samples: Background.of(model, samples).means["a"],
}


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("where", ["encoder", "project", "join"])
def test_memory_that_ends_anywhere_changes_no_number(
    where: str, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, samples = vector_model(2).train(), labelled(9)
    for sample in samples:
        sample["speaker"] = sample["id"]
    expected = ASKED[asked](model, samples)
    seen = short_of_memory(model, where, 2, monkeypatch)
    torch.testing.assert_close(ASKED[asked](model, samples), expected, **CLOSE)
    if asked != "mean" or where == "encoder":
        assert max(seen) > 2, "it never was too much, so nothing was tried"
    assert model.training


def test_memory_that_ends_while_removing_changes_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """There no part is cut into pieces: the halves of the whole batch are explained."""
    model, samples = vector_model(2), vector_samples(9, missing=True)
    expected = ASKED["noise"](model, samples)
    seen = short_of_memory(model, "remove", 2, monkeypatch)
    torch.testing.assert_close(ASKED["noise"](model, samples), expected, **CLOSE)
    assert max(seen) > 2


def test_halves_keep_what_belongs_to_each_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    model, samples = vector_model(2), labelled(9)
    for sample in samples:
        sample["speaker"] = f"speaker of {sample['id']}"
    expected = mx.explain(model, samples, removal="noise", batch_size=9)
    short_of_memory(model, "remove", 2, monkeypatch)
    found = mx.explain(model, samples, removal="noise", batch_size=9)
    assert (found.sample_ids, found.columns) == (expected.sample_ids, expected.columns)
    assert found.provenance == expected.provenance
    for one, two in zip(found.targets, expected.targets, strict=True):
        assert torch.equal(one, two)


def test_one_sample_that_is_too_much_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    model, samples = vector_model(2), vector_samples(3)
    short_of_memory(model, "encoder", 0, monkeypatch)
    for ask in (ASKED["explain"], ASKED["predict"]):
        with pytest.raises(torch.OutOfMemoryError):
            ask(model, samples)


@pytest.mark.gpu
def test_a_gpu_that_is_full_is_recovered_from() -> None:
    """A real one: a share of the device is left, and a fusion that needs more for all its rows."""
    model = sequences().to("cuda").eval()
    samples = long(512)
    expected = mx.explain(model, samples, batch_size=512).draws
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    mx.explain(model, samples, batch_size=512)
    peak, total = torch.cuda.max_memory_reserved(), torch.cuda.get_device_properties(0).total_memory
    held = torch.cuda.memory_reserved()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((held + (peak - held) * 0.6) / total)
    try:
        found = mx.explain(model, samples, batch_size=512).draws
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)

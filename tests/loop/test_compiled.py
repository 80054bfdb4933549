"""torch.compile and torch.export: the same scores, the same explanation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.support import tiny
from tests.support.toys import MIXED, speech_model, speech_samples, vector_model, vector_samples
from torch import Tensor, nn

import modalxai as mx
from modalxai.errors import InputError
from modalxai.model import EmotionModel


@pytest.fixture(autouse=True)
def fresh() -> None:
    torch.compiler.reset()


def over(name: str) -> EmotionModel:
    """One encoder by name, and texts beside it."""
    torch.manual_seed(0)
    parts = {"audio": tiny.encoder(name), "text": mx.encoders.ByteTextEncoder(8, layers=1, heads=2)}
    dims = {modality: part.dim for modality, part in parts.items()}
    fusion = mx.plugins.create("fusion", "shallow", dims=dims, labels=MIXED)
    return EmotionModel(parts, fusion).eval()


def plain(model: EmotionModel, samples: list[dict]) -> dict[str, dict[str, Tensor]]:
    """What ``forward`` reads of a batch, in plain dicts, as exported programs like it."""
    batch = model.collate(samples)
    return {name: dict(batch[name]) for name in model.modalities}


def check(compiled: Any, model: EmotionModel, samples: list[dict], exact: bool = True) -> None:
    tolerance = {"rtol": 0, "atol": 0} if exact else {"rtol": 1e-4, "atol": 1e-4}
    batch = model.collate(samples)
    with torch.no_grad():
        torch.testing.assert_close(compiled(batch).scores, model(batch).scores, **tolerance)
    found, expected = mx.explain(compiled, samples), mx.explain(model, samples)
    torch.testing.assert_close(found.draws, expected.draws, **tolerance)
    assert found.provenance == expected.provenance


@pytest.mark.full
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_model_says_the_same(backend: str) -> None:
    model, samples = speech_model().eval(), speech_samples(3)
    compiled = torch.compile(model, backend=backend)
    check(compiled, model, samples)
    game = compiled._orig_mod.game(samples)
    assert torch.equal(
        mx.attribution.GradCAM().attribute(game).totals,
        mx.attribution.GradCAM().attribute(model.game(samples)).totals,
    )


@pytest.mark.full
def test_the_inductor_says_the_same() -> None:
    model = speech_model().eval()
    check(torch.compile(model), model, speech_samples(3), exact=False)


def test_a_model_compiled_in_place_or_in_part_says_the_same() -> None:
    samples = vector_samples(5, missing=True)
    model = vector_model(2).eval()
    expected = mx.explain(model, samples).draws
    model.encoders["a"] = torch.compile(model.encoders["a"], backend="eager")
    assert torch.equal(mx.explain(model, samples).draws, expected)
    model.fusion.compile(backend="eager")
    model.compile(backend="eager")
    assert torch.equal(mx.explain(model, samples).draws, expected)
    with torch.no_grad():
        scores = model(model.collate(samples)).scores
    torch.testing.assert_close(scores, expected[0, -1], rtol=1e-5, atol=1e-5)


def test_a_model_compiled_for_training_is_not_compiled_again_by_explaining() -> None:
    model, samples = vector_model(2), vector_samples(4)
    graphs = []

    def count(graph: Any, _: Any) -> Any:
        graphs.append(graph)
        return graph

    compiled, batch = torch.compile(model.train(), backend=count), model.collate(samples)
    compiled(batch)
    first = len(graphs)
    for _ in range(3):
        mx.explain(compiled, samples)
        compiled(batch)
    assert len(graphs) == first > 0


EXPORTED = {
    "speech": lambda: (speech_model().eval(), speech_samples(4)),
    "wav2vec2": lambda: _with("wav2vec2"),
    "wav2vec2: layer norm": lambda: _with("wav2vec2: layer norm"),
    "speecht5-speech": lambda: _with("speecht5-speech"),
    "klue": lambda: _with("klue"),
}


def _with(name: str) -> tuple[EmotionModel, list[dict]]:
    raws = tiny.raws(name)
    texts = ("참 잘했다.", "no", "well, well")
    pairs = enumerate(zip(raws, texts, strict=True))
    samples = [{"id": str(place), "audio": raw, "text": text} for place, (raw, text) in pairs]
    return over(name), samples


@pytest.mark.full
@pytest.mark.parametrize("name", EXPORTED)
def test_an_exported_forward_says_the_same_for_any_batch(name: str) -> None:
    """wav2vec2's group norm sees real frames only, in a graph that knows no length."""
    model, samples = EXPORTED[name]()
    inputs = plain(model, samples)
    any_size = {
        modality: {
            key: dict.fromkeys(range(tensor.dim()), torch.export.Dim.AUTO)
            for key, tensor in parts.items()
        }
        for modality, parts in inputs.items()
    }
    program = torch.export.export(model, (inputs,), dynamic_shapes=(any_size,), strict=False)
    exported = program.module()
    for some in (samples, samples[:2], samples[1:]):
        with torch.no_grad():
            found, expected = exported(plain(model, some)), model(model.collate(some))
        assert found.labels == model.labels
        torch.testing.assert_close(found.scores, expected.scores, rtol=1e-5, atol=1e-5)
    # The program is a function of batches, no more: so it is explained as one.
    with pytest.raises(InputError, match="explain needs an EmotionModel"):
        mx.explain(exported, samples)
    game = mx.CallableGame(
        lambda some: exported(plain(model, some)),
        samples,
        labels=model.labels,
        modalities=model.modalities,
    )
    expected = mx.explain(model, samples, removal="absent").draws
    torch.testing.assert_close(game.explain().draws, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.full
def test_a_missing_clip_is_missing_in_the_graph_too() -> None:
    """A length of 0 leaves no frame and no NaN; a clip of one frame has one."""
    model, samples = over("wav2vec2"), _with("wav2vec2")[1]
    short = mx.Audio(torch.linspace(-1, 1, 400), 16_000)
    samples = [*samples, {"id": "none", "text": "hm"}, {"id": "short", "audio": short}]
    inputs = plain(model, samples)
    exported = torch.export.export(model, (inputs,), strict=False).module()
    with torch.no_grad():
        expected = model(model.collate(samples)).scores
        torch.testing.assert_close(exported(inputs).scores, expected, rtol=1e-5, atol=1e-5)


def test_the_front_end_that_a_graph_takes_is_the_other_one(monkeypatch: Any) -> None:
    """Padded rows at once and rows by length: the same frames, the same gradients."""
    encoder, raws = tiny.encoder("wav2vec2"), tiny.raws("wav2vec2")
    short = mx.Audio(torch.linspace(-1, 1, 400), 16_000)
    inputs = encoder.collate([*raws, None, short])
    inputs["waveform"][3:, 900:] = 5.0  # what lies in the padding is nobody's business
    norm = encoder.model.feature_extractor.conv_layers[0].layer_norm
    found = []
    for graph in (False, True):
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda graph=graph: graph)
        with torch.enable_grad():
            norm.weight.requires_grad_(True)
            stem = encoder.stem(inputs)
            (gradient,) = torch.autograd.grad(stem.values.square().sum(), norm.weight)
        found.append((stem.values.detach(), stem.mask, gradient))
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)
    assert found[0][1].sum(1)[3:].tolist() == [0, 1]


@pytest.mark.full
def test_gradients_go_through_the_compiled_front_end_too() -> None:
    """Training a compiled wav2vec2 with a group norm: one graph, the gradients of the plain one."""
    grads = []
    for backend in (None, "aot_eager"):
        model, samples = over("wav2vec2"), _with("wav2vec2")[1]
        called: nn.Module = model if backend is None else torch.compile(model, backend=backend)
        weight = model.encoders["audio"].model.feature_extractor.conv_layers[0].layer_norm.weight
        weight.requires_grad_(True).grad = None
        called(model.collate(samples)).scores.square().sum().backward()
        grads.append(weight.grad.clone())
        weight.grad = None
    torch.testing.assert_close(grads[1], grads[0], rtol=1e-3, atol=1e-6)
    assert grads[0].abs().max() > 0

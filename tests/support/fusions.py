"""Features, games and slow references for the tests of fusions; `modalxai.testing` has the rest.

Modalities a, b, c are vectors 5, 3 and 4 wide; each sample lacks another one, and one row has a
hole where a vector was removed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from toys import randomize, speech_model, speech_samples

import modalxai as mx
from modalxai.attribution import FeatureDifference, GradCAM
from modalxai.model import EmotionModel
from modalxai.types import Features, Spans

DIMS = {"a": 5, "b": 3, "c": 4}
LENGTHS = {"a": [5, 2, 0, 1], "b": [1, 3, 2, 0], "c": [0, 6, 1, 4]}
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
Make = Callable[[dict[str, int]], Any]


def dims_of(names: str) -> dict[str, int]:
    return {name: DIMS[name] for name in names}


def features_of(names: str, padding: int = 0, holes: bool = True) -> dict[str, Features]:
    found = {}
    for seed, name in enumerate(names):
        draw = torch.Generator().manual_seed(seed)
        lengths = LENGTHS[name]
        # Drawn at one length, so that padding changes no value.
        values = torch.randn(len(lengths), max(lengths), DIMS[name], generator=draw)
        mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
        if holes and name == "a":
            mask[0, 1] = mask[0, 4] = False
        values = torch.nn.functional.pad(values * mask[..., None], (0, 0, 0, padding))
        mask = torch.nn.functional.pad(mask, (0, padding))
        found[name] = _with_spans(values, mask)
    return found


def _with_spans(values: Tensor, mask: Tensor) -> Features:
    start = torch.arange(mask.shape[1]).expand(mask.shape).float()
    return Features(values, mask, Spans(start, start + mask, "index"))


def prepared(fusion: Any, scale: float = 0.5) -> Any:
    """Every parameter random, in eval mode."""
    with torch.no_grad():
        for seed, parameter in enumerate(fusion.parameters()):
            draw = torch.Generator().manual_seed(seed)
            parameter.copy_(torch.randn(parameter.shape, generator=draw) * scale)
    return fusion.eval()


def drops_in_training_only(fusion: Any, names: str) -> None:
    features = features_of(names)
    prepared(fusion)
    assert torch.equal(fusion(features).scores, fusion(features).scores)
    fusion.train()
    assert not torch.equal(fusion(features).scores, fusion(features).scores)


def attention_flops(fusion: Any, names: str) -> int:
    """FLOP of the batched products, which attention alone has, once the CPU's kernel is off."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        fusion(features_of(names))
    return counter.get_flop_counts()["Global"][torch.ops.aten.bmm]


def model_of(make: Make) -> EmotionModel:
    """mel-cnn and byte-text at their smallest, under this fusion."""
    base = speech_model()
    dims = {name: base.encoder(name).dim for name in base.modalities}
    model = EmotionModel(dict(base.encoders), make(dims))
    randomize(model.fusion)
    return model


def incomplete_samples() -> list[dict]:
    samples = speech_samples(4)
    samples[1]["text"], samples[2]["audio"] = None, None
    return samples


def shapley_values_are_efficient_and_a_missing_modality_gets_none(make: Make) -> None:
    explanation = mx.explain(
        model_of(make), incomplete_samples(), removal={"audio": "silence", "text": "mask"}
    )
    result = explanation.shapley(scale="raw")
    assert result.residual().abs().max() < 1e-4
    assert result.totals[1, :, 1].eq(0).all()
    assert result.totals[2, :, 0].eq(0).all()
    assert result.totals[0].ne(0).all()


def a_crossed_grid_is_brute_force(make: Make) -> None:
    model, samples = model_of(make), incomplete_samples()
    removal = {"audio": "silence", "text": "mask"}
    game = model.game(samples, removal=removal).divide({"audio": "segment", "text": "word"})
    draw = torch.Generator().manual_seed(5)
    keep = {
        name: torch.rand(count, *game.players[name].start.shape, generator=draw) > 0.5
        for name, count in (("audio", 3), ("text", 4))
    }
    keep["audio"][0], keep["text"][0] = False, False
    grid = game.value({"audio": keep["audio"][:, None], "text": keep["text"][None]})
    model.eval()
    for row, sample in enumerate(samples):
        batch = model.collate([sample])
        units = {
            name: model.encoder(name).units(batch[name], kind)
            for name, kind in (("audio", "segment"), ("text", "word"))
        }
        for v in range(3):
            for w in range(4):
                features = {}
                for name, place in (("audio", v), ("text", w)):
                    spans = units[name]
                    kept = keep[name][place, row, : spans.start.shape[1]][None]
                    inputs = model.encoder(name).remove(
                        batch[name], spans, kept, removal[name], seed=0
                    )
                    features[name] = model.encode_one(name, inputs)
                with torch.no_grad():
                    expected = model.fusion(features).scores[0]
                torch.testing.assert_close(grid[0, v, w, row], expected, **CLOSE)


def masked_outputs_are_brute_force(make: Make) -> None:
    model, samples = model_of(make), incomplete_samples()
    game = model.game(samples, removal="absent", level="features").divide(
        {"audio": "segment", "text": "word"}
    )
    draw = torch.Generator().manual_seed(6)
    keep = {
        name: torch.rand(3, *spans.start.shape, generator=draw) > 0.5
        for name, spans in game.players.items()
    }
    found = game.value(keep)
    for place in range(3):
        features = {name: game.encode(name, keep[name][place]) for name in keep}
        for row in range(len(samples)):
            alone = {
                name: _with_spans(one.values[row : row + 1], one.mask[row : row + 1])
                for name, one in features.items()
            }
            with torch.no_grad():
                expected = model.fusion.eval()(alone).scores[0]
            torch.testing.assert_close(found[0, place, row], expected, **CLOSE)


def gradients_explain_it(make: Make) -> None:
    game = model_of(make).game(incomplete_samples(), removal="absent")
    for attributor in (GradCAM(), FeatureDifference()):
        result = attributor.attribute(game)
        assert torch.isfinite(result.totals).all()
        assert result.totals[0].ne(0).any()
        assert result.totals[1, :, 1].eq(0).all()
        for name, units in result.units.items():
            assert units.masked_select(~result.mask[name][:, None, :]).eq(0).all()


GAMES = [
    shapley_values_are_efficient_and_a_missing_modality_gets_none,
    a_crossed_grid_is_brute_force,
    masked_outputs_are_brute_force,
    gradients_explain_it,
]


# Slow references: formulas on one sample at a time, python loops over heads and positions.


def real_sequence(fusion: Any, features: Features, name: str, row: int) -> list[Tensor | None]:
    """One sample's vectors, ``None`` for a removed one; an absent modality's missing vector."""
    mask = features.mask[row].tolist()
    if not any(mask):
        return [fusion.missing[name]]
    length = max(index for index, real in enumerate(mask) if real) + 1
    return [features.values[row, t] if mask[t] else None for t in range(length)]


def slow_convolution(layer: nn.Conv1d, sequence: list[Tensor | None]) -> list[Tensor | None]:
    (size,) = layer.kernel_size
    found: list[Tensor | None] = []
    for t, vector in enumerate(sequence):
        if vector is None:
            found.append(None)
            continue
        total = layer.bias
        for k in range(size):
            at = t + k - size // 2
            neighbour = sequence[at] if 0 <= at < len(sequence) else None
            if neighbour is not None:
                total = total + layer.weight[:, :, k] @ neighbour
        found.append(total)
    return found


def slow_norm(layer: nn.LayerNorm, vector: Tensor) -> Tensor:
    centred = vector - vector.sum() / len(vector)
    deviation = (centred.pow(2).sum() / len(vector) + layer.eps).sqrt()
    return centred / deviation * layer.weight + layer.bias


def slow_linear(weight: Tensor, bias: Tensor, vector: Tensor) -> Tensor:
    return torch.stack([(row * vector).sum() for row in weight]) + bias


def slow_attention(
    queries: list[Tensor], keys: list[Tensor], values: list[Tensor], heads: int
) -> list[Tensor]:
    """softmax(q k / sqrt(d)) v for each head and each query, heads concatenated."""
    size = len(queries[0]) // heads
    found = []
    for query in queries:
        parts = []
        for head in range(heads):
            own = slice(head * size, (head + 1) * size)
            weights = [((query[own] * key[own]).sum() / math.sqrt(size)).exp() for key in keys]
            mixed = sum(w * v[own] for w, v in zip(weights, values, strict=True))
            parts.append(mixed / sum(weights))
        found.append(torch.cat(parts))
    return found


def slow_feed(feed: nn.Sequential, activation: Callable[[Tensor], Tensor], vector: Tensor) -> Any:
    hidden = activation(slow_linear(feed[0].weight, feed[0].bias, vector))
    return slow_linear(feed[-1].weight, feed[-1].bias, hidden)


def slow_gelu(vector: Tensor) -> Tensor:
    return vector * 0.5 * (1 + torch.erf(vector / math.sqrt(2)))


def slow_self_block(block: Any, sequence: list[Tensor | None]) -> list[Tensor | None]:
    """x + MHA(LN(x)), then y + f(LN(y)) (Xiong et al. 2020, figure 1b)."""
    real = [vector for vector in sequence if vector is not None]
    width = len(real[0])
    weight, bias = block.query_key_value.weight, block.query_key_value.bias
    normed = [slow_norm(block.attention_norm, vector) for vector in real]
    query, key, value = (
        [slow_linear(weight[at : at + width], bias[at : at + width], v) for v in normed]
        for at in (0, width, 2 * width)
    )
    out = []
    for before, mixed in zip(real, slow_attention(query, key, value, block.heads), strict=True):
        middle = before + slow_linear(block.output.weight, block.output.bias, mixed)
        out.append(middle + slow_feed(block.feed, slow_gelu, slow_norm(block.feed_norm, middle)))
    remaining = iter(out)
    return [None if vector is None else next(remaining) for vector in sequence]


def slow_pool(pool: str, sequence: list[Tensor | None]) -> Tensor:
    real = [vector for vector in sequence if vector is not None]
    return real[-1] if pool == "last" else sum(real) / len(real)

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import HubertConfig, Wav2Vec2Config, WavLMConfig

from modalxai.encoders import Wav2Vec2Encoder
from modalxai.encoders.layers import LayerMix
from modalxai.types import Audio

TINY: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
STABLE = {"feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True}


@pytest.mark.parametrize(
    ("kind", "more"),
    [(Wav2Vec2Config, {}), (Wav2Vec2Config, STABLE), (HubertConfig, {}), (WavLMConfig, STABLE)],
)
@torch.no_grad()
def test_the_states_mixed_are_those_of_transformers(kind: Any, more: Any, tmp_path: Path) -> None:
    encoder = Wav2Vec2Encoder(kind(**TINY, **more), layers="weighted").eval()
    assert encoder.mix is not None
    encoder.mix.weights.copy_(torch.tensor([0.5, -1.0, 2.0]))
    inputs = encoder.collate([Audio(0.1 * torch.randn(6007), 16_000), None])
    output = encoder.model(inputs["waveform"][:1], output_hidden_states=True)
    # Where a norm follows the last layer, transformers 5 gives the state before it.
    states = [*output.hidden_states[:-1], output.last_hidden_state]
    shares = encoder.mix.weights.softmax(0)
    expected = sum(share * state for share, state in zip(shares, states, strict=True))
    found = encoder(inputs)
    torch.testing.assert_close(found.values[:1], expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(encoder.tail(encoder.stem(inputs)).values, found.values)
    encoder.save_pretrained(tmp_path)
    again = Wav2Vec2Encoder.from_pretrained(tmp_path).eval()
    assert torch.equal(again(inputs).values, found.values)


def test_equal_weights_at_the_start_and_a_gradient_for_each() -> None:
    mix = LayerMix(3)
    states = [torch.full((1, 1, 2), float(value)) for value in (1, 2, 6)]
    mixed = mix(states)
    assert mixed.tolist() == [[[3.0, 3.0]]]
    mixed.sum().backward()
    # d softmax: share * (state - mean), for both columns.
    assert mix.weights.grad is not None
    torch.testing.assert_close(mix.weights.grad, torch.tensor([-4.0, -2.0, 6.0]) / 3)

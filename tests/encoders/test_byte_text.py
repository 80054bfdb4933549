from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from modalxai.encoders.byte_text import BEGIN, FIRST_BYTE, MASK, ByteTextEncoder
from modalxai.errors import CheckpointError, InputError

KOREAN = "참 잘했다."


def by_hand(text: str) -> list[int]:
    return [BEGIN, *(FIRST_BYTE + byte for byte in text.encode())]


def test_ids_are_a_begin_mark_and_the_bytes() -> None:
    inputs = ByteTextEncoder(dim=8).collate([KOREAN, None])
    assert inputs["input_ids"][0].tolist() == by_hand(KOREAN)
    assert inputs["input_ids"][1].tolist() == [0] * len(by_hand(KOREAN))


@pytest.mark.parametrize(
    ("keep", "left"), [([False, True], " 잘했다."), ([True, False], "참 "), ([False, False], "")]
)
def test_empty_is_the_text_without_the_word(keep: list[bool], left: str) -> None:
    encoder = ByteTextEncoder(dim=8)
    inputs = encoder.collate([KOREAN])
    spans = encoder.units(inputs, "word")
    removed = encoder.remove(inputs, spans, torch.tensor([keep]), "empty", 0)
    assert removed["input_ids"][removed["attention_mask"]].tolist() == by_hand(left)


def test_mask_keeps_the_length_and_hides_every_byte_of_the_word() -> None:
    encoder = ByteTextEncoder(dim=8)
    inputs = encoder.collate([KOREAN])
    spans = encoder.units(inputs, "word")
    removed = encoder.remove(inputs, spans, torch.tensor([[False, True]]), "mask", 0)
    assert removed["input_ids"][0].tolist() == [BEGIN, MASK, MASK, MASK, *by_hand(KOREAN)[4:]]


def test_the_order_of_the_bytes_matters() -> None:
    encoder = ByteTextEncoder(dim=16).eval()
    values = encoder(encoder.collate(["ab", "ba"])).values
    assert (values[0, 0] - values[1, 0]).abs().max() > 1e-3


def test_a_text_that_is_too_long_is_refused() -> None:
    encoder = ByteTextEncoder(dim=8, max_bytes=3)
    encoder.collate(["참", "abc"])
    with pytest.raises(InputError, match="too long") as caught:
        encoder.collate(["a", "참!"])
    assert caught.value.index == 1


@pytest.mark.parametrize(
    "setting", [{"layers": 0}, {"max_bytes": 0}, {"dropout": 1.0}, {"heads": 3}, {"dropout": -0.1}]
)
def test_settings_out_of_range_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        ByteTextEncoder(**setting)


def test_it_comes_back_from_its_folder_exactly(tmp_path: Path) -> None:
    encoder = ByteTextEncoder(dim=8, layers=1, heads=2, max_bytes=40, dropout=0.3).eval()
    encoder.save_pretrained(tmp_path)
    before = torch.random.get_rng_state()
    again = ByteTextEncoder.from_pretrained(tmp_path).eval()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert again.settings() == encoder.settings()
    inputs = encoder.collate([KOREAN])
    assert torch.equal(again(inputs).values, encoder(inputs).values)
    assert again.collate == encoder.collate


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    ByteTextEncoder(dim=8).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "model.bin")
    with pytest.raises(CheckpointError, match=r"holds no model\.safetensors"):
        ByteTextEncoder.from_pretrained(tmp_path)


def test_every_weight_learns() -> None:
    encoder = ByteTextEncoder(dim=8)
    features = encoder(encoder.collate([KOREAN]))
    # Squared after a random scale, because the plain sum of a layer norm is constant.
    (features.values * torch.randn_like(features.values)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())


def test_the_flop_counter_sees_every_matrix_product() -> None:
    encoder = ByteTextEncoder(dim=8, layers=2, heads=2).eval()
    inputs = encoder.collate(["abc"])
    counter, plain = FlopCounterMode(display=False), sdpa_kernel(SDPBackend.MATH)
    with torch.no_grad(), plain, counter:
        encoder(inputs)
    units, dim = 4, 8
    products = units * dim * (3 * dim + dim + 4 * dim + 4 * dim) + 2 * units * units * dim
    assert counter.get_total_flops() == 2 * 2 * products


def test_importing_the_encoders_imports_no_transformers() -> None:
    code = (
        "import sys, modalxai.encoders as e; assert 'torch' not in sys.modules; "
        "e.ByteTextEncoder(dim=8); assert 'transformers' not in sys.modules; "
        "e.TransformersTextEncoder; assert 'transformers' not in sys.modules; "
        "print(sorted(dir(e)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "DistilBertEncoder" in ran.stdout

"""Vectors from elsewhere: handed on as they are, or refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modalxai.encoders import ByteTextEncoder, VectorEncoder
from modalxai.errors import CheckpointError, InputError


def test_they_are_handed_on_with_their_places() -> None:
    encoder = VectorEncoder(4, rate=50.0)
    rows = [torch.randn(3, 4), None, torch.randn(5, 4)]
    features = encoder(encoder.collate(rows))
    assert features.mask.sum(1).tolist() == [3, 0, 5]
    assert torch.equal(features.values[0, :3], rows[0])
    assert torch.equal(features.values[2], rows[2])
    assert features.values[0, 3:].eq(0).all()
    assert features.spans.unit == "seconds"
    assert features.spans.end[2].tolist() == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1])
    places = VectorEncoder(4)(encoder.collate(rows)).spans
    assert (places.unit, places.start[2].tolist()) == ("index", [0, 1, 2, 3, 4])


def test_halves_stay_halves_until_the_model_reads_them(tmp_path) -> None:
    path = tmp_path / "vectors.npy"
    values = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float16)
    np.save(path, values)
    encoder = VectorEncoder(4)
    inputs = encoder.collate([np.load(path, mmap_mode="r")])
    assert inputs["vectors"].dtype == torch.float16
    found = encoder(inputs).values
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found[0].numpy(), values.astype(np.float32))
    assert encoder.double()(inputs).values.dtype == torch.float64
    mixed = encoder.collate([values, torch.zeros(1, 4)])
    assert mixed["vectors"].dtype == torch.float32


@pytest.mark.parametrize(
    "wrong",
    [
        torch.zeros(0, 4),
        torch.zeros(3, 5),
        torch.zeros(4),
        torch.zeros(3, 4, dtype=torch.long),
        torch.full((3, 4), torch.nan),
        np.full((3, 4), 1e9).astype(np.float16),
        "vectors",
        [[1.0, 2.0, 3.0, 4.0]],
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_what_is_no_vectors_is_refused_with_its_place(wrong) -> None:
    with pytest.raises(InputError) as caught:
        VectorEncoder(4).collate([torch.zeros(2, 4), wrong])
    assert caught.value.index == 1


def test_a_folder_keeps_the_settings_and_another_encoder_s_is_refused(tmp_path) -> None:
    VectorEncoder(4, rate=50.0).save_pretrained(tmp_path / "own")
    back = VectorEncoder.from_pretrained(tmp_path / "own")
    assert (back.dim, back.rate) == (4, 50.0)
    ByteTextEncoder(dim=8).save_pretrained(tmp_path / "other")
    with pytest.raises(CheckpointError):
        VectorEncoder.from_pretrained(tmp_path / "other")
    (tmp_path / "own" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError):
        VectorEncoder.from_pretrained(tmp_path / "own")


@pytest.mark.parametrize(
    "settings", [{"dim": 0}, {"dim": True}, {"rate": 0}, {"rate": float("inf")}], ids=str
)
def test_settings_that_cannot_be_are_refused(settings) -> None:
    with pytest.raises(InputError):
        VectorEncoder(**settings)
    with pytest.raises(InputError):
        VectorEncoder().collate([])

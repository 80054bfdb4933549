# ruff: noqa: D103
"""The adapter keeps every promise of an encoder, though its upstream pads."""

from __future__ import annotations

import sys

import pytest
import s3prl_stand_in as stand_in
import torch

import modalxai as mx
from modalxai import testing
from modalxai.testing import examples


@pytest.fixture(autouse=True)
def s3prl(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("s3prl", "s3prl.nn"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    stand_in.install()


def make(**options: object) -> torch.nn.Module:
    from modalxai_s3prl.encoder import S3prlEncoder

    torch.manual_seed(0)
    return S3prlEncoder("hubert_base", segment_seconds=0.1, **options)


@pytest.mark.parametrize("trainable", [False, True])
def test_it_keeps_every_promise(trainable: bool) -> None:
    report = testing.check_encoder(make(trainable=trainable))
    report.raise_for_failures()
    assert len(report) >= 40, str(report)


def test_the_upstream_itself_does_not() -> None:
    upstream = stand_in.S3PRLUpstream("hubert_base").eval()
    wave = torch.randn(1, 1600)
    alone, _ = upstream(wave, torch.tensor([1600]))
    padded = torch.cat([wave, torch.zeros(1, 1600)], dim=1)
    together, _ = upstream(padded.repeat(2, 1), torch.tensor([1600, 3200]))
    assert (together[-1][0, :10] - alone[-1][0, :10]).abs().max() > 1e-3


def test_the_layers_are_weighed() -> None:
    encoder = make().eval()
    clip = examples.recordings()[0]
    inputs = encoder.collate([clip])
    layers, _ = encoder.upstream(inputs["waveform"], inputs["length"])
    with torch.no_grad():
        encoder.weights.copy_(torch.tensor([-99.0, 0.0, -99.0]))
    torch.testing.assert_close(encoder(inputs).values, layers[1][:, :37])


def test_a_frozen_upstream_stays_in_eval_and_gets_no_gradient() -> None:
    encoder = make().train()
    assert not encoder.upstream.training
    encoder(encoder.collate([*examples.recordings(), None])).values.sum().backward()
    assert encoder.weights.grad is not None
    assert all(weight.grad is None for weight in encoder.upstream.parameters())


def test_mistakes_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from modalxai_s3prl.encoder import S3prlEncoder

    with pytest.raises(mx.ModalxaiError, match="cannot be added up"):
        S3prlEncoder("uneven")
    monkeypatch.setitem(sys.modules, "s3prl.nn", None)
    with pytest.raises(mx.ModalxaiError, match="needs s3prl"):
        S3prlEncoder("hubert_base")

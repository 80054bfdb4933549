# ruff: noqa: D103
"""The adapter keeps every promise of an encoder but one, which has its reason."""

from __future__ import annotations

import sys

import pytest
import speechbrain_stand_in as stand_in
import torch

import modalxai as mx
from modalxai import testing
from modalxai.testing import examples

EXPECTED = {"float64 agrees": "SpeechBrain casts waveforms to float32"}


@pytest.fixture(autouse=True)
def speechbrain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("speechbrain", "speechbrain.inference", "speechbrain.inference.classifiers"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    stand_in.install()


def make(source: str = "speechbrain/ecapa", **options: object) -> torch.nn.Module:
    from modalxai_speechbrain.encoder import SpeechBrainEncoder

    torch.manual_seed(0)
    return SpeechBrainEncoder(source, segment_seconds=0.1, **options)


@pytest.mark.parametrize("source", ["speechbrain/ecapa", "speechbrain/flat"])
def test_it_keeps_every_promise_but_one(source: str) -> None:
    report = testing.check_encoder(make(source, trainable=True), expected=EXPECTED)
    report.raise_for_failures()
    assert len(report) >= 38, str(report)
    assert report.count("expected failure") == 1


def test_a_frozen_one_keeps_them_too() -> None:
    encoder = make().train()
    assert not encoder.classifier.training
    testing.check_encoder(encoder, expected=EXPECTED).raise_for_failures()


def test_one_vector_spans_the_clip() -> None:
    encoder = make().eval()
    clips = examples.recordings()
    features = encoder(encoder.collate([clips[0], None, clips[1]]))
    assert features.values.shape == (3, 1, 6)
    assert features.mask.tolist() == [[True], [False], [True]]
    torch.testing.assert_close(features.spans.end, torch.tensor([[0.37], [0.0], [0.7]]))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "speechbrain.inference.classifiers", None)
    with pytest.raises(mx.ModalxaiError, match="needs SpeechBrain"):
        make()

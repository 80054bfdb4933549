"""What explaining costs, in FLOPs of one plain prediction, at the sizes people use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import modalxai as mx
from modalxai.attribution import Explanation, GradCAM, ModalityAblation, ModalityShapley
from modalxai.types import Audio

SECONDS = 3
EMOTIONS = mx.labels("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
TEXT = "that was not what I meant"


@contextmanager
def countable() -> Iterator[None]:
    """The counter sees nothing of the fused inference path, nor of some attention kernels."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def flops(call: Callable[[], object]) -> int:
    with countable(), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def test_the_counter_agrees_with_a_count_by_hand() -> None:
    B, S, C, K, D, H = 2, 11, 3, 4, 8, 2
    convolution, linear = nn.Conv1d(C, D, K, stride=2), nn.Linear(D, 3 * D)
    x = torch.randn(B, C, S)

    def run() -> None:
        frames = convolution(x).transpose(1, 2)
        q, k, v = linear(frames).unflatten(-1, (3, H, D // H)).permute(2, 0, 3, 1, 4)
        F.scaled_dot_product_attention(q, k, v)

    T = (S - K) // 2 + 1
    by_hand = (
        2 * B * T * D * C * K  # one multiply and one add per tap, channel and output
        + 2 * B * T * D * 3 * D
        + 2 * (2 * B * H * T * T * (D // H))  # scores, then their weighted sum
    )
    assert flops(run) == by_hand
    with torch.no_grad():
        assert flops(run) == by_hand
    encoder = nn.TransformerEncoderLayer(D, H, 2 * D, batch_first=True).eval()
    tokens = torch.randn(B, T, D)
    layer = 2 * B * T * D * (3 * D + D + 2 * D + 2 * D) + 4 * B * T * T * D
    with torch.no_grad():
        assert flops(lambda: encoder(tokens)) == layer


@pytest.fixture(scope="module")
def model() -> mx.EmotionModel:
    """wav2vec2-base and DistilBERT, random weights; mean and CLS pooling, one hidden layer."""
    from modalxai.encoders import DistilBertEncoder, Wav2Vec2Encoder

    torch.manual_seed(0)
    with torch.no_grad():
        audio, text = Wav2Vec2Encoder(), DistilBertEncoder()
    assert (audio.dim, text.dim) == (768, 768)
    pools = {"audio": "mean", "text": "first"}
    fusion = mx.fusion.ShallowFusion({"audio": 768, "text": 768}, EMOTIONS, pool=pools)
    return mx.EmotionModel({"audio": audio, "text": text}, fusion).eval()


@pytest.fixture(scope="module")
def clips() -> list[dict]:
    draw = torch.Generator().manual_seed(0)
    return [
        {
            "id": f"u{index}",
            "audio": Audio(torch.randn(SECONDS * 16_000, generator=draw) * 0.1, 16_000),
            "text": TEXT,
        }
        for index in range(3)
    ]


@pytest.fixture(scope="module")
def plain(model: mx.EmotionModel, clips: list[dict]) -> int:
    """FLOPs of one plain prediction."""
    batch = model.collate(clips[:1])

    def predict() -> None:
        with torch.no_grad():
            model(batch)

    found = flops(predict)
    # science.md 5.1: 69.4 GFLOP for 5 s of audio, 2.04 for 24 tokens.
    assert 30e9 < found < 60e9
    return found


def everything(model: mx.EmotionModel, sample: dict, removal: object) -> None:
    """The table, Shapley, ablation, interactions, conflict and Grad-CAM, for all labels."""
    game = model.game(sample, removal=removal)
    explanation = Explanation.of(game)
    for found in (
        explanation.shapley(),
        explanation.ablation(),
        explanation.interactions(),
        ModalityShapley("contrast").attribute(game),
        ModalityAblation("probability").attribute(game),
        GradCAM().attribute(game),
    ):
        assert found.totals.shape == (1, len(EMOTIONS), 2)
        assert found.totals.isfinite().all()
    assert explanation.conflict().divergence.isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("removal", "most"),
    [("absent", 1.05), ({"audio": "silence", "text": "mask"}, 2.05)],
    ids=["absent", "mask and silence"],
)
def test_everything_about_one_clip(
    model: mx.EmotionModel, clips: list[dict], plain: int, removal: object, most: float
) -> None:
    ratio = flops(lambda: everything(model, clips[0], removal)) / plain
    print(f"\nexplaining one clip, {removal}: {ratio:.4f} of one prediction's FLOPs")
    assert 1 <= ratio <= most


@pytest.mark.slow
def test_a_corpus_shares_its_references(
    model: mx.EmotionModel, clips: list[dict], plain: int
) -> None:
    removal = {"audio": "silence", "text": "mask"}
    spent = flops(lambda: mx.explain(model, clips, removal=removal, batch_size=1))
    ratio = spent / (plain * len(clips))
    print(f"\nexplaining {len(clips)} clips of one length, {removal}: {ratio:.4f}")
    assert ratio == pytest.approx(1 + 1 / len(clips), abs=0.01)

"""Any encoder works with any fusion; every built-in is made from its name alone."""

import pytest
import torch

import modalxai as mx

LABELS = mx.labels("anger", "joy", "sad")
AUDIO, TEXT = ("mel-cnn", "mfcc", "waveform-cnn"), ("byte-text", "fasttext")
FUSIONS = mx.plugins.available("fusion")


def _samples():
    generator = torch.Generator().manual_seed(0)
    clips = [0.1 * torch.randn(length, generator=generator) for length in (4000, 16_000, 9000)]
    texts = ["참 잘했다", "well done, really", "네"]
    return [
        {"id": f"u{index}", "audio": mx.Audio(clip, 16_000), "text": text}
        for index, (clip, text) in enumerate(zip(clips, texts, strict=True))
    ] + [{"id": "silent", "audio": None, "text": "what?"}]


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("text", TEXT)
@pytest.mark.parametrize("audio", AUDIO)
def test_every_pair_is_explained_alone_as_in_a_batch(audio, text, fusion):
    encoders = {
        "audio": mx.plugins.create("encoders", audio, dim=16),
        "text": mx.plugins.create("encoders", text, dim=16),
    }
    dims = {"audio": 16, "text": 16}
    made = mx.plugins.create("fusion", fusion, dims=dims, labels=LABELS)
    model, samples = mx.EmotionModel(encoders, made), _samples()
    whole = mx.explain(model, samples)
    alone = mx.Explanation.merge([mx.explain(model, sample) for sample in samples])
    torch.testing.assert_close(alone.draws, whole.draws, rtol=1e-5, atol=1e-5)
    shapley = whole.shapley()
    assert shapley.residual().abs().max() < 1e-5
    assert shapley.totals[3, :, 0].eq(0).all()
    assert not whole.present[3, 0]
    found = mx.attribution.FeatureDifference().attribute(model.game(samples))
    assert found.unit_gap().abs().max() < 1e-5


@pytest.mark.parametrize("name", mx.plugins.available("encoders"))
def test_every_encoder_is_made_from_its_name_alone(name):
    encoder = mx.plugins.create("encoders", name)
    assert encoder.dim > 0
    missing = encoder.collate([None, None])
    with torch.no_grad():
        features = encoder.eval()(missing)
    assert features.values.shape[::2] == (2, encoder.dim)
    assert features.values.eq(0).all()
    assert not features.mask.any()

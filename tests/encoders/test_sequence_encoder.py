"""Any encoder followed by layers over time, and pre-trained models with fewer layers."""

from __future__ import annotations

from pathlib import Path

import pretrained
import pytest
import torch

import modalxai as mx
from modalxai.encoders import MfccEncoder, SequenceEncoder, shorten
from modalxai.encoders.sequence import SequenceLayers
from modalxai.errors import CheckpointError, InputError
from modalxai.protocols import Removable

SHORT = [kind for kind in pretrained.KINDS if kind not in ("albert", "gpt2")]


def features(encoder, raws):
    with torch.no_grad():
        return encoder.eval()(encoder.collate(raws))


@pytest.mark.parametrize("sequence", ["none", "cnn-transformer", "attention-gru"])
@pytest.mark.parametrize("kind", ["kobert", "wav2vec2"])
def test_it_is_the_layers_over_the_encoders_vectors(kind, sequence, tmp_path: Path) -> None:
    inner = pretrained.make(kind, trainable="none")
    encoder = SequenceEncoder(inner, sequence, sequence_layers=2, heads=2, dim=6)
    raws = pretrained.raws(kind)
    before, found = features(inner, raws), features(encoder, raws)
    with torch.no_grad():
        expected = encoder.sequence(before.values, before.mask)
    assert torch.equal(found.values, expected)
    assert found.values.shape[-1] == encoder.dim == 6
    assert torch.equal(found.mask, before.mask)
    assert isinstance(encoder, Removable)
    assert encoder.removals == inner.removals
    encoder.train()
    assert not inner.model.training
    assert all(weight.requires_grad for weight in encoder.sequence.parameters())
    assert not any(weight.requires_grad for weight in inner.parameters())
    encoder.save_pretrained(tmp_path)
    state = torch.get_rng_state()
    again = SequenceEncoder.from_pretrained(tmp_path)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(features(again, raws).values, found.values)


def test_it_has_the_layers_of_the_small_encoders_option() -> None:
    small = MfccEncoder(dim=8, sequence="attention-gru", sequence_layers=2, heads=2)
    over = SequenceEncoder(MfccEncoder(dim=8), "attention-gru", 2, 2, dim=8)
    kinds = [type(layer) for layer in small.sequence.layers]
    assert [type(layer) for layer in over.sequence.layers] == kinds
    assert isinstance(over.sequence, SequenceLayers)


def test_a_model_with_it_is_saved_and_explained(tmp_path: Path) -> None:
    text = SequenceEncoder(pretrained.make("kobert"), "attention-gru", heads=2)
    audio = SequenceEncoder(MfccEncoder(dim=8), heads=2)
    dims = {"audio": audio.dim, "text": text.dim}
    labels = mx.labels("anger", "joy")
    fusion = mx.plugins.create("fusion", "fusion-transformer", dims=dims, labels=labels)
    model = mx.EmotionModel({"audio": audio, "text": text}, fusion)
    samples = [{"id": "u", "audio": pretrained.clip(9000), "text": "It is good, it is"}]
    found = mx.explain(model, samples, removal={"audio": "silence", "text": "mask"})
    assert found.shapley().residual().abs().max() < 1e-5
    model.save_pretrained(tmp_path)
    again = mx.EmotionModel.from_pretrained(tmp_path)
    assert torch.equal(again.predict(samples).scores, model.predict(samples).scores)


def test_a_folder_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    SequenceEncoder(MfccEncoder(dim=8), heads=2).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(path.read_text().replace('"heads": 2', '"head": 2'))
    with pytest.raises(CheckpointError, match="exactly the settings"):
        SequenceEncoder.from_pretrained(tmp_path)
    with pytest.raises(InputError, match="unknown sequence layers"):
        SequenceEncoder(sequence="rnn")


@pytest.mark.parametrize("layers", [0, 1])
@pytest.mark.parametrize("kind", SHORT)
def test_a_shortened_model_gives_what_its_lower_layers_gave(kind, layers, tmp_path: Path) -> None:
    encoder, raws = pretrained.make(kind), pretrained.raws(kind)
    if kind == "deberta" and not layers:
        before = features(encoder, raws)
        with pytest.raises(InputError, match="does not run with 0 layers"):
            shorten(encoder, 0)
        assert torch.equal(features(encoder, raws).values, before.values)
        return
    inputs, states = encoder.collate(raws), []
    stack = next(
        found
        for path in (
            "transformer.layer",
            "encoder.layer",
            "encoder.layers",
            "wrapped_encoder.layers",
        )
        if (found := dict(encoder.model.named_modules()).get(path)) is not None
    )
    hook = stack[layers].register_forward_pre_hook(
        lambda _, args, named: states.append(args[0] if args else named["hidden_states"]),
        with_kwargs=True,
    )
    features(encoder, raws)
    hook.remove()
    assert shorten(encoder, layers) is encoder
    with torch.no_grad():
        found = encoder(inputs)
    if "stable" not in kind and kind != "deberta":  # a norm or a mask comes after the last layer
        expected = states[0].masked_fill(~found.mask[..., None], 0)
        assert torch.allclose(found.values, expected, atol=1e-6)
    encoder.save_pretrained(tmp_path)
    again = type(encoder).from_pretrained(tmp_path)
    assert again.model.config.num_hidden_layers == layers
    assert torch.equal(features(again, raws).values, found.values)


def test_a_published_text_block_is_reachable() -> None:
    # KoBERT's embeddings, self-attention, a gated recurrent unit: a valence regressor.
    embeddings = shorten(pretrained.make("kobert", trainable="none"), 0)
    text = SequenceEncoder(embeddings, "attention-gru", sequence_layers=5, heads=2)
    assert len(text.sequence.blocks) == 5
    assert isinstance(text.sequence.gru, torch.nn.GRU)
    assert features(text, ["Well done."]).values.shape[-1] == text.dim


def test_what_cannot_be_shortened_is_said() -> None:
    with pytest.raises(InputError, match="layers out of range"):
        shorten(pretrained.make("klue"), 3)
    with pytest.raises(InputError, match="layers out of range"):
        shorten(pretrained.make("klue"), True)
    with pytest.raises(InputError, match="made for all its layers"):
        shorten(pretrained.make("klue", layers="weighted"), 1)
    with pytest.raises(InputError, match="not known by number"):
        shorten(pretrained.make("gpt2"), 1)

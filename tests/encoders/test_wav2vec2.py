from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    BertConfig,
    BertModel,
    HubertConfig,
    HubertForCTC,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    WavLMConfig,
    WavLMForCTC,
)

from modalxai import audio, masking
from modalxai.encoders.wav2vec2 import Wav2Vec2Encoder
from modalxai.errors import CheckpointError, InputError, RemovalError
from modalxai.types import Audio, Features, Spans

RATE = 16_000
TINY: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
LAYER = {"feat_extract_norm": "layer", "conv_bias": True}
STABLE = {**LAYER, "do_stable_layer_norm": True}
VARIANTS: dict[str, tuple[type, dict[str, Any]]] = {
    "wav2vec2 group": (Wav2Vec2Config, {}),
    "wav2vec2 layer": (Wav2Vec2Config, LAYER),
    "wav2vec2 layer, stable": (Wav2Vec2Config, STABLE),
    "hubert group": (HubertConfig, {}),
    "hubert layer, stable": (HubertConfig, STABLE),
    "wavlm group": (WavLMConfig, {}),
    "wavlm layer, stable": (WavLMConfig, STABLE),
}
GROUP = [name for name in VARIANTS if "group" in name]


def config(name: str = "wav2vec2 group", **more: Any) -> Any:
    kind, settings = VARIANTS[name]
    return kind(**TINY, **settings, **more)


def make(name: str = "wav2vec2 group", **settings: Any) -> Wav2Vec2Encoder:
    torch.manual_seed(0)
    return Wav2Vec2Encoder.from_config(config(name), **settings).eval()


def clip(samples: int, seed: int = 0) -> Audio:
    """Noise under a slow tremolo, so that no two stretches are alike."""
    generator = torch.Generator().manual_seed(seed)
    noise = 0.1 * torch.randn(samples, generator=generator)
    return Audio(noise * (1 + torch.sin(torch.arange(samples) / 900)), RATE)


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_one_clip_is_what_transformers_gives(name: str) -> None:
    encoder = make(name)
    wave = clip(9001).waveform
    theirs = Wav2Vec2FeatureExtractor()(wave.numpy(), sampling_rate=RATE, return_tensors="pt")
    expected = encoder.model(theirs["input_values"]).last_hidden_state
    features = encoder(encoder.collate([Audio(wave, RATE)]))
    assert features.values.shape == expected.shape
    assert relative(features.values, expected) < 1e-5
    assert features.mask.all()
    start, end = features.spans.start[0], features.spans.end[0]
    torch.testing.assert_close((start + end) / 2 * RATE, 320.0 * torch.arange(len(start)) + 200)
    assert end[-1] <= 9001 / RATE


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_a_clip_alone_is_its_row_of_a_batch(name: str) -> None:
    encoder = make(name)
    raws = [clip(6007, 1), None, clip(24_100, 2), clip(400, 3), clip(6007, 4), clip(6000, 5)]
    together = encoder(encoder.collate(raws))
    for row, raw in enumerate(raws):
        alone = encoder(encoder.collate([raw]))
        count = int(alone.mask.sum())
        assert int(together.mask[row].sum()) == count == (0 if raw is None else len_of(raw))
        assert together.values[row, count:].abs().sum() == 0
        assert bool(alone.values.isfinite().all())
        if raw is not None:
            assert relative(together.values[row, :count], alone.values[0, :count]) < 1e-5


def len_of(raw: Audio) -> int:
    return (len(raw.waveform) - 400) // 320 + 1


@pytest.mark.parametrize("name", GROUP)
@torch.no_grad()
def test_a_padded_run_of_a_group_norm_model_is_wrong(name: str) -> None:
    encoder = make(name)
    inputs = encoder.collate([clip(6007, 1), clip(24_100, 2)])
    seen = masking.from_lengths(inputs["length"], 24_100).long()
    padded = encoder.model(inputs["waveform"], attention_mask=seen).last_hidden_state
    alone = encoder(encoder.collate([clip(6007, 1)])).values[0]
    assert relative(padded[0, : len(alone)], alone) > 0.05


@pytest.mark.slow
@torch.no_grad()
def test_the_base_size_is_independent_of_the_batch() -> None:
    torch.manual_seed(0)
    encoder = Wav2Vec2Encoder().eval()
    raws = [clip(8000, 1), clip(32_000, 2)]
    together = encoder(encoder.collate(raws)).values
    for row, raw in enumerate(raws):
        alone = encoder(encoder.collate([raw])).values[0]
        assert relative(together[row, : len(alone)], alone) < 1e-5


@pytest.mark.parametrize("name", ["wav2vec2 layer", "wavlm layer, stable"])
@torch.no_grad()
def test_one_sample_reaches_the_frames_whose_field_it_lies_in(name: str) -> None:
    encoder = make(name)
    inputs = encoder.collate([clip(12_000)])
    before = encoder.stem(inputs).values[0]
    for at in (0, 399, 400, 6000, 11_919, 11_999):
        touched = inputs["waveform"].clone()
        touched[0, at] += 3
        after = encoder.stem({**inputs, "waveform": touched}).values[0]
        changed = (after - before).abs().amax(-1) > 0
        start = 320 * torch.arange(len(before))
        assert changed.tolist() == ((start <= at) & (at < start + 400)).tolist()


@pytest.mark.parametrize("name", ["wav2vec2 group", "hubert layer, stable"])
def test_nothing_flows_to_padding_or_from_it(name: str) -> None:
    encoder = make(name)
    inputs = encoder.collate([clip(6007), None, clip(12_100)])
    waveform = inputs["waveform"].requires_grad_()
    encoder({**inputs, "waveform": waveform}).values.square().sum().backward()
    assert waveform.grad is not None
    assert waveform.grad[0, :5000].abs().max() > 0
    assert waveform.grad[0, 6007:].abs().max() == 0
    assert waveform.grad[1].abs().max() == 0


@pytest.mark.parametrize("name", ["wav2vec2 group", "hubert group", "wavlm layer, stable"])
def test_forward_is_tail_of_stem_and_leaves_the_stem_as_it_was(name: str) -> None:
    encoder = make(name)
    inputs = encoder.collate([clip(6007), None])
    stem = encoder.stem(inputs)
    values = stem.values.detach().requires_grad_()
    staged = encoder.tail(Features(values, stem.mask, stem.spans))
    assert torch.equal(staged.values, encoder(inputs).values)
    assert torch.equal(values, stem.values)
    staged.values.square().sum().backward()
    assert values.grad is not None
    assert values.grad[0].abs().min() > 0
    assert values.grad[1].abs().max() == 0
    assert encoder.blank.shape == (stem.values.shape[-1],)


@torch.no_grad()
def test_the_learned_mask_is_what_transformers_puts_in_place() -> None:
    encoder = make()
    inputs = encoder.collate([clip(9001), None])
    # Frames whose centre lies in 0.1 s to 0.2 s: 1600 <= 320 i + 200 < 3200.
    # The missing clip's span, which cannot be right, marks nothing.
    units = Spans(torch.tensor([[0.1], [0.0]]), torch.tensor([[0.2], [9.0]]), "seconds")
    keep = torch.zeros(2, 1, dtype=torch.bool)
    masked = encoder.remove(inputs, units, keep, "learned-mask", 0)
    assert masked["blank"][0].nonzero().flatten().tolist() == [5, 6, 7, 8, 9]
    assert not masked["blank"][1].any()
    assert torch.equal(masked["waveform"], inputs["waveform"])
    assert not inputs["blank"].any()
    expected = encoder.model(
        inputs["waveform"][:1], mask_time_indices=masked["blank"][:1]
    ).last_hidden_state
    assert relative(encoder(masked).values[:1], expected) < 1e-5
    stem, whole = encoder.stem(masked).values[0], encoder.stem(inputs).values[0]
    assert torch.equal(stem[5:10], encoder.blank.expand(5, -1))
    assert torch.equal(stem[:5], whole[:5])
    assert torch.equal(stem[10:], whole[10:])


@torch.no_grad()
def test_masked_and_whole_rows_join_into_one_batch() -> None:
    encoder = make()
    short, long = encoder.collate([clip(6007)]), encoder.collate([clip(24_100)])
    units = encoder.units(short, "segment")
    gone = encoder.remove(short, units, torch.zeros_like(units.mask), "learned-mask", 0)
    joined = {key: masking.concatenate([gone[key], long[key]]) for key in long}
    together = encoder(joined).values
    alone = encoder(gone).values[0]
    assert relative(together[0, : len(alone)], alone) < 1e-5


def test_every_frame_can_be_removed_and_keeping_all_changes_nothing() -> None:
    encoder = make()
    inputs = encoder.collate([clip(9001, 1), None, clip(4000, 2)])
    before = {key: value.clone() for key, value in inputs.items()}
    for kind in ("segment", "frame"):
        units = encoder.units(inputs, kind)
        assert units.mask.any(1).tolist() == [True, False, True]
        assert units.start[:, 0].tolist() == [0, 0, 0]
        torch.testing.assert_close(units.end.amax(1) * RATE, inputs["length"].float())
        keep = torch.ones_like(units.mask)
        for how in encoder.removals:
            same = encoder.remove(inputs, units, keep, how, 0)
            assert all(torch.equal(same[key], before[key]) for key in before)
            gone = encoder.remove(inputs, units, ~keep, how, 0)
            assert gone.keys() == inputs.keys()
            features = encoder(gone)
            assert torch.equal(features.mask, encoder(inputs).mask)
            assert bool(features.values.isfinite().all())
        everything = encoder.remove(inputs, units, ~keep, "silence", 0)
        assert everything["waveform"].abs().max() == 0
        blanked = encoder.remove(inputs, units, ~keep, "learned-mask", 0)
        assert torch.equal(blanked["blank"], encoder(inputs).mask)
        one = keep.clone()
        one[0, 1] = False
        single = encoder.remove(inputs, units, one, "learned-mask", 0)["blank"]
        assert int(single.sum()) == (1 if kind == "frame" else 2)
    assert all(torch.equal(inputs[key], before[key]) for key in before)


def test_silence_is_zero_after_normalisation() -> None:
    encoder = make()
    loud = Audio(clip(9001).waveform + 0.3, RATE)  # an offset that normalisation takes away
    inputs = encoder.collate([loud])
    assert inputs["waveform"].mean().abs() < 1e-5
    assert float(inputs["waveform"].std()) == pytest.approx(1, rel=1e-3)
    units = Spans(torch.tensor([[0.1]]), torch.tensor([[0.3]]), "seconds")
    keep = torch.zeros(1, 1, dtype=torch.bool)
    silent = encoder.remove(inputs, units, keep, "silence", 0)["waveform"][0]
    assert silent[1641:4759].abs().max() == 0
    assert torch.equal(silent[4841:], inputs["waveform"][0, 4841:])


def test_wrong_removals_are_refused() -> None:
    encoder = make()
    inputs = encoder.collate([clip(8000)])
    units = encoder.units(inputs, "frame")
    keep = torch.ones_like(units.mask)
    with pytest.raises(RemovalError, match="unknown removal") as caught:
        encoder.remove(inputs, units, keep, "mask", 0)
    assert "learned-mask" in caught.value.expected
    with pytest.raises(RemovalError, match="unknown kind"):
        encoder.units(inputs, "token")
    for how in encoder.removals:
        for wrong in (keep.long(), keep[:, 1:], keep[0]):
            with pytest.raises(InputError, match="mask of the wrong"):
                encoder.remove(inputs, units, wrong, how, 0)


def test_the_collate_is_picklable_and_names_the_bad_row() -> None:
    collate = make().collate
    raws = [clip(9000), None]
    expected, found = collate(raws), pickle.loads(pickle.dumps(collate))(raws)
    assert len(pickle.dumps(collate)) < 1000
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert expected["blank"].shape == (2, 27)
    assert collate([None])["blank"].shape == (1, 1)
    with pytest.raises(InputError, match="shorter than one frame") as caught:
        collate([clip(400), clip(399)])
    assert caught.value.index == 1


def test_top_layers_learn_and_the_rest_stays_in_eval() -> None:
    encoder = make(trainable=1).train()
    inputs = encoder.collate([clip(6000), clip(7000)])
    encoder(inputs).values.square().sum().backward()
    learning = {name for name, weight in encoder.named_parameters() if weight.grad is not None}
    assert learning
    assert all(name.startswith("model.encoder.layers.1.") for name in learning)
    assert [layer.training for layer in encoder.model.encoder.layers] == [False, True]
    assert not encoder.model.encoder.dropout.training
    frozen = make(trainable="none").train()
    assert torch.equal(frozen(inputs).values, frozen.eval()(inputs).values)
    with pytest.raises(InputError, match="trainable"):
        make(trainable=3)


@pytest.mark.parametrize("name", ["wav2vec2 group", "wavlm layer, stable"])
def test_every_weight_gets_a_gradient_in_every_step(name: str) -> None:
    # Distributed training refuses weights without one, so layers must not be dropped at random.
    torch.manual_seed(0)
    encoder = Wav2Vec2Encoder(config(name, layerdrop=1.0)).train()
    encoder(encoder.collate([clip(6000), None])).values.square().sum().backward()
    assert [name for name, weight in encoder.named_parameters() if weight.grad is None] == []


def test_the_callers_config_is_not_changed() -> None:
    mine = config(layerdrop=0.5)
    Wav2Vec2Encoder(mine)
    assert mine.layerdrop == 0.5


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_saving_and_loading_is_exact(name: str, tmp_path: Path) -> None:
    encoder = make(name, trainable=1, normalize=False, segment_seconds=0.2, sample_rate=8000)
    encoder.save_pretrained(tmp_path)
    state = torch.get_rng_state()
    loaded = Wav2Vec2Encoder.from_pretrained(tmp_path).eval()
    assert torch.equal(torch.get_rng_state(), state)
    assert loaded.collate == encoder.collate
    assert (loaded.trainable, loaded.segment_seconds) == (1, 0.2)
    assert loaded.removals == encoder.removals
    raws = [clip(9000), None]
    assert torch.equal(loaded(loaded.collate(raws)).values, encoder(encoder.collate(raws)).values)
    other = Wav2Vec2Encoder.from_pretrained(tmp_path, trainable="none", normalize=True)
    assert not any(weight.requires_grad for weight in other.parameters())
    assert other.collate.normalize


CTC: dict[str, Any] = {
    "wav2vec2 group": Wav2Vec2ForCTC,
    "hubert group": HubertForCTC,
    "wavlm group": WavLMForCTC,
}


def ctc(name: str, folder: Path) -> tuple[Any, dict[str, Tensor]]:
    torch.manual_seed(0)
    model = CTC[name](config(name)).eval()
    model.save_pretrained(folder)
    return model, load_file(folder / "model.safetensors")


def rewrite(folder: Path, weights: dict[str, Tensor]) -> None:
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize("name", CTC)
def test_a_recogniser_loads_as_its_encoder_under_old_and_new_names(
    name: str, tmp_path: Path
) -> None:
    model, weights = ctc(name, tmp_path)
    for old in (False, True):
        if old:
            new = "parametrizations.weight.original"
            renamed = {
                key.replace(f"{new}0", "weight_g").replace(f"{new}1", "weight_v"): value
                for key, value in weights.items()
            }
            assert renamed.keys() != weights.keys()
            rewrite(tmp_path, renamed)
        loaded = Wav2Vec2Encoder.from_pretrained(tmp_path)
        expected = model.base_model.state_dict()
        found = loaded.model.state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in expected)
        assert "learned-mask" in loaded.removals
        assert loaded.collate.normalize  # no preprocessor_config.json
        assert loaded.frames.sample_rate == RATE


def test_without_a_trained_mask_vector_it_is_not_offered(tmp_path: Path) -> None:
    _, weights = ctc("hubert group", tmp_path)
    del weights["hubert.masked_spec_embed"]
    rewrite(tmp_path, weights)
    loaded = Wav2Vec2Encoder.from_pretrained(tmp_path).eval()
    assert loaded.removals == ("silence", "noise")
    inputs = loaded.collate([clip(6000)])
    units = loaded.units(inputs, "segment")
    with pytest.raises(RemovalError):
        loaded.remove(inputs, units, units.mask, "learned-mask", 0)
    assert loaded.blank.abs().max() == 0
    loaded.save_pretrained(tmp_path / "again")
    again = Wav2Vec2Encoder.from_pretrained(tmp_path / "again").eval()
    assert again.removals == ("silence", "noise")
    assert torch.equal(again(inputs).values, loaded(inputs).values)


@pytest.mark.parametrize("damage", ["missing", "left over", "shape", "garbage", "gone", "pickle"])
def test_damaged_weights_are_refused(damage: str, tmp_path: Path) -> None:
    model, weights = ctc("wav2vec2 group", tmp_path)
    key = "wav2vec2.encoder.layers.0.attention.q_proj.weight"
    if damage == "missing":
        rewrite(tmp_path, {name: value for name, value in weights.items() if name != key})
    elif damage == "left over":
        rewrite(tmp_path, weights | {key.replace(".0.", ".7."): weights[key].clone()})
    elif damage == "shape":
        rewrite(tmp_path, weights | {key: torch.zeros(3, 3)})
    elif damage == "garbage":
        (tmp_path / "model.safetensors").write_bytes(b"garbage")
    else:
        (tmp_path / "model.safetensors").unlink()
        if damage == "pickle":
            torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError) as caught:
        Wav2Vec2Encoder.from_pretrained(tmp_path)
    if damage == "pickle":
        assert "never read" in caught.value.got


def test_other_architectures_are_refused(tmp_path: Path) -> None:
    bert = BertConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=9
    )
    BertModel(bert).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="another architecture"):
        Wav2Vec2Encoder.from_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="another architecture"):
        Wav2Vec2Encoder(bert)
    with pytest.raises(CheckpointError, match="does not run"):
        Wav2Vec2Encoder(config(add_adapter=True))
    with pytest.raises(CheckpointError, match="does not run"):
        Wav2Vec2Encoder(config("hubert group", conv_pos_batch_norm=True))


def test_names_and_folders_that_are_not_there_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name in ("modalxai/there-is-no-such-model", tmp_path / "not" / "there", tmp_path):
        with pytest.raises(CheckpointError):
            Wav2Vec2Encoder.from_pretrained(name)


@pytest.mark.parametrize(
    ("file", "record"),
    [
        ("preprocessor_config.json", {"feature_extractor_type": "WhisperFeatureExtractor"}),
        ("preprocessor_config.json", None),
        ("modalxai.json", {"speed": 3}),
        ("modalxai.json", None),
        ("config.json", None),
    ],
)
def test_broken_settings_are_refused(file: str, record: Any, tmp_path: Path) -> None:
    make().save_pretrained(tmp_path)
    (tmp_path / file).write_text("{" if record is None else json.dumps(record))
    with pytest.raises(CheckpointError):
        Wav2Vec2Encoder.from_pretrained(tmp_path)


def test_preprocessing_is_read_from_a_processor_too(tmp_path: Path) -> None:
    make().save_pretrained(tmp_path)
    path = tmp_path / "preprocessor_config.json"
    found = json.loads(path.read_text()) | {"do_normalize": False, "sampling_rate": 8000}
    path.unlink()
    (tmp_path / "processor_config.json").write_text(json.dumps({"feature_extractor": found}))
    loaded = Wav2Vec2Encoder.from_pretrained(tmp_path)
    assert not loaded.collate.normalize
    assert loaded.frames.sample_rate == 8000


def test_half_precision_weights_run() -> None:
    encoder = make().bfloat16()
    with torch.no_grad():
        found = encoder(encoder.collate([clip(6000), None])).values
    assert found.dtype == torch.bfloat16
    assert bool(found.isfinite().all())


@torch.no_grad()
def test_real_recordings_encode(speech_data: Path) -> None:
    paths = sorted((speech_data / "korean_emotional_speech/audio").glob("*.flac"))[:2]
    encoder = make()
    inputs = encoder.collate([paths[0], audio.read(paths[1])])
    features = encoder(inputs)
    assert bool(features.values.isfinite().all())
    assert torch.equal(features.mask.sum(1), (inputs["length"] - 400) // 320 + 1)

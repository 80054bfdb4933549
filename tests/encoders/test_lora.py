"""Adapters: what learns, what is computed, and what is on disk."""

from __future__ import annotations

import copy
import importlib
import json
import re
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.support.pretrained import KINDS, SPEECH_KINDS, clip, make, raws, train
from torch import nn
from transformers import AutoModel, Wav2Vec2Model

import modalxai as mx
from modalxai.encoders import Lora, MelCnnEncoder, Wav2Vec2Encoder, lora
from modalxai.errors import CheckpointError, DependencyError, InputError, StaleGameError
from modalxai.training import CachedEncoder
from modalxai.training.fingerprint import fingerprint


def trained(kind: str, **settings: Any) -> Any:
    """An encoder whose adapters are no longer zero."""
    encoder = make(kind, **{"trainable": "lora", **settings})
    train(encoder, encoder.collate(raws(kind)))
    return encoder.eval()


def values(encoder: Any, kind: str) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = encoder(encoder.collate(raws(kind))).values
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_fresh_adapters_change_nothing_and_alone_learn(kind: str) -> None:
    plain = make(kind, trainable="none").eval()
    encoder = make(kind, trainable="lora")
    assert torch.equal(values(encoder.eval(), kind), values(plain, kind))
    before = {name: weight.clone() for name, weight in encoder.named_parameters()}
    train(encoder, encoder.collate(raws(kind)))
    adapters = {name for name in before if ".lora_" in name}
    assert adapters
    for name, weight in encoder.named_parameters():
        learns = name in adapters
        assert weight.requires_grad == learns
        assert (weight.grad is not None) == learns
        assert torch.equal(weight, before[name]) != learns, name
    assert not torch.equal(values(encoder.eval(), kind), values(plain, kind))


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_add_a_product_to_the_weights(kind: str) -> None:
    # The paper's formula, W + (alpha / rank) B A, written into the weights of a plain model.
    encoder = trained(kind, trainable=Lora(rank=3, alpha=7.5))
    plain = make(kind, trainable="none").eval()
    for path, layer in lora.adapted(encoder.model).items():
        delta = 7.5 / 3 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
        weight = plain.model.get_submodule(path).weight
        with torch.no_grad():
            weight += delta if isinstance(layer.base_layer, nn.Linear) else delta.T
    torch.testing.assert_close(values(encoder, kind), values(plain, kind), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_frozen_stays_in_eval(kind: str) -> None:
    encoder = make(kind, trainable=Lora(dropout=0.3)).train()
    for path, module in encoder.named_modules():
        weights = list(module.parameters())
        if weights and path:
            assert module.training == any(weight.requires_grad for weight in weights), path
    inside = [layer.lora_dropout["default"] for layer in lora.adapted(encoder.model).values()]
    assert all(dropout.training and dropout.p == 0.3 for dropout in inside)


@pytest.mark.parametrize("kind", KINDS)
def test_saving_and_loading_is_exact_and_leaves_no_trace(kind: str, tmp_path: Path) -> None:
    encoder = trained(kind, trainable=Lora(rank=2, alpha=3.0, dropout=0.1), layers="last")
    encoder.save_pretrained(tmp_path)
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*"))
    weights = [name for name in names if not name.endswith((".json", ".jinja", ".txt"))]
    assert weights == ["adapter/adapter_model.safetensors", "model.safetensors"]
    state = torch.get_rng_state()
    again = type(encoder).from_pretrained(tmp_path).eval()
    assert torch.equal(torch.get_rng_state(), state)
    assert (again.trainable, again.lora) == ("lora", encoder.lora)
    assert torch.equal(values(again, kind), values(encoder, kind))
    expected = encoder.state_dict()
    assert all(torch.equal(expected[name], w) for name, w in again.state_dict().items())
    learning = [name for name, weight in again.named_parameters() if weight.requires_grad]
    assert learning == [name for name in expected if ".lora_" in name]


@pytest.mark.parametrize("kind", ["wav2vec2", "wavlm", "kobert", "distilbert"])
def test_transformers_and_peft_read_what_is_saved(kind: str, tmp_path: Path) -> None:
    plain, encoder = make(kind, trainable="none").eval(), trained(kind)
    encoder.save_pretrained(tmp_path)
    base, report = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["unexpected_keys"]
    expected = plain.model.state_dict()
    for name, weight in base.state_dict().items():
        if "pooler" not in name:
            assert torch.equal(weight, expected[name]), name
    tuned = peft.PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
    inputs = encoder.collate(raws(kind)[:1])
    given = inputs["waveform"] if kind in SPEECH_KINDS else inputs["input_ids"]
    with torch.no_grad():
        hidden = tuned(given).last_hidden_state
        torch.testing.assert_close(encoder(inputs).values, hidden, atol=1e-5, rtol=1e-5)


def test_adapters_that_peft_trained_are_taken(tmp_path: Path) -> None:
    encoder = make("klue", trainable="none").eval()
    encoder.save_pretrained(tmp_path)
    config = peft.LoraConfig(r=5, lora_alpha=2, target_modules=["key"], init_lora_weights=False)
    tuned = peft.get_peft_model(
        AutoModel.from_pretrained(tmp_path, add_pooling_layer=False), config
    )
    tuned.save_pretrained(tmp_path / "adapter")
    own = tmp_path / "modalxai.json"
    own.write_text(json.dumps(json.loads(own.read_text()) | {"lora": True}))
    record = tmp_path / "adapter" / "adapter_config.json"
    usual = json.loads(record.read_text()) | {"init_lora_weights": True}
    record.write_text(json.dumps(usual))
    again = type(encoder).from_pretrained(tmp_path, trainable="none").eval()
    assert again.lora == Lora(5, 2, 0.0, ("key",))
    inputs = again.collate(["Well done."])
    with torch.no_grad():
        expected = tuned.eval()(inputs["input_ids"]).last_hidden_state
    torch.testing.assert_close(again(inputs).values, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("trainable", "learns"),
    [
        ("none", lambda name: False),
        ("all", lambda name: True),
        (1, lambda name: ".layers.1." in name),
        ("transformer", lambda name: "feature_extractor" not in name),
        ("lora", lambda name: ".lora_" in name),
        (Lora(rank=8), lambda name: ".lora_" in name),
    ],
)
def test_saved_adapters_count_whatever_learns(trainable: Any, learns: Any, tmp_path: Path) -> None:
    encoder = trained("wav2vec2")
    encoder.save_pretrained(tmp_path / "a")
    again = Wav2Vec2Encoder.from_pretrained(tmp_path / "a", trainable=trainable).eval()
    assert torch.equal(values(again, "wav2vec2"), values(encoder, "wav2vec2"))
    for name, weight in again.named_parameters():
        assert weight.requires_grad == learns(name), name
    again.save_pretrained(tmp_path / "b")
    third = Wav2Vec2Encoder.from_pretrained(tmp_path / "b").eval()
    assert third.trainable == again.trainable
    assert torch.equal(values(third, "wav2vec2"), values(encoder, "wav2vec2"))


def test_adapters_of_an_earlier_save_are_not_read(tmp_path: Path) -> None:
    trained("klue").save_pretrained(tmp_path)
    plain = make("klue", trainable="none").eval()
    plain.save_pretrained(tmp_path)
    again = type(plain).from_pretrained(tmp_path).eval()
    assert again.lora is None
    assert torch.equal(values(again, "klue"), values(plain, "klue"))


@pytest.mark.parametrize("kind", ["wav2vec2", "wavlm", "speecht5-text", "distilbert"])
def test_all_layers_are_weighted_with_adapters_inside(kind: str, tmp_path: Path) -> None:
    encoder = make(kind, trainable="lora", layers="weighted")
    inputs = encoder.collate(raws(kind))
    train(encoder, inputs)
    encoder.eval()
    assert encoder.mix.weights.requires_grad
    assert encoder.mix.weights.std() > 0
    merged = make(kind, trainable="none", layers="weighted").eval()
    merged.mix.load_state_dict(encoder.mix.state_dict())
    for path, layer in lora.adapted(encoder.model).items():
        with torch.no_grad():
            merged.model.get_submodule(path).weight += layer.get_delta_weight("default")
    torch.testing.assert_close(values(encoder, kind), values(merged, kind), atol=1e-5, rtol=1e-5)
    encoder.save_pretrained(tmp_path)
    again = type(encoder).from_pretrained(tmp_path).eval()
    assert torch.equal(values(again, kind), values(encoder, kind))


def emotion(audio: Any, text: Any) -> mx.EmotionModel:
    labels = mx.labels("anger", "joy")
    dims = {"audio": audio.dim, "text": text.dim}
    fusion = mx.plugins.create("fusion", "shallow", dims=dims, labels=labels)
    return mx.EmotionModel({"audio": audio, "text": text}, fusion=fusion)


SAMPLES = [{"id": "a", "audio": clip(7000), "text": "Well done."}, {"id": "b", "text": "No"}]


def test_a_model_of_encoders_with_adapters(tmp_path: Path) -> None:
    model = emotion(make("wav2vec2", trainable="lora"), make("distilbert", trainable=Lora(rank=2)))
    batch = model.collate(SAMPLES)
    model.train()
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(learning, lr=1.0)
    for _ in range(2):
        optimizer.zero_grad()
        model(batch).scores[:, 0].sum().backward()
        optimizer.step()
    for name, weight in model.encoders.named_parameters():
        assert ".lora_" in name or torch.equal(weight, before[f"encoders.{name}"])
    model.save_pretrained(tmp_path)
    again = mx.EmotionModel.from_pretrained(tmp_path)
    assert torch.equal(again.predict(SAMPLES).scores, model.predict(SAMPLES).scores)
    assert again.encoder("text").lora == Lora(2, 16.0, 0.0, ("q_lin", "v_lin"))
    # Transfer: into a model with the same adapters, and not into one with others.
    fresh = emotion(make("wav2vec2", 1, trainable="lora"), make("distilbert", 1))
    loaded = fresh.load_encoder("audio", tmp_path)
    assert any(".lora_" in name for name in loaded.names)
    kept = model.eval().encode(batch)["audio"].values
    assert torch.equal(fresh.eval().encode(batch)["audio"].values, kept)
    with pytest.raises(CheckpointError, match="DistilBertEncoder"):
        fresh.load_encoder("text", tmp_path)


def test_a_game_notices_that_an_adapter_changed() -> None:
    model = emotion(make("wav2vec2", trainable="lora"), make("distilbert"))
    game = model.game(SAMPLES)
    game.value({"audio": torch.tensor([[True], [True]]), "text": torch.tensor([[True], [True]])})
    adapter = next(iter(lora.weights(model.encoder("audio").model).values()))
    with torch.no_grad():
        adapter[0, 0] += 1
    with pytest.raises(StaleGameError):
        game.value(
            {"audio": torch.tensor([[True], [True]]), "text": torch.tensor([[True], [True]])}
        )


def test_adapters_are_part_of_a_cached_encoder(tmp_path: Path) -> None:
    encoder = trained("wav2vec2")
    with pytest.raises(InputError, match="learns"):
        CachedEncoder(encoder, tmp_path)
    encoder.requires_grad_(False)
    cached = CachedEncoder(encoder, tmp_path)
    inputs = cached.collate([clip(7000)])
    first = cached(inputs).values
    assert torch.equal(first, encoder(inputs).values)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1
    with torch.no_grad():
        list(lora.weights(encoder.model).values())[-1].mul_(3)
    again = cached(inputs).values
    assert torch.equal(again, encoder(inputs).values)
    assert not torch.equal(again, first)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2


def test_the_fingerprint_tells_the_strength_of_equal_adapters() -> None:
    prints = [
        fingerprint(make("wav2vec2", trainable=Lora(alpha=alpha)).eval()) for alpha in (16, 16, 8)
    ]
    assert prints[0] == prints[1] != prints[2]


def test_the_seed_decides_new_adapters_and_copies_are_apart() -> None:
    one, same, other = (make("klue", seed, trainable="lora") for seed in (0, 0, 1))
    state = one.state_dict()
    assert all(torch.equal(weight, state[name]) for name, weight in same.state_dict().items())
    name = next(name for name in state if "lora_A" in name)
    assert not torch.equal(other.state_dict()[name], state[name])
    twin = copy.deepcopy(one)
    train(twin, twin.collate(raws("klue")))
    assert torch.equal(one.state_dict()[name], state[name])
    assert not torch.equal(twin.state_dict()[name], state[name])
    one.load_state_dict(twin.state_dict(), strict=True)
    assert torch.equal(values(one.eval(), "klue"), values(twin.eval(), "klue"))


def test_adapters_in_a_model_taken_over_are_used() -> None:
    model = make("wav2vec2").model
    config = peft.LoraConfig(r=4, lora_alpha=4, target_modules=["k_proj"], init_lora_weights=True)
    peft.inject_adapter_in_model(config, model, adapter_name="mine")
    encoder = Wav2Vec2Encoder(model, trainable="lora")
    assert encoder.lora == Lora(4, 4, 0.0, ("k_proj",))
    learning = [name for name, weight in encoder.named_parameters() if weight.requires_grad]
    assert learning
    assert all("k_proj.lora_" in name and ".mine." in name for name in learning)


def test_targets_may_be_named() -> None:
    encoder = make("wav2vec2", trainable=Lora(targets=["out_proj", "layers.1.attention.k_proj"]))
    assert sorted(lora.adapted(encoder.model)) == [
        "encoder.layers.0.attention.out_proj",
        "encoder.layers.1.attention.k_proj",
        "encoder.layers.1.attention.out_proj",
    ]
    assert encoder.lora.targets == ("layers.1.attention.k_proj", "out_proj")


# What is refused.


@pytest.mark.parametrize(
    "settings",
    [
        {"rank": 0},
        {"rank": 2.0},
        {"rank": True},
        {"alpha": 0},
        {"alpha": float("nan")},
        {"alpha": float("inf")},
        {"dropout": 1.0},
        {"dropout": -0.1},
        {"dropout": "much"},
        {"targets": "q_proj"},
        {"targets": ()},
        {"targets": (1,)},
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"Lora: {next(iter(settings))}"):
        Lora(**settings)


@pytest.mark.parametrize(
    ("kind", "targets", "message"),
    [
        ("wav2vec2", ("q_proj", "q_lin"), "name no linear layer"),
        ("wav2vec2", ("proj",), "name no linear layer"),
        ("wav2vec2", ("layer_norm",), "name no linear layer"),
        ("wavlm", ("q_proj", "v_proj"), "never calls"),
        ("wavlm", ("out_proj", "output_dense"), "never calls"),
    ],
)
def test_targets_that_cannot_learn_are_refused(kind: str, targets: Any, message: str) -> None:
    model = make(kind).model
    before = [name for name, _ in model.named_modules()]
    with pytest.raises(InputError, match=message) as caught:
        Wav2Vec2Encoder(model, trainable=Lora(targets=targets))
    assert "targets" in caught.value.mend
    assert [name for name, _ in model.named_modules()] == before
    assert not any(module._forward_hooks for module in model.modules())


def test_an_attention_of_unknown_names_is_refused() -> None:
    from transformers import XLNetConfig

    config = XLNetConfig(vocab_size=300, d_model=8, n_layer=1, n_head=2, d_inner=16)
    with pytest.raises(InputError, match="not known by the names") as caught:
        mx.encoders.TransformersTextEncoder(config, trainable="lora")
    assert "targets" in caught.value.mend


def test_without_peft_the_mend_is_named(monkeypatch: Any, tmp_path: Path) -> None:
    encoder = trained("klue")
    encoder.save_pretrained(tmp_path)
    whole = importlib.import_module

    def absent(name: str, *rest: Any) -> Any:
        if name == "peft":
            raise ImportError("No module named 'peft'")
        return whole(name, *rest)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(DependencyError, match="peft") as caught:
        make("klue", trainable="lora")
    assert caught.value.mend == "pip install 'modalxai[lora]'"
    with pytest.raises(DependencyError, match="peft"):
        type(encoder).from_pretrained(tmp_path, trainable="none")
    make("klue", trainable="all", checkpointing=True)


def test_encoders_of_our_own_take_no_adapters() -> None:
    for trainable in ("lora", Lora(), "transformer"):
        with pytest.raises(InputError, match="unknown choice of trainable"):
            MelCnnEncoder(trainable=trainable)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="unknown choice of trainable") as caught:
        make("distilbert", trainable="transformer")
    assert "'lora'" in caught.value.expected


def test_other_adapters_than_the_saved_ones_are_refused(tmp_path: Path) -> None:
    encoder = trained("wav2vec2", trainable=Lora(rank=2))
    encoder.save_pretrained(tmp_path)
    for asked in (Lora(rank=4), Lora(2, 8.0), Lora(2, dropout=0.1), Lora(2, targets=("k_proj",))):
        with pytest.raises(InputError, match="already has other adapters") as caught:
            Wav2Vec2Encoder.from_pretrained(tmp_path, trainable=asked)
        assert repr(asked) in caught.value.got
    same = Lora(2, targets=("v_proj", "q_proj"))
    assert Wav2Vec2Encoder.from_pretrained(tmp_path, trainable=same).lora == encoder.lora


def edit(**changes: Any) -> Any:
    def write(folder: Path) -> None:
        path = folder / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return write


def reweigh(change: Any) -> Any:
    def write(folder: Path) -> None:
        path = folder / "adapter_model.safetensors"
        weights = load_file(path)
        change(weights)
        save_file(weights, path)

    return write


def pickled(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (edit(r=4), r"is \[8, 8\], not \[4, 8\]"),
        (edit(r=0), "rank out of range"),
        (edit(target_modules=["query"]), "left over"),
        (edit(target_modules=["query", "key"]), "missing"),
        (edit(target_modules=["q_proj"]), "name no linear layer"),
        (edit(target_modules=".*query"), "another kind"),
        (edit(use_dora=True), "another kind"),
        (edit(use_rslora=True), "another kind"),
        (edit(rank_pattern={"query": 2}), "another kind"),
        (edit(modules_to_save=["pooler"]), "another kind"),
        (edit(peft_type="IA3"), "another kind"),
        (edit(a_setting_to_come=True), "another kind"),
        (reweigh(lambda weights: weights.pop(next(iter(weights)))), "missing"),
        (reweigh(lambda weights: weights.update(more=torch.zeros(1))), "left over"),
        (pickled, "never read"),
        (
            lambda folder: (folder / "adapter_config.json").unlink(),
            "adapter_config.json is missing",
        ),
        (lambda folder: (folder / "adapter_config.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "adapter_config.json").write_text("{}"), "not what it should be"),
    ],
)
def test_damaged_adapters_are_refused(damage: Any, message: str, tmp_path: Path) -> None:
    encoder = trained("klue")
    encoder.save_pretrained(tmp_path)
    damage(tmp_path / "adapter")
    with pytest.raises(CheckpointError) as caught:
        type(encoder).from_pretrained(tmp_path)
    assert re.search(message, str(caught.value)), str(caught.value)


def test_what_cannot_be_saved_is_refused(tmp_path: Path) -> None:
    encoder = trained("klue")
    for layer in lora.adapted(encoder.model).values():
        layer.merge()
    with pytest.raises(InputError, match="merged"):
        encoder.save_pretrained(tmp_path)
    model = make("wav2vec2").model
    for name in ("one", "two"):
        config = peft.LoraConfig(r=4, target_modules=["k_proj"])
        model.add_adapter(config, adapter_name=name)
    with pytest.raises(InputError, match="several sets"):
        Wav2Vec2Encoder(model)
    other = make("wav2vec2").model
    peft.inject_adapter_in_model(
        peft.IA3Config(target_modules=["k_proj"], feedforward_modules=[]), other
    )
    with pytest.raises(InputError, match="another kind"):
        Wav2Vec2Encoder(other)


def test_a_whole_model_is_saved_with_its_adapters_by_name(tmp_path: Path) -> None:
    # add_adapter of transformers makes its own save_pretrained write the adapters alone.
    model = make("wav2vec2").model
    model.add_adapter(peft.LoraConfig(r=4, target_modules=["k_proj"]), adapter_name="mine")
    encoder = Wav2Vec2Encoder(model, trainable="lora")
    train(encoder, encoder.collate(raws("wav2vec2")))
    encoder.eval().save_pretrained(tmp_path)
    assert isinstance(AutoModel.from_pretrained(tmp_path), Wav2Vec2Model)
    again = Wav2Vec2Encoder.from_pretrained(tmp_path).eval()
    assert torch.equal(values(again, "wav2vec2"), values(encoder, "wav2vec2"))

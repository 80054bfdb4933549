from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import BertConfig, BertModel
from typer.testing import CliRunner

from modalxai import plugins
from modalxai.cli import app
from modalxai.encoders import KoBertEncoder
from modalxai.encoders.conversion import convert
from modalxai.errors import CheckpointError, PluginError

INDEX = "pytorch_model.bin.index.json"


@pytest.fixture
def weights(tmp_path: Path) -> dict[str, Tensor]:
    """A BERT whose weights lie in two pickles, and what they hold."""
    config = BertConfig(
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
    )
    BertModel(config).save_pretrained(tmp_path)
    found = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    names = sorted(found)
    places = {name: f"pytorch_model-{1 + at % 2:05}-of-00002.bin" for at, name in enumerate(names)}
    for place in set(places.values()):
        part = {name: found[name] for name in names if places[name] == place}
        torch.save(part, tmp_path / place)
    (tmp_path / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return found


def listing(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_several_files_become_one_and_stay_as_they_are(
    weights: dict[str, Tensor], tmp_path: Path
) -> None:
    before = listing(tmp_path)
    assert convert("klue", tmp_path) == tmp_path / "model.safetensors"
    after = load_file(tmp_path / "model.safetensors")
    assert after.keys() == weights.keys()
    assert all(torch.equal(after[name], weights[name]) for name in weights)
    assert listing(tmp_path).items() >= before.items()
    assert len(listing(tmp_path)) == len(before) + 1
    with pytest.raises(CheckpointError, match="there already"):
        convert("klue", tmp_path)


def test_what_several_files_lack_is_named(weights: dict[str, Tensor], tmp_path: Path) -> None:
    (tmp_path / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(CheckpointError, match=r"holds no pytorch_model-00002-of-00002\.bin"):
        convert("klue", tmp_path)
    for broken in ("{}", "[]", "{", '{"weight_map": 3}', '{"weight_map": {}}'):
        (tmp_path / INDEX).write_text(broken)
        with pytest.raises(CheckpointError):
            convert("klue", tmp_path)
    assert not (tmp_path / "model.safetensors").exists()


def test_an_index_does_not_lead_out_of_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    torch.save({"a": torch.zeros(1)}, tmp_path / "secret.bin")
    (folder / INDEX).write_text(json.dumps({"weight_map": {"a": "../secret.bin"}}))
    with pytest.raises(CheckpointError, match=r"holds no secret\.bin"):
        convert("klue", folder)


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("name", ["wav2vec2", "speecht5-speech", "kobert", "transformers-text"])
def test_no_encoder_runs_what_a_pickle_says(name: str, tmp_path: Path) -> None:
    mark = tmp_path / "was run"
    torch.save({"a": Evil(mark)}, tmp_path / "pytorch_model.bin")
    # Neither by the command nor by loading the folder.
    with pytest.raises(CheckpointError, match="is refused"):
        convert(name, tmp_path)
    with pytest.raises(CheckpointError, match="never read"):
        plugins.create("encoders", name, checkpoint=tmp_path)
    assert not mark.exists()
    assert not (tmp_path / "model.safetensors").exists()
    torch.load(tmp_path / "pytorch_model.bin", weights_only=False)
    assert mark.exists(), "the pickle does harm where it is run"


def test_the_model_of_another_encoder_is_refused(
    weights: dict[str, Tensor], tmp_path: Path
) -> None:
    for name in ("wav2vec2", "speecht5-speech", "distilbert"):
        with pytest.raises(CheckpointError, match="another architecture") as caught:
            convert(name, tmp_path)
        assert caught.value.got == "'bert'"
    with pytest.raises(CheckpointError, match="reads no model of transformers"):
        convert("fasttext", tmp_path)
    with pytest.raises(PluginError, match="no plugin 'kobret'"):
        convert("kobret", tmp_path)
    done = CliRunner().invoke(app, ["convert", "kobret", str(tmp_path)])
    assert done.exit_code == 2
    assert "did you mean 'kobert'" in done.stderr
    assert not (tmp_path / "model.safetensors").exists()
    # An old config.json does not say what it is.
    config = json.loads((tmp_path / "config.json").read_text())
    del config["model_type"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert convert("hanbert", tmp_path).is_file()


def test_the_command_is_named_for_the_users_own_classes_too(tmp_path: Path) -> None:
    class Mine(KoBertEncoder):
        pass

    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="never read") as caught:
        Mine.from_pretrained(tmp_path)
    assert f"modalxai convert kobert {tmp_path}" in caught.value.mend

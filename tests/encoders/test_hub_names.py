"""Names on the hub, served by a hub on this machine: what is asked for, and what never is."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from tests.encoders.test_bad_checkpoints import VOICE, WIDTH
from transformers import (
    DistilBertConfig,
    DistilBertModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    modeling_utils,
)
from transformers.utils import hub as transformers_hub

from modalxai.alignment import WordAligner
from modalxai.encoders import Wav2Vec2Encoder, text_checkpoint
from modalxai.errors import CheckpointError

NAME = "somebody/model"


def text(place: str | Path) -> Any:
    """Config and weights of a text model; its tokenizer comes by other paths of the hub."""
    return text_checkpoint.load_model(place, text_checkpoint.load_config(place))


LOADERS: dict[str, Any] = {
    "text": text,
    "wav2vec2": Wav2Vec2Encoder.from_pretrained,
    "aligner": WordAligner.from_pretrained,
}


class Hub(http.server.ThreadingHTTPServer):
    """Serves the files of a folder as those of one repository."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, list[str]()
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Hub

    def _answer(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        file = self.server.folder / self.path.partition("/resolve/main/")[2]
        content = file.read_bytes() if file.is_file() else b""
        self.send_response(200 if file.is_file() else 404)
        if not file.is_file():
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", f'"{file.name}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_GET = do_HEAD = do_POST = _answer  # noqa: N815 (the names that the server looks for)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    (tmp_path / "repository").mkdir()
    server = Hub(tmp_path / "repository")
    address = f"http://127.0.0.1:{server.server_port}"
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.delenv("DISABLE_SAFETENSORS_CONVERSION", raising=False)
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        address + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert not transformers_hub.is_offline_mode()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def publish(kind: str, folder: Path, pickled: bool) -> None:
    """A tiny checkpoint, its weights as safetensors or as a pickle alone."""
    model: Any
    if kind == "text":
        config: Any = DistilBertConfig(vocab_size=300, dim=32, hidden_dim=48, n_layers=1, n_heads=4)
        model = DistilBertModel(config)
    else:
        model = Wav2Vec2ForCTC(Wav2Vec2Config(**WIDTH, **VOICE, vocab_size=8))
        Wav2Vec2FeatureExtractor().save_pretrained(folder)
    model.save_pretrained(folder)
    if pickled:
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")


@pytest.mark.parametrize("kind", LOADERS)
def test_a_name_with_a_pickle_alone_is_refused_and_no_service_is_asked_to_convert_it(
    kind: str, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted: list[str] = []

    def convert(name: str, **_: object) -> None:
        converted.append(name)
        raise OSError("nobody converts")

    monkeypatch.setattr(modeling_utils, "auto_conversion", convert)
    publish(kind, hub.folder, pickled=True)
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin, which is never read") as caught:
        LOADERS[kind](NAME)
    assert "modalxai convert" in str(caught.value)
    assert "hf download somebody/model" in str(caught.value)
    assert converted == []
    # Whether there is a pickle is asked; the pickle itself is not.
    assert "HEAD /somebody/model/resolve/main/pytorch_model.bin" in hub.asked
    assert not [one for one in hub.asked if one.startswith("GET") and one.endswith(".bin")]


@pytest.mark.parametrize("kind", ["text", "wav2vec2"])
def test_a_name_with_safetensors_is_loaded(kind: str, hub: Hub) -> None:
    publish(kind, hub.folder, pickled=False)
    by_name = LOADERS[kind](NAME)
    by_folder = LOADERS[kind](hub.folder)
    for key, value in by_folder.state_dict().items():
        assert torch.equal(by_name.state_dict()[key], value), key


def test_without_a_network_the_name_or_the_network_is_to_blame(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for load in LOADERS.values():
        with pytest.raises(CheckpointError, match="network"):
            load(NAME)
    assert hub.asked == []

"""Keys of the user's: in no file, error, log or cache."""

from __future__ import annotations

import logging
import pickle
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from tests.safety.test_code import imports
from tests.support import endpoint_server as web
from toys import speech_model, speech_samples
from typer.testing import CliRunner

import modalxai as mx
from modalxai import foreign_errors, hub, plugins
from modalxai.cli import app
from modalxai.corpus_run import CorpusRun
from modalxai.encoders import text_checkpoint
from modalxai.errors import CheckpointError, ModalxaiError, RequestError
from modalxai.pretrained import require_safetensors

SECRETS = {
    "HF_TOKEN": "hf_CanaryOfTheHub0123456789",
    "HUGGING_FACE_HUB_TOKEN": "hf_CanaryOfTheHub0123456789-old",
    "OPENAI_API_KEY": "sk-CanaryOfTheServer0123456789",
    "MY_SERVER_KEY": "CanaryOfMyServer-0123456789",
    "AWS_SECRET_ACCESS_KEY": "CanaryOfTheBucket/0123456789",
    "DB_PASSWORD": "Canary of a door 0123456789",
}


@pytest.fixture(autouse=True)
def canaries(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def server() -> Iterator[web.Server]:
    with web.serving(web.says({"choices": [{"message": {"content": "well"}}]})) as found:
        yield found


def silent(*texts: str) -> None:
    """No text tells a key, nor a good part of one."""
    for text in texts:
        assert "Canary" not in text, text


def said(error: BaseException) -> str:
    parts = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
    return parts + repr(pickle.loads(pickle.dumps(error)))


def written(folder: Path) -> str:
    return "".join(
        path.read_bytes().decode("utf-8", "replace") + path.name
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    )


class Leaking(torch.utils.data.Dataset[Any]):
    """A user's dataset whose errors repeat a key, as those of storage clients do."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, place: int) -> Any:
        if place == 1:
            raise OSError(f"403 for key {SECRETS['AWS_SECRET_ACCESS_KEY']}")
        return speech_samples(3)[place]


def test_files_of_a_whole_session_hold_no_key(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    model = speech_model().eval()
    samples = [dict(sample, labels={"anger": 1}) for sample in speech_samples(3)]
    model.save_pretrained(tmp_path / "model")
    explanation = mx.explain(model, samples)
    explanation.save(tmp_path / "explanation")
    run = mx.explain_corpus(model, Leaking(), tmp_path / "run")
    (bad,) = run.quarantine()
    assert "***" in bad.reason
    mx.Report(explanation, repeats=10).save_html(tmp_path / "report.html")
    (tmp_path / "card.md").write_text(hub.model_card(model))
    cached = mx.training.CachedEncoder(model.encoder("text").requires_grad_(False), tmp_path / "c")
    cached(cached.collate(["so"]))
    done = CliRunner().invoke(app, ["report", str(tmp_path / "run")])
    out, err = capfd.readouterr()
    silent(written(tmp_path), done.output, out, err, caplog.text)
    assert CorpusRun(tmp_path / "run").complete


@pytest.mark.parametrize("group", ["translators", "transcribers"])
def test_asking_a_server_writes_no_key(
    group: str, server: web.Server, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)
    options: dict[str, Any] = {
        "base_url": server.url,
        "key_variable": "MY_SERVER_KEY",
        "model": "m",
    }
    if group == "translators":
        options |= {"source": "ko", "target": "en"}
    else:
        server.always = web.says({"text": "well"})
    part = plugins.create(group, "openai-compatible", **options)
    what = "translate" if group == "translators" else "transcribe"
    corpus = getattr(mx.datasets, f"{what}_corpus")
    samples = speech_samples(2)
    corpus(part, samples, cache=tmp_path / "cache")
    sent = [request.headers["authorization"] for request in server.requests]
    assert sent
    assert all(SECRETS["MY_SERVER_KEY"] in one for one in sent)
    out, err = capfd.readouterr()
    told = repr(part) + repr(vars(part)) + repr(getattr(part, "settings", None))
    silent(written(tmp_path), out, err, caplog.text, told)
    assert b"Canary" not in pickle.dumps(part)
    # OpenAI's own key stays at home.
    assert not any(SECRETS["OPENAI_API_KEY"] in str(request.headers) for request in server.requests)


class Refusing:
    """A hub that repeats what it was sent."""

    def __init__(self, secret: str) -> None:
        self.secret = secret

    def __getattr__(self, name: str) -> Any:
        def refuse(*_: Any, **__: Any) -> Any:
            try:
                raise ValueError(f"Illegal header value b'Bearer {self.secret}'")
            except ValueError as error:
                raise OSError(f"401 for {self.secret}") from error

        return refuse


@pytest.mark.parametrize("name", [*SECRETS, "given", "stored"])
def test_errors_of_the_hub_are_told_without_the_key(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = SECRETS.get(name, "CanaryOfAToken-0123456789")
    token = secret if name == "given" else None
    if name == "stored":
        monkeypatch.setattr(huggingface_hub, "get_token", lambda: secret)
    client = Refusing(secret)
    with pytest.raises(RequestError) as pushed:
        hub.push(speech_model().encoder("text"), "a/b", token=token, client=client)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", client.download)
    with pytest.raises(CheckpointError) as fetched:
        hub.fetch("a/b", token=token)
    silent(said(pushed.value), said(fetched.value))
    assert "***" in pushed.value.got
    if token is not None:
        return
    import transformers

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", client.download)
    monkeypatch.setattr(transformers.utils.hub, "cached_file", client.download)
    for load in (
        lambda: text_checkpoint.load_config("a/b"),
        lambda: plugins.create("encoders", "wav2vec2", checkpoint="a/b"),
        lambda: plugins.create("encoders", "distilbert", checkpoint="a/b"),
        lambda: require_safetensors("a/b"),
    ):
        with pytest.raises(ModalxaiError) as caught:
            load()
        silent(said(caught.value))


def test_a_harmless_cause_stays() -> None:
    error = OSError("no network")
    assert foreign_errors.cause(error) is error
    assert foreign_errors.told(error) == "OSError: no network"
    assert foreign_errors.cause(OSError(SECRETS["HF_TOKEN"])) is None
    # What is short is no key: every other word would be masked.
    assert foreign_errors.masked("a short one", "one") == "a short one"


def test_every_server_that_is_asked_is_asked_through_one_client() -> None:
    """So that there is one place where a key goes out, and one that cleans what comes back."""
    speakers = {
        "urllib.request",
        "http.client",
        "requests",
        "httpx",
        "aiohttp",
        "socket",
        "ftplib",
        "smtplib",
    }
    found = {file for file, name in imports() if name in speakers}
    assert found == {"src/modalxai/datasets/client.py"}
    readers = {file for file, name in imports() if name.startswith("huggingface_hub")}
    assert readers == {"src/modalxai/hub.py"}

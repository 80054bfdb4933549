"""Models on the hub: a stand-in for its client, hostile labels, and no network."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import torch
from toys import speech_model, speech_samples

import modalxai as mx
from modalxai import hub
from modalxai.errors import CheckpointError, InputError, RequestError

NAME = "somebody/model"
HOSTILE = [
    "<script>alert(1)</script>",
    "a | b\n| --- |",
    "```\n# heading",
    "[click](javascript:alert(1))",
    "![x](http://evil.example/x.png)",
    "---\nlicense: evil",
    "슬픔 😢",
    "\u202egnirts",
    "http://evil.example www.evil.example",
]


class Client:
    """What is used of ``HfApi``, noting what it is asked."""

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.files = dict(files or {})

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool, token: Any) -> None:
        self.calls.append(("create_repo", (repo_id, private, exist_ok, token)))

    def file_exists(self, repo_id: str, filename: str, *, revision: Any, token: Any) -> bool:
        return filename in self.files

    def upload_folder(
        self, *, repo_id: str, folder_path: str, commit_message: str, revision: Any, token: Any
    ) -> Any:
        self.calls.append(("upload_folder", (repo_id, commit_message, revision, token)))
        for path in Path(folder_path).rglob("*"):
            if path.is_file():
                self.files[path.relative_to(folder_path).as_posix()] = path.read_bytes()
        return SimpleNamespace(commit_url=f"hub:{repo_id}/commit/1")


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    found = Client()
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: found)
    return found


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``snapshot_download`` of what a client holds."""
    asked: list[Any] = []

    def serve(client: Client, folder: Path) -> list[Any]:
        def download(name: str, **settings: Any) -> str:
            asked.append((name, settings))
            for file, content in client.files.items():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (folder / file).write_bytes(content)
            return str(folder)

        monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
        return asked

    return serve


@pytest.fixture
def model() -> mx.EmotionModel:
    return speech_model().eval()


def test_what_is_pushed_comes_back_the_same(
    client: Client, served: Any, model: mx.EmotionModel, tmp_path: Path
) -> None:
    state = torch.get_rng_state()
    assert model.push_to_hub(NAME) == f"hub:{NAME}/commit/1"
    assert torch.equal(torch.get_rng_state(), state)
    asked = served(client, tmp_path / "cache")
    again = mx.EmotionModel.from_pretrained(NAME, revision="v1")
    samples = speech_samples()
    assert torch.equal(again.predict(samples).scores, model.predict(samples).scores)
    ((name, settings),) = asked
    assert (name, settings["revision"]) == (NAME, "v1")
    # Pickles and code stay where they are.
    assert {"*.bin", "*.pt", "*.pkl", "*.py"} <= set(settings["ignore_patterns"])


def test_nothing_but_weights_settings_and_a_card_is_uploaded(
    client: Client, model: mx.EmotionModel
) -> None:
    model.push_to_hub(NAME)
    kinds = {Path(name).suffix for name in client.files}
    assert kinds <= {".json", ".safetensors", ".md"}
    assert {"config.json", "README.md", "fusion/model.safetensors"} <= set(client.files)
    assert [name for name, _ in client.calls] == ["create_repo", "upload_folder"]


def test_a_repository_is_private_unless_asked_otherwise(
    client: Client, model: mx.EmotionModel
) -> None:
    model.push_to_hub(NAME, token="secret")
    model.push_to_hub(NAME, private=False, message="now", revision="next")
    made = [said for name, said in client.calls if name == "create_repo"]
    assert made == [(NAME, True, True, "secret"), (NAME, False, True, None)]
    sent = [said for name, said in client.calls if name == "upload_folder"]
    assert sent[1] == (NAME, "now", "next", None)


def test_a_card_that_somebody_edited_is_kept(client: Client, model: mx.EmotionModel) -> None:
    client.files["README.md"] = b"my own words"
    model.push_to_hub(NAME)
    assert client.files["README.md"] == b"my own words"
    model.push_to_hub(NAME, replace_card=True)
    assert b"library_name: modalxai" in client.files["README.md"]
    model.push_to_hub(NAME, card="# Mine\n", replace_card=True)
    assert client.files["README.md"] == b"# Mine\n"


def test_a_part_can_be_pushed_alone(model: mx.EmotionModel) -> None:
    client = Client()
    assert hub.push(model.encoder("text"), NAME, client=client) == f"hub:{NAME}/commit/1"
    assert set(client.files) == {"config.json", "model.safetensors"}


def test_a_part_that_writes_pickles_is_refused_before_anything_is_sent() -> None:
    class Careless:
        def save_pretrained(self, folder: Any) -> None:
            torch.save({}, Path(folder) / "weights.pt")

    client = Client()
    with pytest.raises(CheckpointError, match="wrote pickles"):
        hub.push(Careless(), NAME, client=client)
    assert not client.calls


def test_a_refusal_is_told_without_the_token(model: mx.EmotionModel) -> None:
    class Refusing(Client):
        def create_repo(self, repo_id: str, **settings: Any) -> None:
            raise PermissionError(f"401 for {settings['token']}")

    with pytest.raises(RequestError, match="nothing was uploaded") as caught:
        hub.push(model, NAME, token="hf_secret", client=Refusing())
    assert "401 for ***" in str(caught.value)
    assert "hf_secret" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["model", "a/b/c", "../model", "a/..", "a b/c", "/a/b", "a/b/", "", "a/-b"]
)
def test_what_is_no_name_is_refused(name: str, model: mx.EmotionModel) -> None:
    assert not hub.is_name(name)
    with pytest.raises(InputError, match="cannot be the name of a repository"):
        hub.push(model, name, client=Client())


def test_folders_are_folders(
    model: mx.EmotionModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> str:
        raise AssertionError("the hub was asked about a folder")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", never)
    monkeypatch.chdir(tmp_path)
    model.save_pretrained("runs/model")
    mx.EmotionModel.from_pretrained("runs/model")
    with pytest.raises(CheckpointError, match="is missing from"):
        mx.EmotionModel.from_pretrained(Path("runs/other"))
    with pytest.raises(CheckpointError, match="is missing from"):
        mx.EmotionModel.from_pretrained(tmp_path / "nothing")


def test_a_name_that_is_nowhere_says_both(monkeypatch: pytest.MonkeyPatch) -> None:
    # The tests run offline, so that the real client answers without a network.
    with pytest.raises(CheckpointError, match="neither a folder here nor a model") as caught:
        mx.EmotionModel.from_pretrained("nobody/nothing")
    assert "a name needs a network" in str(caught.value)


class Listening(http.server.BaseHTTPRequestHandler):
    """Notes every request that reaches this machine."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        self.send_response(404)
        self.end_headers()

    do_HEAD = do_POST = do_GET  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def listening() -> Iterator[Any]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listening)
    server.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()


def test_saving_loading_and_cards_ask_nobody(
    listening: Any, model: mx.EmotionModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{listening.server_port}"
    )
    model.save_pretrained(tmp_path)
    mx.EmotionModel.from_pretrained(tmp_path)
    hub.model_card(model)
    assert listening.asked == []


# The card.


def _report(model: mx.EmotionModel) -> mx.Report:
    samples = speech_samples(6)
    return mx.Report(mx.explain(model, samples), truth=None)


def test_a_card_says_what_the_model_is_and_what_it_listens_to(model: mx.EmotionModel) -> None:
    report = _report(model)
    card = hub.model_card(model, report, NAME, license="apache-2.0", languages=["ko", "en"])
    head, _, body = card.removeprefix("---\n").partition("\n---\n")
    assert "library_name: modalxai" in head
    assert "license: apache-2.0" in head
    assert "- ko" in head
    for part in ("MelCnnEncoder", "ByteTextEncoder", "ShallowFusion", "anger"):
        assert part in body
    assert f'mx.EmotionModel.from_pretrained("{NAME}")' in body
    rows = [line for line in body.splitlines() if line.startswith("| ")]
    for row in report.shares():
        assert any(line.startswith(f"| {hub.escape(row.label)} |") for line in rows)
    assert report.table() in body
    assert "What this does not say" in body
    with pytest.raises(InputError, match="plain words"):
        hub.model_card(model, license="mit\nevil: true")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(text: str) -> None:
    shown = hub.escape(text)
    assert "\n" not in shown
    left = {c for c in shown if c.isascii() and not c.isalnum()} - set(" &#;")
    assert not left
    import html

    assert html.unescape(shown) == "".join(c if c.isprintable() else " " for c in text)


def test_hostile_labels_make_a_card_of_the_same_shape(tmp_path: Path) -> None:
    dims = {"audio": 2, "text": 2}
    parts = {}
    for kind, names in {"plain": [f"label{i}" for i in range(9)], "hostile": HOSTILE}.items():
        fusion = mx.fusion.ShallowFusion(dims, mx.labels(*names), hidden=2)
        encoders = {name: SimpleNamespace(dim=2) for name in dims}
        model = SimpleNamespace(
            modalities=tuple(dims), labels=fusion.labels, encoders=encoders, fusion=fusion
        )
        rows = [
            SimpleNamespace(
                label=name, group="", n=3, flags=(name,), reason=name,
                share={"audio": 0.25, "text": float("nan")},
                low={"audio": 0.2, "text": float("nan")},
                high={"audio": 0.3, "text": float("nan")},
            )
            for name in names
        ]  # fmt: skip
        table = "\n".join(names)
        report = SimpleNamespace(shares=lambda rows=rows: rows, table=lambda table=table: table)
        parts[kind] = hub.model_card(model, report, NAME)
    tables = [
        [line.count("|") for line in card.partition("````")[0].splitlines() if line[:1] == "|"]
        for card in (parts["plain"].replace("```text", "````text"), parts["hostile"])
    ]
    assert tables[0] == tables[1]
    assert len(tables[0]) == 5 + 2 + len(HOSTILE)
    assert "25 % (20 to 30)" in parts["hostile"]
    # Whatever is not escaped stands inside the one block that is longer fenced than anything in it.
    outside = parts["hostile"].split("````")
    assert len(outside) == 3
    for bad in ("<script", "](javascript", "![x]", "license: evil", "\u202e"):
        assert bad not in outside[0] + outside[2]
    assert "\u202e" not in parts["hostile"]
    json.dumps(parts["hostile"])

"""No file that is loaded runs code: no pickle, no code of a checkpoint, no import by a config."""

from __future__ import annotations

import ast
import json
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.support import tiny
from toys import speech_model, speech_samples

import modalxai as mx
from modalxai import plugins, storage
from modalxai.alignment import WordAligner
from modalxai.corpus_run import CorpusRun
from modalxai.encoders import fasttext_files
from modalxai.encoders.conversion import convert
from modalxai.errors import CheckpointError, ModalxaiError, PluginError
from modalxai.training.progress import Progress

ROOT = Path(__file__).resolve().parents[2]
SOURCE = sorted((ROOT / "src" / "modalxai").rglob("*.py"))


class Evil:
    """Runs a command of the shell where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.mark}'",)


def loaders(folder: Path) -> dict[str, Callable[[], Any]]:
    """Everything that reads weights or results from a folder."""
    step = torch.nn.Linear(1, 1)
    found: dict[str, Callable[[], Any]] = {
        "model": lambda: mx.EmotionModel.from_pretrained(folder),
        "explanation": lambda: mx.Explanation.load(folder),
        "attribution": lambda: mx.types.Attribution.load(folder),
        "run": lambda: CorpusRun(folder).explanation(),
        "tensors": lambda: storage.read_tensors(folder / "model.safetensors"),
        "vectors": lambda: fasttext_files.read(folder / "model.bin"),
        "progress": lambda: Progress.begin(folder, step, torch.optim.SGD(step.parameters()), {}),
        "transfer": lambda: speech_model().load_encoder("audio", folder),
        "aligner": lambda: WordAligner.from_pretrained(folder),
    }
    for group in ("encoders", "fusion"):
        for name in plugins.available(group):
            if hasattr(plugins.load(group, name), "from_pretrained"):
                found[name] = lambda g=group, n=name: plugins.create(g, n, checkpoint=folder)
    for group in ("transcribers", "translators"):
        found[group] = lambda g=group: plugins.create(g, "transformers", checkpoint=folder)
    return found


CONFIGS = {
    "a model of transformers": {"model_type": "bert", "architectures": ["BertModel"]},
    "speech of transformers": {"model_type": "wav2vec2"},
    "one of ours": {"format": 1, "modalities": []},
}


@pytest.mark.parametrize("config", CONFIGS)
def test_a_pickle_is_executed_by_no_loader(config: str, tmp_path: Path) -> None:
    folder, mark = tmp_path / "downloaded", tmp_path / "was run"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIGS[config]))
    for name in ("pytorch_model.bin", "model.bin", "model.safetensors", "explanation.safetensors",
                 "adapter_model.bin", "training_args.bin", "weights.pt", "model.pkl"):  # fmt: skip
        torch.save({"a": Evil(mark)}, folder / name)
    for name in ("explanation.json", "attribution.json", "run.json", "progress.json"):
        (folder / name).write_text("{}")
    found = loaders(folder)
    assert len(found) > 25
    for load in found.values():
        with pytest.raises(ModalxaiError):
            load()
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError):
        convert("transformers-text", folder)
    assert not mark.exists()
    torch.load(folder / "pytorch_model.bin", weights_only=False)
    assert mark.exists(), "the pickle does harm where it is run"


@cache
def nodes() -> list[tuple[str, ast.AST]]:
    """Every node of the package's source, with its file."""
    return [
        (path.relative_to(ROOT).as_posix(), node)
        for path in SOURCE
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call | ast.Import | ast.ImportFrom)
    ]


@cache
def calls() -> list[tuple[str, str, ast.Call]]:
    """Every call: its file, the dotted name that is called, the call."""
    return [(f, dotted(node.func), node) for f, node in nodes() if isinstance(node, ast.Call)]


def dotted(node: ast.expr) -> str:
    """The name of what is called, "" for the part that is no name."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


@cache
def imports() -> list[tuple[str, str]]:
    """Every import: its file, and the module or the name in it."""
    found = []
    for file, node in nodes():
        if isinstance(node, ast.Import):
            found += [(file, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((file, node.module or ""))
            found += [(file, f"{node.module}.{alias.name}") for alias in node.names]
    return found


PICKLING = {"pickle", "cPickle", "dill", "joblib", "cloudpickle", "marshal", "shelve", "copyreg"}


def test_nothing_of_ours_is_written_or_read_as_a_pickle() -> None:
    found = {file for file, name in imports() if name.split(".")[0] in PICKLING}
    # In memory only: errors from one process of a recipe to another; whether a part can be pickled.
    inside = {"src/modalxai/recipes/workers.py"}
    assert {file for file in found if not file.startswith("src/modalxai/testing/")} == inside
    files = ("pickle.dump", "pickle.load", "pickle.Unpickler", "joblib.dump", "joblib.load")
    assert not [(file, name) for file, name, _ in calls() if name in files]
    loads = [(file, node) for file, name, node in calls() if name in ("torch.load", "load_state")]
    # One place reads a published pickle, tensors only; nothing writes any.
    assert [file for file, _ in loads] == ["src/modalxai/encoders/conversion.py"]
    for _, node in loads:
        (said,) = [word.value for word in node.keywords if word.arg == "weights_only"]
        assert isinstance(said, ast.Constant)
        assert said.value is True
    banned = {"torch.save", "torch.jit.save", "torch.jit.load", "torch.package.PackageExporter"}
    writers = [(file, name) for file, name, _ in calls() if name in banned]
    assert not writers
    for file, name, node in calls():
        if name in ("np.load", "numpy.load", "np.save", "numpy.save"):
            allows = [word for word in node.keywords if word.arg == "allow_pickle"]
            assert not allows, (file, name)


def test_what_we_write_holds_no_pickle(tmp_path: Path) -> None:
    samples = speech_samples(2)
    model = speech_model().eval()
    model.save_pretrained(tmp_path / "model")
    explanation = mx.explain(model, samples)
    explanation.save(tmp_path / "explanation")
    explanation.shapley().save(tmp_path / "attribution")
    mx.explain_corpus(model, samples, tmp_path / "run")
    cached = mx.training.CachedEncoder(model.encoder("text").requires_grad_(False), tmp_path / "c")
    cached(cached.collate(["so"]))
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    kinds = {path.suffix for path in written}
    assert kinds == {".json", ".safetensors", ".parquet"}
    for path in written:
        raw = path.read_bytes()
        # A pickle of protocol 2 or later starts with 0x80; torch's zip holds data.pkl.
        assert raw[:1] != b"\x80"
        assert b"data.pkl" not in raw


def test_no_code_is_built_or_fetched() -> None:
    banned = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "runpy.run_path"}
    assert not [(file, name) for file, name, _ in calls() if name in banned]
    for file, name, node in calls():
        for word in node.keywords:
            if word.arg == "shell":
                raise AssertionError(f"{file}: {name} through a shell")
            if word.arg == "trust_remote_code":
                assert isinstance(word.value, ast.Constant), (file, name)
                assert word.value.value is False, (file, name)
    # Classes that choose a class by a file's word are told not to take one from the file.
    choosers = (
        "AutoConfig", "AutoTokenizer", "AutoModel", "AutoModelForCTC", "AutoFeatureExtractor",
        "AutoProcessor", "AutoModelForSeq2SeqLM", "AutoModelForSpeechSeq2Seq",
    )  # fmt: skip
    ends = tuple(f"{one}.from_pretrained" for one in choosers)
    seen = [
        (file, node) for file, name, node in calls() if name in (*ends, "loader.from_pretrained")
    ]
    assert len(seen) >= 4
    for file, node in seen:
        assert "trust_remote_code" in {word.arg for word in node.keywords}, file


@pytest.mark.parametrize("name", ["transformers-text", "distilbert", "klue", "wav2vec2"])
def test_code_beside_a_checkpoint_is_never_imported(name: str, tmp_path: Path) -> None:
    folder, mark = tmp_path / "downloaded", tmp_path / "was run"
    folder.mkdir()
    write = {"distilbert": tiny._distilbert, "klue": tiny._klue, "wav2vec2": tiny._wav2vec2}
    write.get(name, tiny._electra)(folder)
    evil = f"open({str(mark)!r}, 'w').close()\nclass Evil: pass\n"
    (folder / "modeling_evil.py").write_text(evil)
    classes = ("AutoConfig", "AutoModel", "AutoTokenizer", "AutoFeatureExtractor", "AutoProcessor")
    maps = dict.fromkeys(classes, "modeling_evil.Evil")
    for path in (*folder.glob("*config.json"),):
        record = json.loads(path.read_text())
        record["auto_map"] = (
            maps if "token" not in path.name else {"AutoTokenizer": [None, "modeling_evil.Evil"]}
        )
        path.write_text(json.dumps(record))
    encoder = plugins.create("encoders", name, checkpoint=folder)
    assert not type(encoder).__name__.startswith("Evil")
    # An architecture that only that code knows is an error, and not a reason to run it.
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "evil"}))
    with pytest.raises(CheckpointError):
        plugins.create("encoders", name, checkpoint=folder)
    assert not mark.exists()
    assert not [module for module in sys.modules if "modeling_evil" in module]


@pytest.mark.parametrize("part", ["encoders/audio", "encoders/text", "fusion"])
@pytest.mark.parametrize(
    "named",
    [
        {"plugin": "evil", "package": "evil_package", "version": "1.0"},
        {"plugin": "evil_package:Evil", "package": "evil_package", "version": ""},
        {"plugin": "mel-cnn", "package": "evil_package", "version": "1.0"},
        {"plugin": "../evil_package", "package": "../evil_package", "version": "1"},
        {
            "plugin": "modalxai.encoders.mel_cnn:MelCnnEncoder",
            "package": "modalxai",
            "version": "1",
        },
        {"plugin": "os:system", "package": "os", "version": ""},
    ],
)
def test_a_config_imports_no_package_that_offers_no_such_plugin(
    named: dict[str, str], part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "was run"
    (tmp_path / "evil_package.py").write_text(f"open({str(mark)!r}, 'w')\nclass Evil: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    speech_model().save_pretrained(tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    record = json.loads(path.read_text())
    record["parts"][part] = named
    path.write_text(json.dumps(record))
    before = set(sys.modules)
    with pytest.raises(PluginError) as caught:
        mx.EmotionModel.from_pretrained(tmp_path / "model")
    assert named["package"] in str(caught.value)
    assert caught.value.mend
    assert not mark.exists()
    assert "evil_package" not in set(sys.modules) - before


def test_a_part_inside_a_part_imports_no_stranger_either(tmp_path: Path) -> None:
    inner = mx.encoders.ByteTextEncoder(dim=8, heads=2, layers=1)
    mx.encoders.SequenceEncoder(inner, heads=2, dim=8).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    record = json.loads(path.read_text())
    for name in ("evil_package:Evil", "os:system", "../evil"):
        path.write_text(json.dumps(record | {"encoder": name}))
        with pytest.raises(PluginError):
            mx.encoders.SequenceEncoder.from_pretrained(tmp_path)

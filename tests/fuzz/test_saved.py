"""Files that the library wrote, spoilt: refused by name, or loaded as what they say."""

from __future__ import annotations

import json
import shutil
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from tests.support import tiny
from tests.support.fuzzing import Judge, odd_json, spoilt
from toys import speech_model, speech_samples

import modalxai as mx
from modalxai import plugins, storage
from modalxai.corpus_run import CorpusRun, parquet
from modalxai.datasets.answers import Answers
from modalxai.encoders import fasttext_files
from modalxai.errors import CheckpointError, InputError, ModalxaiError
from modalxai.training import CachedEncoder
from modalxai.training.progress import Progress
from modalxai.types import Attribution

Judges = Callable[..., Judge]
SAMPLES = [dict(sample, labels={"anger": 1}) for sample in speech_samples()]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, an explanation, an attribution and a corpus run."""
    folder = tmp_path_factory.mktemp("made")
    torch.manual_seed(0)
    model = speech_model().eval()
    explanation = mx.explain(model, SAMPLES)
    model.save_pretrained(folder / "model")
    explanation.save(folder / "explanation")
    explanation.shapley().save(folder / "attribution")
    mx.explain_corpus(model, [*SAMPLES, {"id": "bad"}], folder / "run", chunk=3)
    return folder


def each(
    tries: Judge,
    path: Path,
    count: int,
    use: Callable[[], Any],
    legal: Callable[[Any], object] = lambda _: False,
    as_json: bool = False,
) -> None:
    """Try ``count`` spoilt contents of one file, and put the whole one back."""
    whole = path.read_bytes()
    use()  # whole, it is good
    changed = spoilt(whole, count, count)
    if as_json:
        texts = odd_json(json.loads(whole), count, count)
        changed = ((what, text.encode("utf-8", "surrogatepass")) for what, text in texts)
    for what, raw in changed:
        path.write_bytes(raw)
        tries(f"{path.name} {what}", use, legal)
    path.write_bytes(whole)


def same_json(path: Path, whole: dict[str, Any]) -> bool:
    return bool(json.loads(path.read_text(encoding="utf-8")) == whole)


@pytest.mark.parametrize(
    ("kind", "cls"), [("explanation", mx.Explanation), ("attribution", Attribution)]
)
def test_results(kind: str, cls: Any, made: Path, judge: Judges) -> None:
    path = made / kind / f"{kind}.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    with judge("explanation files", 130, made / kind) as tries:
        # What was written is sealed: whatever is not the same record is refused.
        each(tries, path, 70, lambda: cls.load(path.parent), as_json=True)
        each(tries, path, 36, lambda: cls.load(path.parent), lambda _: same_json(path, whole))
        each(tries, path.with_suffix(".safetensors"), 36, lambda: cls.load(path.parent))


def test_parts_of_a_corpus_run(made: Path, judge: Judges) -> None:
    folder = made / "run"
    run = CorpusRun(folder)
    whole = run.explanation()

    def use() -> mx.Explanation:
        return CorpusRun(folder).explanation()

    def equal(found: mx.Explanation) -> bool:
        """The same result: the byte that changed says nothing that is read."""
        return (
            found.sample_ids == whole.sample_ids
            and found.labels == whole.labels
            and found.columns == whole.columns
            and found.provenance == whole.provenance
            and torch.equal(found.draws, whole.draws)
            and torch.equal(found.targets.values, whole.targets.values)
            and torch.equal(found.targets.mask, whole.targets.mask)
        )

    with judge("Parquet parts", 130, folder) as tries:
        for part in run.parts:
            each(tries, part, 72, use, equal)


def test_one_bit_of_any_number(made: Path, judge: Judges) -> None:
    """Where numbers lie as they are, Parquet decodes a changed one as well as the right one."""
    folder = made / "run"
    path = CorpusRun(folder).parts[0]
    raw, tried = path.read_bytes(), 0
    scores = parquet.read(path).draws.flatten().tolist()
    with judge("bits of Parquet parts", 20, folder) as tries:
        for score in scores:
            at = raw.find(struct.pack("<f", score))
            if at >= 0:
                spoiled = bytearray(raw)
                spoiled[at + 1] ^= 16
                path.write_bytes(spoiled)
                tries(f"score {score}", lambda: CorpusRun(folder).explanation())
                tried += 1
        path.write_bytes(raw)
    assert tried > 20


def test_records_of_a_corpus_run(made: Path, judge: Judges) -> None:
    folder = made / "run"
    model = mx.EmotionModel.from_pretrained(made / "model").eval()

    def use() -> Any:
        run = CorpusRun(folder)
        return run.complete, run.summary(), run.quarantine()

    def resume() -> Any:
        return mx.explain_corpus(model, [*SAMPLES, {"id": "bad"}], folder, chunk=3)

    with judge("records of corpus runs", 130, folder) as tries:
        each(tries, folder / "run.json", 60, use, as_json=True)
        each(tries, folder / "run.json", 24, resume, as_json=True)
        (path,) = folder.glob("quarantine-*.jsonl")

        def told(_: Any) -> bool:
            lines = path.read_text(encoding="utf-8").splitlines()
            return all(
                set(json.loads(line)) == {"index", "id", "stage", "error", "reason"}
                for line in lines
            )

        each(tries, path, 24, use, told)
        each(tries, path, 48, use, told, as_json=True)


def predicted(folder: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = mx.EmotionModel.from_pretrained(folder)
    scores = model.predict(SAMPLES[:2]).scores
    if not scores.isfinite().all():
        with pytest.raises(ModalxaiError):
            mx.explain(model, SAMPLES[:2])
        raise InputError("not finite", expected="a", got="b", mend="c")
    return model, scores


def test_settings_of_models(made: Path, judge: Judges, tmp_path: Path) -> None:
    folder = made / "model"
    scores = predicted(folder)[1]

    def legal(found: Any, place: str) -> bool:
        """The same model, or one that is what its settings say and nothing else."""
        model, others = found
        if torch.equal(others, scores):
            return True
        model.save_pretrained(tmp_path / "again")
        again = json.loads((tmp_path / "again" / place).read_text(encoding="utf-8"))
        return bool(again == json.loads((folder / place).read_text(encoding="utf-8")))

    with judge("settings of models", 240, folder) as tries:
        for place in ("config.json", *(f"{part}/config.json" for part in PARTS)):
            for count, as_json in ((48, True), (24, False)):
                each(
                    tries,
                    folder / place,
                    count,
                    lambda: predicted(folder),
                    lambda found, place=place: legal(found, place),
                    as_json,
                )


PARTS = ("encoders/audio", "encoders/text", "fusion")


def header(path: Path) -> dict[str, tuple[Any, ...]]:
    """Names, types and shapes of a safetensors file, read without torch's loader."""
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        told = json.loads(file.read(size))
    return {
        name: (one["dtype"], tuple(one["shape"]))
        for name, one in told.items()
        if name != "__metadata__"
    }


def test_weights(made: Path, judge: Judges) -> None:
    folder = made / "model"
    with judge("weights", 120, folder) as tries:
        for part in PARTS:
            path = folder / part / "model.safetensors"
            whole = header(path)

            def legal(found: Any, path: Path = path, part: str = part, whole: Any = whole) -> bool:
                """Other values of the same tensors are other weights, which nobody can tell."""
                assert header(path) == whole
                inside = found[0].get_submodule(part.replace("/", "."))
                with safe_open(path, "np") as file:
                    return all(
                        np.array_equal(file.get_tensor(name), value.numpy(), equal_nan=True)
                        for name, value in inside.state_dict().items()
                    )

            each(tries, path, 48, lambda: predicted(folder), legal)


def test_published_folders(judge: Judges, tmp_path: Path) -> None:
    """Folders as transformers writes them: settings, tokenizers, preprocessing and weights."""
    shown = {"distilbert": tiny._distilbert, "wav2vec2": tiny._wav2vec2}
    raws = {"distilbert": ["no day", None], "wav2vec2": [*tiny.RECORDINGS[:1], None]}
    with judge("published folders", 110, tmp_path) as tries:
        for name, write in shown.items():
            folder = tmp_path / name
            write(folder)

            def use(name: str = name, folder: Path = folder) -> Any:
                encoder = plugins.create("encoders", name, checkpoint=folder).eval()
                with torch.no_grad():
                    found = encoder(encoder.collate(raws[name]))
                assert found.values.shape[-1] == encoder.dim
                return encoder, found

            whole = use()[1].values

            def legal(found: Any, folder: Path = folder, whole: torch.Tensor = whole) -> bool:
                """As before, or as other settings and weights say: transformers takes them."""
                values = found[1].values
                if values.shape == whole.shape and torch.equal(values, whole):
                    return True
                config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
                return isinstance(config["model_type"], str)

            for path in sorted(folder.iterdir()):
                if path.suffix == ".json":
                    each(tries, path, 16, use, legal, as_json=True)
                else:
                    each(tries, path, 20, use, legal)


def test_features_on_disk(judge: Judges, tmp_path: Path) -> None:
    """A spoilt row is told in a warning and encoded again: the values are those of the encoder."""
    text = mx.encoders.ByteTextEncoder(dim=8, heads=2, layers=1).requires_grad_(False)
    cached = CachedEncoder(text, tmp_path / "cache")
    inputs = cached.collate(["well"])
    right = text.eval()(inputs).values
    cached(inputs)
    (path,) = (tmp_path / "cache").rglob("*.safetensors")
    raw = path.read_bytes()
    with judge("features on disk", 72) as tries:
        for what, changed in spoilt(raw, 72, 21):
            path.write_bytes(changed)

            def use() -> torch.Tensor:
                with warnings.catch_warnings(record=True) as told:
                    warnings.simplefilter("always")
                    values = cached(inputs).values
                assert torch.equal(values, right)
                if any("encoded again" in str(one.message) for one in told):
                    raise CheckpointError("encoded again", expected="a", got="b", mend="c")
                return values

            tries(what, use, lambda found: torch.equal(found, right))


def test_kept_answers(judge: Judges, tmp_path: Path) -> None:
    answers = Answers(tmp_path, {"plugin": "x"})
    answers.write("ab12", "참 잘했다")
    (path,) = tmp_path.rglob("*.json")
    whole = json.loads(path.read_text(encoding="utf-8"))

    def use() -> Any:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            found = answers.read("ab12")
        assert (found is None) == any("asked again" in str(one.message) for one in told)
        if found is None:
            raise CheckpointError("asked again", expected="a", got="b", mend="c")
        return found

    with judge("kept answers", 60, tmp_path) as tries:
        for count, as_json in ((48, True), (24, False)):
            each(
                tries,
                path,
                count,
                use,
                lambda _: same_json(path, whole),
                as_json,
            )


def test_training_that_goes_on(judge: Judges, tmp_path: Path) -> None:
    step = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(step.parameters())
    step(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    Progress.begin(tmp_path, step, optimizer, {"seed": 0}).keep(0.5, 0.25)

    def use() -> Progress:
        other = torch.nn.Linear(3, 2)
        return Progress.begin(tmp_path, other, torch.optim.Adam(other.parameters()), {"seed": 0})

    headers = {path: header(path) for path in tmp_path.glob("*.safetensors")}

    def legal(found: Progress) -> bool:
        """What the record says; weights may be any that fit, as nobody can tell them apart."""
        assert (found.losses, found.scores, found.best) == ([0.5], [0.25], 0)
        assert {path: header(path) for path in headers} == headers
        with safe_open(tmp_path / "epoch-0.safetensors", "np") as file:
            return all(
                np.array_equal(file.get_tensor(f"weights/{name}"), value.numpy(), equal_nan=True)
                for name, value in found.step.state_dict().items()
            )

    with judge("records of training", 90, tmp_path) as tries:
        each(tries, tmp_path / "progress.json", 60, use, legal, as_json=True)
        for path in sorted(tmp_path.glob("*.safetensors")):
            each(tries, path, 24, use, legal)


@pytest.mark.parametrize("suffix", [".vec", ".bin"])
def test_word_vectors(suffix: str, judge: Judges, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".vec":
        path.write_text("3 2\n참 0.5 1\nwell 1 2\nno 3 4\n", encoding="utf-8")
    else:
        settings = struct.pack(
            "<2i12id", 793_712_314, 12, 2, 5, 5, 1, 5, 1, 2, 1, 3, 3, 6, 100, 1e-4
        )
        words = b"".join(word.encode() + b"\0" + struct.pack("<qb", 1, 0) for word in ("참", "no"))
        table = np.arange(10, dtype="<f4").tobytes()
        counts = struct.pack("<3i2q", 2, 2, 0, 2, 0)
        path.write_bytes(settings + counts + words + b"\0" + struct.pack("<2q", 5, 2) + table)

    def legal(found: fasttext_files.WordVectors) -> bool:
        raw = path.read_bytes()
        assert len(set(found.words)) == len(found.words)
        assert found.table.isfinite().all()
        if suffix == ".bin":
            return found.table.numpy().tobytes() in raw
        lines = raw.decode("utf-8", "replace").split("\n")[1 : 1 + len(found.words)]
        read = [[float(one) for one in line.split(" ")[-found.table.shape[1] :]] for line in lines]
        return bool(np.allclose(np.array(read, np.float32), found.table))

    with judge("word vectors", 60, tmp_path) as tries:
        each(tries, path, 72, lambda: fasttext_files.read(path), legal)


def test_whole_files_are_accepted(made: Path, tmp_path: Path) -> None:
    """Another order of keys, other spaces: the same record."""
    shutil.copytree(made / "explanation", tmp_path / "e")
    path = tmp_path / "e" / "explanation.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(dict(reversed(record.items())), indent=7), encoding="utf-8")
    again = mx.Explanation.load(tmp_path / "e")
    assert torch.equal(again.draws, mx.Explanation.load(made / "explanation").draws)
    assert storage.SEAL in record

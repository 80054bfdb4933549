"""``modalxai explain`` and ``report``, from a saved model and a manifest to a page."""

from __future__ import annotations

import csv
import json

import pytest
import soundfile
import torch
from typer.testing import CliRunner

import modalxai as mx
from modalxai.cli import app
from modalxai.corpus_run import CorpusRun

runner = CliRunner()
LABELS = mx.labels("anger", "joy")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model, a manifest of 24 recordings, and one recording that is broken."""
    folder = tmp_path_factory.mktemp("corpus")
    torch.manual_seed(0)
    parts = {
        "audio": mx.plugins.create("encoders", "mel-cnn", dim=8, mels=8, channels=8, heads=2),
        "text": mx.plugins.create("encoders", "byte-text", dim=8, layers=1, heads=2),
    }
    dims = {name: part.dim for name, part in parts.items()}
    fusion = mx.plugins.create("fusion", "shallow", dims=dims, labels=LABELS)
    mx.EmotionModel(parts, fusion=fusion, modality_dropout=0.1).save_pretrained(folder / "model")
    rows = []
    for number in range(24):
        name = f"clip{number}.wav"
        soundfile.write(folder / name, 0.1 * torch.randn(3000 + 50 * number).numpy(), 16_000)
        emotion = "anger" if number % 2 else "joy"
        rows.append([f"u{number}", name, "참 잘했다", emotion, f"s{number % 4}"])
    header = ["id", "path", "text", "label", "speaker"]
    for name, listed in (("good.csv", rows[:-1]), ("bad.csv", rows)):
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *listed])
    (folder / "clip23.wav").write_bytes(b"RIFF and nothing else")
    return folder


def call(*arguments):
    return runner.invoke(app, [str(one) for one in arguments])


@pytest.fixture(scope="module")
def explained(place):
    done = call(
        "explain", place / "model", place / "good.csv", "--out", place / "run",
        "--column", "audio=path", "--removal", "text=mask,audio=silence", "--chunk", 10,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "23 samples explained, 0 in quarantine, 3 of 3 parts" in done.output
    return place / "run"


def test_the_command_says_what_the_library_says(place, explained) -> None:
    corpus = mx.datasets.ManifestCorpus(place / "good.csv", audio="path")
    model = mx.EmotionModel.from_pretrained(place / "model")
    whole = mx.explain(model, corpus, removal={"text": "mask", "audio": "silence"})
    found = CorpusRun(explained).explanation()
    assert found.provenance.removal == {"audio": "silence", "text": "mask"}
    torch.testing.assert_close(found.scores, whole.scores, rtol=1e-5, atol=1e-6)


def test_bad_recordings_are_named_and_end_with_exit_code_1(place) -> None:
    given = ("explain", place / "model", place / "bad.csv", "--column", "audio=path")
    done = call(*given, "--out", place / "mixed", "--json")
    assert done.exit_code == 1
    said = json.loads(done.stdout)
    assert (said["explained"], said["quarantined"], said["complete"]) == (23, 1, True)
    again = call(*given, "--out", place / "mixed")
    assert again.exit_code == 1
    assert "bad: u23: read: " in again.stderr
    strict = call(*given, "--out", place / "strict", "--strict")
    assert strict.exit_code == 2
    assert "error: sample" in strict.stderr


def test_marginal_removal_takes_another_manifest(place) -> None:
    done = call(
        "explain", place / "model", place / "good.csv", "--out", place / "marginal",
        "--column", "audio=path", "--removal", "marginal", "--background", place / "good.csv",
        "--draws", 2, "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert CorpusRun(place / "marginal").explanation().draws.shape[0] == 2


def test_a_report_as_text_page_and_tables(place, explained) -> None:
    pandas = pytest.importorskip("pandas")
    spoken = call("report", explained)
    assert spoken.exit_code == 0, spoken.output
    assert "removal: audio silence, text mask" in spoken.stdout
    page = place / "report.html"
    assert call("report", explained, "--out", page).exit_code == 0
    assert "<html" in page.read_text(encoding="utf-8")
    rows = mx.Report(CorpusRun(explained).explanation()).shares()
    as_json = json.loads(call("report", explained, "--json").stdout)
    assert [row["label"] for row in as_json] == [row.label for row in rows]
    for ending, read in (("csv", pandas.read_csv), ("parquet", pandas.read_parquet)):
        path = place / f"shares.{ending}"
        assert call("report", explained, "--out", path).exit_code == 0
        frame = read(path)
        assert list(frame["n"]) == [row.n for row in rows]
        for modality in ("audio", "text"):
            wanted = [row.evidence[modality] for row in rows]
            assert frame[f"evidence/{modality}"].tolist() == pytest.approx(wanted, nan_ok=True)
    samples = place / "samples.csv"
    assert call("report", explained, "--out", samples, "--rows", "samples").exit_code == 0
    frame = pandas.read_csv(samples)
    assert len(frame) == 23 * 2 * 2
    evidence = CorpusRun(explained).explanation().shapley()
    assert frame["total"].tolist() == pytest.approx(evidence.totals.flatten().tolist(), abs=1e-6)


def test_a_saved_explanation_and_alternatives_are_read_too(place, explained) -> None:
    model = mx.EmotionModel.from_pretrained(place / "model")
    corpus = mx.datasets.ManifestCorpus(place / "good.csv", audio="path")
    mx.explain(model, corpus).save(place / "absent")
    done = call("report", place / "absent", "--alternative", explained, "--by", "true")
    assert done.exit_code == 0, done.output
    assert "one removal" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--removal", "text=mask,audio"), "says no removal"),
        (("--removal", "text=mask,text=mask"), "says no removal"),
        (("--draws", "many"), "draws that cannot be counted"),
        (("--device", "cuda:77"), "cannot be used"),
        (("--column", "sound=path"), "names no column"),
        (("--removal", "text=melt,audio=silence"), "melt"),
    ],
    ids=str,
)
def test_mistakes_are_said_plainly(place, tmp_path, arguments, said) -> None:
    given = ["explain", place / "model", place / "good.csv", "--out", tmp_path / "run"]
    if "--column" not in arguments:
        given += ["--column", "audio=path"]
    done = call(*given, *arguments)
    assert done.exit_code == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_table_of_no_known_kind_and_a_folder_of_nothing(explained, tmp_path) -> None:
    assert call("report", explained, "--out", tmp_path / "shares.xlsx").exit_code == 2
    for folder in (tmp_path, tmp_path / "nowhere"):
        done = call("report", folder)
        assert done.exit_code == 2
        assert f"mend: make some: modalxai explain MODEL MANIFEST.csv --out {folder}" in done.stderr

"""The way of a newcomer: the demo, then its model on clips, then a page to listen to."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import tempfile

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

import modalxai as mx
from modalxai.cli import app, recordings
from modalxai.recipes import demo

runner = CliRunner()


def call(*arguments):
    return runner.invoke(app, [str(one) for one in arguments])


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """What the demo writes, at a size at which nothing is learnt."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        sizes = {"TRAINING_CLIPS": 40, "TEST_CLIPS": 48, "EPOCHS": 1, "DONORS": 2}
        for name, value in sizes.items():
            patch.setattr(demo, name, value)
        done = call("demo", "--out", folder, "--json")
    assert done.exit_code == 0, done.output
    return folder, json.loads(done.stdout)


@pytest.fixture(scope="module")
def run(shown):
    folder, _ = shown
    done = call("explain", folder / "model", folder / "clips.csv", "--out", folder / "run")
    assert done.exit_code == 0, done.output
    assert f"next: modalxai report {folder / 'run'}" in done.stdout
    return folder / "run"


@pytest.fixture(scope="module")
def units(run, tmp_path_factory):
    """Words and moments of three of the clips."""
    folder = run.parent
    model = mx.EmotionModel.from_pretrained(folder / "model")
    samples = list(mx.datasets.ManifestCorpus(folder / "clips.csv"))[:3]
    game = model.game(samples, removal={"text": "mask", "audio": "silence"})
    owen = mx.attribution.Owen(players={"text": "word"})
    place = tmp_path_factory.mktemp("units") / "owen=1"  # a name with the sign of a title in it
    owen.attribute(game).save(place)
    return place, [sample["id"] for sample in samples]


def test_the_demo_leaves_a_model_and_clips_to_go_on_with(shown) -> None:
    folder, said = shown
    assert said["report"] == str(folder / "report.html")
    assert {row["label"] for row in said["shares"]} == set(demo.tonebench.emotions().labels)
    corpus = mx.datasets.ManifestCorpus(said["clips"])
    speakers = corpus.column("speaker")
    assert speakers == ["s050", "s051", "s052"]  # 20 clips each
    rule = demo.tonebench.emotions()
    unseen = demo.tonebench.ToneBench(rule, 48, speakers=range(50, 74), seed=0)
    made = {sample["id"]: sample for sample in unseen}
    for sample in corpus:
        whole = made[sample["id"]]
        assert (sample["text"], sample["labels"]) == (whole["text"], whole["labels"])
        heard = sample["audio"].waveform.squeeze(0)
        torch.testing.assert_close(heard, whole["audio"].waveform, atol=1 / 32000, rtol=0)
    model = mx.EmotionModel.from_pretrained(said["model"])
    assert model.labels == mx.labels(*rule.labels)


def test_a_page_alone_leaves_nothing_else(tmp_path, monkeypatch) -> None:
    for name, value in (("TRAINING_CLIPS", 12), ("TEST_CLIPS", 24), ("EPOCHS", 1), ("DONORS", 1)):
        monkeypatch.setattr(demo, name, value)
    found = demo.run(tmp_path / "page.html", quiet=True)
    assert (found.model, found.clips) == (None, None)
    assert [one.name for one in tmp_path.iterdir()] == ["page.html"]


def test_recordings_come_from_the_manifest_that_was_explained(run, tmp_path) -> None:
    page = tmp_path / "page.html"
    done = call("report", run, "--out", page, "--recordings", "--shown", 1)
    assert done.exit_code == 0, done.output
    source = page.read_text(encoding="utf-8")
    heard = dict(
        zip(
            re.findall(r'aria-label="Recording ([^"]*)"', source),
            re.findall(r'<audio[^>]*src="data:audio/flac;base64,([^"]*)"', source),
            strict=True,
        )
    )
    assert len(heard) == 1
    for name, data in heard.items():
        found, rate = soundfile.read(io.BytesIO(base64.b64decode(data)))
        wanted, there = soundfile.read(run.parent / "clips" / f"{name}.wav")
        assert rate == there
        np.testing.assert_allclose(found, wanted, atol=1 / 32000)
    assert "spectrogram" in source
    plain = tmp_path / "plain.html"
    assert call("report", run, "--out", plain, "--shown", 3).exit_code == 0
    source = plain.read_text(encoding="utf-8")
    assert "<audio" not in source
    assert source.count('<details class="one"') == 3


def test_a_finished_run_is_found_finished_where_nobody_may_write(run, monkeypatch) -> None:
    def forbidden(*_, **__):
        raise PermissionError("not you")

    monkeypatch.setattr(tempfile, "mkstemp", forbidden)
    folder = run.parent
    done = call("explain", folder / "model", folder / "clips.csv", "--out", run)
    assert done.exit_code == 0, done.output


def test_a_run_that_moved_with_its_manifest_still_finds_it(run, shown, tmp_path) -> None:
    folder, _ = shown
    moved = tmp_path / "elsewhere"
    shutil.copytree(folder, moved)
    asked = ("report", moved / "run", "--recordings", "--shown", 1, "--out", tmp_path / "a.html")
    assert call(*asked).exit_code == 0
    (moved / "clips.csv").rename(tmp_path / "other.csv")
    lost = call(*asked)
    assert lost.exit_code == 2
    assert "no longer where it was" in lost.stderr
    shutil.copytree(folder / "clips", tmp_path / "clips")
    found = call(*asked[:2], *asked[3:], "--manifest", tmp_path / "other.csv")
    assert found.exit_code == 0, found.output
    assert "<audio" in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_only_recordings_that_are_shown_are_read(run, monkeypatch) -> None:
    found = recordings.find(run, None, ())
    assert len(found) == len(list(found)) == 3
    read = []
    monkeypatch.setattr(
        type(found), "__getitem__", lambda self, name: read.append(name) or mx.Audio(NOISE, 8000)
    )
    explanation = mx.corpus_run.CorpusRun(run).explanation()
    mx.Report(explanation, repeats=5, samples_shown=2).html(recordings=found)
    assert len(read) == len(set(read)) == 2


NOISE = 0.1 * torch.randn(300, generator=torch.Generator().manual_seed(0))


def test_units_are_shown_by_title(run, units, tmp_path) -> None:
    place, ids = units
    page = tmp_path / "page.html"
    for given, title in ((f"Which words={place}", "Which words"), (str(place), "owen")):
        done = call("report", run, "--out", page, "--units", given)
        assert done.exit_code == 0, done.output
        source = page.read_text(encoding="utf-8")
        assert f"<h4>{title}: text" in source
        shown = re.findall(r'<details class="one".*?<bdi>([^<]*)</bdi>', source, re.S)
        assert set(shown) == set(ids)
    twice = call("report", run, "--out", page, "--units", place, "--units", place)
    assert twice.exit_code == 2
    assert "two units are called 'owen'" in twice.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--recordings",), "--recordings without a page"),
        (("--recordings", "--units", "x", "--out", "a.csv"), "--recordings and --units without"),
        (("--units", "nowhere", "--out", "a.html"), "attribution.json is missing"),
        (("--manifest", "nowhere.csv", "--out", "a.html"), "nowhere.csv"),
        (("--recordings", "--column", "audio=", "--out", "a.html"), "has no recordings"),
        (("--column", "audio=sound", "--out", "a.html"), "--column without recordings"),
        (("--rows", "samples", "--out", "a.html"), "--rows samples without a table"),
        (("--rows", "samples"), "--rows samples without a table"),
        (("--recordings", "--column", "audio=sound", "--out", "a.html"), "'sound' is missing"),
    ],
    ids=str,
)
def test_mistakes_of_a_page_are_said_plainly(run, arguments, said, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = call("report", run, *arguments)
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert not list(tmp_path.iterdir())


def test_without_a_remembered_manifest_it_must_be_named(run, tmp_path) -> None:
    mx.corpus_run.CorpusRun(run).explanation().save(tmp_path / "saved")
    asked = ("report", tmp_path / "saved", "--out", tmp_path / "a.html", "--shown", 1)
    done = call(*asked, "--recordings")
    assert done.exit_code == 2
    assert "--manifest corpus.csv" in done.stderr
    assert call(*asked, "--manifest", run.parent / "clips.csv").exit_code == 0


def test_samples_as_a_table_need_no_pandas(run, tmp_path, monkeypatch) -> None:
    pandas = pytest.importorskip("pandas")
    wanted = mx.corpus_run.CorpusRun(run).explanation().shapley().to_frame()
    monkeypatch.delattr(mx.Attribution, "to_frame")
    assert call("report", run, "--out", tmp_path / "a.csv", "--rows", "samples").exit_code == 0
    found = pandas.read_csv(tmp_path / "a.csv")
    assert list(found.columns) == list(wanted.columns)
    assert found["id"].tolist() == wanted["id"].tolist()
    for name in ("total", "se", "prediction", "reference"):
        np.testing.assert_allclose(found[name], wanted[name], atol=1e-6)
    assert found["present"].tolist() == wanted["present"].tolist()


@pytest.mark.parametrize("chunk", [2, 5, 100])
def test_the_bar_of_a_run_counts_samples_and_goes_on(chunk, capsys, monkeypatch, tmp_path) -> None:
    tqdm = pytest.importorskip("tqdm")
    bars = []

    class Watched(tqdm.tqdm):
        def __init__(self, *given, **more):
            super().__init__(*given, **more)
            bars.append(self)

    monkeypatch.setattr(tqdm, "tqdm", Watched)
    torch.manual_seed(0)
    text = mx.plugins.create("encoders", "byte-text", dim=8, layers=1, heads=2)
    fusion = mx.fusion.ShallowFusion({"text": 8}, mx.labels("anger", "joy"))
    model = mx.EmotionModel({"text": text}, fusion, modality_dropout=0.1)
    samples = [{"id": f"u{n}", "text": "참 잘했다"} for n in range(10)] + [{"id": "u10", "text": 3}]
    run = mx.explain_corpus(
        model, samples, tmp_path / "run", batch_size=3, chunk=chunk, progress=True
    )
    assert (bars[0].total, bars[0].n, bars[0].unit) == (11, 11, "sample")
    assert run.explained == 10
    run.parts[0].unlink()
    mx.explain_corpus(model, samples, tmp_path / "run", batch_size=3, chunk=chunk, progress=True)
    first = min(chunk, 11)
    assert (bars[1].total, bars[1].n) == (first, first)
    stream = torch.utils.data.DataLoader(samples[:10], 3, collate_fn=model.collate)
    streamed = (batch for batch in stream)
    mx.explain_corpus(model, streamed, tmp_path / "stream", chunk=chunk, progress=True)
    assert (bars[2].total, bars[2].n) == (None, 10)
    capsys.readouterr()

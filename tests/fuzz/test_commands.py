"""Command line arguments: a mistake ends with exit code 2 and its mend, never with a traceback."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from tests.support.fuzzing import Judge, tree
from toys import speech_model
from typer.testing import CliRunner

import modalxai as mx
from modalxai.cli import app
from modalxai.errors import InputError

Judges = Callable[..., Judge]
ODD = (
    "", " ", "-", "--", "0", "-1", "1e9", "nan", "None", "null", "{}", "[1]", "=", "a=b=c", ",",
    "../..", "/", "/dev/null", "/nowhere/at/all", "참", "x" * 5000, "%s%n", "$(id)", "\ud800", "*",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a manifest and a run."""
    folder = tmp_path_factory.mktemp("commands")
    torch.manual_seed(0)
    speech_model().save_pretrained(folder / "model")
    with (folder / "clips.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["id", "audio", "text", "label", "speaker"])
        for number in range(2):
            soundfile.write(folder / f"{number}.wav", np.sin(np.arange(3200) / 9) / 9, 16_000)
            table.writerow([f"u{number}", f"{number}.wav", "no day", "joy", f"s{number}"])
    model = mx.EmotionModel.from_pretrained(folder / "model").eval()
    mx.explain_corpus(model, list(mx.datasets.ManifestCorpus(folder / "clips.csv")), folder / "run")
    return folder


def lines(place: Path, out: Path) -> Iterator[list[str]]:
    """Commands with one argument or option odd."""
    model, clips, run = (str(place / name) for name in ("model", "clips.csv", "run"))
    good = ["explain", model, clips, "--out", str(out / "run")]
    options = ("--removal", "--draws", "--level", "--column", "--batch-size", "--chunk", "--seed",
               "--device", "--background")  # fmt: skip
    for value in ODD[::2]:
        yield ["explain", value, clips, "--out", str(out / "a")]
        yield ["explain", model, value, "--out", str(out / "b")]
        yield ["report", value]
        yield ["convert", value, model]
        yield ["convert", "kobert", value]
        yield ["plugins", "show", value]
        yield ["datasets", "check", value, str(place)]
        yield ["datasets", "check", "manifest", value]
        yield ["recipe", value, "--out", str(out / "c")]
        yield [value]
    for option in options:
        for value in ODD[1::5]:
            yield [*good, option, value]
    for option in ("--truth", "--by", "--cluster", "--alternative", "--rows", "--scale"):
        for value in ODD[2::6]:
            yield ["report", run, option, value]
    for name in ("a", "a.exe", "a.HTML.bak", "nowhere\0.html", ".", "/", "/dev/null/a.html"):
        yield ["report", run, "--out", name if "/" in name or "\0" in name else str(out / name)]
    for command in (
        "explain",
        "report",
        "convert",
        "plugins",
        "datasets",
        "recipe",
        "bench",
        "demo",
    ):
        yield [command, "--no-such-option"]


def test_arguments(
    place: Path, judge: Judges, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = tree(place)
    runner = CliRunner()

    def use(arguments: list[str]) -> Any:
        done = runner.invoke(app, arguments)
        if done.exit_code == 2 and "Traceback" not in done.output:
            told = done.output.lower()
            assert "error" in told or "usage" in told, done.output
            raise InputError(done.output, expected="-", got="-", mend="-")
        return done

    def legal(done: Any) -> bool:
        """Done, or done with bad samples, which are named."""
        assert done.exit_code in (0, 1), (done.exit_code, done.output[-300:])
        assert "Traceback" not in done.output, done.output[-300:]
        return True

    good = ["explain", place / "model", place / "clips.csv", "--out", tmp_path / "run"]
    assert use(list(map(str, good))).exit_code == 0
    assert use(["report", str(place / "run")]).exit_code == 0
    with judge("command lines", 200) as tries:
        for arguments in lines(place, tmp_path):
            tries(" ".join(arguments)[:120], lambda: use(arguments), legal)  # noqa: B023
    assert tree(place) == before

"""A recipe's folder keeps what is finished, and no other run's."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

import modalxai as mx
from modalxai.cli import app
from modalxai.errors import CheckpointError, InputError
from modalxai.recipes import Line, Options, ResultsTable, Run


@pytest.fixture
def options(tmp_path):
    return Options(tmp_path / "run", quiet=True)


def test_a_stage_is_made_once_and_a_killed_one_keeps_its_folder(options):
    calls = []

    def make(folder):
        calls.append(folder)
        if len(calls) == 1:
            (folder / "half.txt").write_text("kept")
            raise KeyboardInterrupt
        assert (folder / "half.txt").read_text() == "kept"
        return {"f1": np.float64(0.5), "rows": (1, 2), "none": math.nan}

    with pytest.raises(KeyboardInterrupt):
        Run("r", options, {"lr": 0.1}).stage("seed-0/audio", make)
    first = Run("r", options, {"lr": 0.1}).stage("seed-0/audio", make)
    again = Run("r", options, {"lr": 0.1}).stage("seed-0/audio", make)
    assert len(calls) == 2
    assert first["rows"] == again["rows"] == [1, 2]
    assert first["f1"] == again["f1"] == 0.5
    assert math.isnan(again["none"])


def test_a_model_is_trained_once_and_comes_back_in_eval_mode(options):
    made = []

    def make(folder):
        text = mx.plugins.create("encoders", "byte-text", dim=8)
        fusion = mx.plugins.create("fusion", "late", dims={"text": 8}, labels=mx.labels("a", "b"))
        made.append(mx.EmotionModel({"text": text}, fusion))
        return made[-1]

    run = Run("r", options, {})
    first, second = run.model("text", make), run.model("text", make)
    assert len(made) == 1
    assert not first.training
    sample = {"id": "x", "text": "well"}
    assert first.predict([sample]).scores.equal(second.predict([sample]).scores)


@pytest.mark.parametrize("change", ["recipe", "settings", "seeds"])
def test_another_run_is_refused(options, change):
    Run("r", options, {"lr": 0.1})
    Run("r", options, {"lr": 0.1})
    with pytest.raises(CheckpointError, match="holds another run"):
        Run(
            "q" if change == "recipe" else "r",
            replace(options, seeds=3) if change == "seeds" else options,
            {"lr": 0.2 if change == "settings" else 0.1},
        )


def test_metrics_are_plain_json_and_name_the_run(options):
    Run("r", options, {"lr": 0.1}).metrics({"f1": [0.5, math.nan]})
    record = json.loads(
        (options.out / "metrics.json").read_text(), parse_constant=lambda x: pytest.fail(x)
    )
    assert record["metrics"] == {"f1": [0.5, None]}
    assert record["run"]["recipe"] == "r"
    assert record["run"]["lr"] == 0.1
    assert "torch" in record["run"]["versions"]


def table():
    return ResultsTable(
        "Synthetic speech",
        ("acc", "f1"),
        (
            Line("audio", {"acc": 0.5, "f1": [0.25, 0.75]}, {"f1": ".39"}, "one | modality"),
            Line("text", {"acc": math.nan}, {}, "one | modality"),
            Line("both", {"acc": [0.1, 0.2, 0.6]}, {"acc": ".63", "f1": ".42"}, "all"),
        ),
    )


def test_a_table_shows_means_and_deviations_and_the_papers_figures_apart():
    lines = [
        [cell.strip() for cell in line.split("  ") if cell] for line in str(table()).split("\n")
    ]
    assert lines[0] == ["Synthetic speech"]
    assert lines[1] == ["acc", "f1", "acc (paper)", "f1 (paper)"]
    assert [cell for cell in lines[4] if cell] == ["audio", "0.500", "0.500 ± 0.354", ".39"]
    assert [cell for cell in lines[5] if cell] == ["text", "-", "-"]
    assert [cell for cell in lines[7] if cell] == ["both", "0.300 ± 0.265", "-", ".63", ".42"]
    shown = table().markdown()
    assert "## Synthetic speech" in shown
    assert "one \\| modality" in shown
    assert len({line.count(" | ") for line in shown.split("\n") if line.startswith("|")}) == 1


def test_the_csv_has_every_seed(options):
    run = Run("r", options, {})
    run.tables([table(), ResultsTable("Counts", ("n",), (Line("rows", {"n": 480}),))])
    rows = list(csv.DictReader((options.out / "results.csv").open(encoding="utf-8")))
    found = [(r["name"], r["metric"], r["seed"], r["value"], r["paper"]) for r in rows]
    assert ("audio", "f1", "1", "0.75", ".39") in found
    assert ("both", "f1", "", "", ".42") in found
    assert len([one for one in found if one[0] == "both" and one[1] == "acc"]) == 3
    assert [r["value"] for r in rows if r["table"] == "Counts"] == ["480.0"]
    assert not [r for r in rows if r["table"] == "table"]  # one head for all tables
    assert "| rows | 480 |" in (options.out / "results.md").read_text(encoding="utf-8")


def test_a_line_with_an_unknown_metric_is_refused():
    with pytest.raises(InputError, match="wer"):
        ResultsTable("t", ("acc",), (Line("a", {"wer": 0.5}),))


@pytest.mark.parametrize(
    "wrong", [{"encoder_size": "huge"}, {"seeds": 0}, {"data": "nowhere"}]
)  # fmt: skip
def test_options_out_of_range_are_refused(options, tmp_path, wrong):
    if "data" in wrong:
        wrong = {"data": tmp_path / "nowhere"}
    with pytest.raises(InputError, match="mend:"):
        replace(options, **wrong)


def test_an_unknown_recipe_is_a_plain_error(tmp_path):
    shown = CliRunner().invoke(app, ["recipe", "s9", "--out", str(tmp_path)])
    assert shown.exit_code == 2
    assert "consistency (s2)" in shown.output

"""A run leaves results, a page and pictures; a killed one goes on; promises are judged."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest

from modalxai.benchmark.speed import Settings, models, run, stages, units
from modalxai.benchmark.speed.floors import Floor, best_peer, floors
from modalxai.benchmark.speed.modality import Cell
from modalxai.benchmark.speed.models import Shape
from modalxai.benchmark.speed.pictures import pareto
from modalxai.benchmark.speed.recorded import as_rows, recorded
from modalxai.benchmark.speed.run import write
from modalxai.benchmark.speed.stages import Stages
from modalxai.benchmark.speed.table import markdown, number
from modalxai.errors import CheckpointError, InputError


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quick form, on encoders that are smaller still."""
    folder = tmp_path_factory.mktemp("speed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(models.SPEECH, "small", models.TINY_SPEECH)
        patch.setitem(models.WRITTEN, "small", models.TINY_TEXT)
        module = __import__("modalxai.benchmark.speed.run", fromlist=["run"])
        patch.setattr(module, "FOR_UNITS", module.FOR_UNITS[:3])
        patch.setattr(module.toy, "QUICK_STEPS", 5)
        page = run(Settings(quick=True), folder, quiet=True)
    assert page == folder / "speed.md"
    return folder


@pytest.mark.full
def test_a_run_leaves_everything(out: Path) -> None:
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert results["benchmark"] == "speed"
    assert set(results["versions"]) >= {"modalxai", "torch", "captum", "shap", "shapiq"}
    assert {row["contestant"] for row in results["modality"]} >= {
        "one prediction", "modalxai, table", "SHAP Exact", "Captum ShapleyValues",
    }  # fmt: skip
    page = (out / "speed.md").read_text(encoding="utf-8")
    assert "quick form" in page
    assert "nan" not in page.lower().replace("financ", "")
    for picture in ("speed_pareto.png", "speed_growth.png"):
        assert f"pictures/{picture}" in page
        assert (out / "pictures" / picture).stat().st_size > 10_000
    with (out / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["table"] for row in rows} >= {"floors", "modality", "units", "growth/seconds"}


@pytest.mark.full
def test_every_exact_answer_of_a_run_is_ours(out: Path) -> None:
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    exact = [row for row in results["modality"] if row.get("exact")]
    assert len(exact) > 20
    assert max(row["error"] for row in exact) < 1e-3
    line = next(row for row in results["floors"] if "exact answer" in row["what"])
    assert line["held"] is True


@pytest.mark.full
def test_what_was_measured_is_not_measured_again(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (out / "results.csv").read_text(encoding="utf-8")

    def never(*_: object, **__: object) -> None:
        raise AssertionError("measured again")

    module = __import__("modalxai.benchmark.speed.run", fromlist=["run"])
    monkeypatch.setattr(module.modality, "measure", never)
    monkeypatch.setattr(module.training, "measure", never)
    monkeypatch.setattr(module, "FOR_UNITS", module.FOR_UNITS[:3])
    (out / "speed.md").unlink()
    assert run(Settings(quick=True), out, quiet=True).is_file()
    assert (out / "results.csv").read_text(encoding="utf-8") == before
    with pytest.raises(CheckpointError, match="another run"):
        run(Settings(quick=True, seed=1), out, quiet=True)


def known_results(**parts: Any) -> dict[str, Any]:
    """Results as a run makes them, of figures set by hand."""
    cell = Cell(Shape("tiny"), seconds=3.0)
    counted = {"flops": 2e9, "encoder_rows": 2, "encoder_calls": 2, "package": "torch"}
    rows = [
        {**cell.keys, "contestant": "one prediction", **counted},
        {**cell.keys, "contestant": "modalxai, table", "estimand": "Shapley", "exact": True,
         "labels_at_once": True, **counted, "flops_ratio": 1.0125, "error": 3e-7,
         "time_ratio": 1.3, "time_low": 1.2, "time_high": 1.4, "peak_mib": 4.5},
        {**cell.keys, "contestant": "nobody", "note": "not installed"},
    ]  # fmt: skip
    curve = [{"x": x, "predict": x, "table": x, "table_and_cam": 2 * x} for x in (1.0, 2.0)]
    counts = [{"x": x, "encoder_rows": 2 * x, "table": x, "predict": x, "exact": True,
               "every_coalition": 4**x, "every_order": 5**x} for x in (2, 3)]  # fmt: skip
    corpus = [{"x": x, "clips": x, "flops_ratio": 2 - x / 100, "audio_rows": x, "text_rows": x,
               "lengths": x} for x in (10, 80)]  # fmt: skip
    return empty(
        modality=rows,
        units=[
            *line(units.OURS, [(1e12, 0.1), (4e12, 0.025)], encoder_rows=90),
            *line("other", [(9e12, 0.4)], encoder_rows=900, estimand="Shapley"),
            *line("tree", [(9e12, 0.01)], encoder_rows=900, estimand="Owen, nested"),
            {"units": "8 + 8", "contestant": "gone", "note": "not installed"},
        ],
        growth={"seconds": curve, "labels": curve, "players": counts, "modalities": counts,
                "corpus": corpus},
        padding={"clips": 16, "layers": 1, "size": "base", "seconds": 80.0, "padded_seconds": 120.0,
                 "time_ratio": 0.93, "time_low": 0.9, "time_high": 1.0, "pairs": 2,
                 "padded_cpu_seconds": 9.0, "changed_by_neighbours": 1e-7,
                 "changed_by_padding": 0.35},
        training=[
            {"what": "EmotionModel", "against": "by hand", "time_ratio": 1.01, "time_low": 1.0,
             "time_high": 1.1, "milliseconds": 50.0, "peak_mib": 9.0, "peak_mib_against": 9.0},
            {"what": "torch.compile", "against": "by hand", "note": "no compiler"},
        ],
        toy={"accuracy": 0.5},
        **stages.where_and_when(),
        quick=False, recorded=None, cpu_seconds=1,
        **parts,
    )  # fmt: skip


def test_a_page_says_what_was_measured(tmp_path: Path) -> None:
    write(known_results(), tmp_path)
    page = (tmp_path / "speed.md").read_text(encoding="utf-8")
    for told in (
        "| nobody | not installed |",
        "1.012 x",
        "| 8 + 8 | tree | another question |",
        "| 8 + 8 | other | > 9 TFLOP | > 4.5 x |",
        "| 8 + 8 | modalxai UnitShapley | 2 TFLOP | 1 x |",
        "no compiler",
        "0.93 x the padded run",
        "not measured",
        "The newest shapiq is missing here",
        "50 % right",
    ):
        assert told in page, told
    assert "quick form" not in page
    assert "nan" not in page
    assert "{" not in page
    for picture in ("speed_pareto.png", "speed_growth.png"):
        assert f"pictures/{picture}" in page
        assert (tmp_path / "pictures" / picture).stat().st_size > 10_000
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    lines = {one["what"]: one["held"] for one in results["floors"]}
    best = "encoder FLOPs of the best peer / ours at 5 % error, 8 + 8 players"
    assert lines[best] is False
    with (tmp_path / "results.csv").open(encoding="utf-8", newline="") as file:
        found = {(row["table"], row["figure"]) for row in csv.DictReader(file)}
    assert found >= {("modality", "flops_ratio"), ("growth/corpus", "lengths"),
                     ("padding", "time_ratio"), ("training", "milliseconds"),
                     ("units", "error")}  # fmt: skip


def test_a_run_that_was_killed_has_a_page_of_what_there_is(tmp_path: Path) -> None:
    nothing = {"units": [], "growth": [], "padding": [], "training": []}
    write(known_results() | nothing, tmp_path)
    page = (tmp_path / "speed.md").read_text(encoding="utf-8")
    assert "| nobody | not installed |" in page
    assert "## Growth" not in page
    assert not (tmp_path / "pictures" / "speed_growth.png").exists()


def test_a_part_that_fails_leaves_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stages(Settings(), tmp_path, True)
    assert stage("one", lambda: {"x": float("nan"), "y": (1, 2)}) == {"x": None, "y": [1, 2]}
    with pytest.raises(ZeroDivisionError):
        stage("two", lambda: 1 / 0)
    assert stage("one", lambda: pytest.fail("again"))["y"] == [1, 2]
    assert stage("two", lambda: 3) == 3
    assert stage.seconds() >= 0
    assert stages.where_and_when()["versions"]["torch"]


@pytest.mark.parametrize("settings", [{"pairs": 0}, {"clips": 0}, {"pairs": True}])
def test_settings_out_of_range(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="out of range"):
        Settings(**settings)


POINTS = [(1e12, 0.1), (4e12, 0.025)]


def line(contestant: str, points: list[tuple[float, float]], **more: Any) -> list[dict[str, Any]]:
    return [
        {"contestant": contestant, "units": "8 + 8", "encoder_flops": cost, "error": error, **more}
        for cost, error in points
    ]


def test_costs_are_read_off_the_curve() -> None:
    # Error halves as cost doubles: 0.05 lies at 4.
    found, reached = units.cost_at(line("a", [(1, 0.2), (2, 0.1), (8, 0.025)]))
    assert reached
    assert found == pytest.approx(4)
    assert units.cost_at(line("a", [(3, 0.01)])) == (3, True)
    assert units.cost_at(line("a", [(1, 0.9), (9, 0.3)])) == (9, False)
    cost, reached = units.cost_at([{"note": "gave up"}])
    assert math.isnan(cost)
    assert not reached


def over_games(contestant: str, costs: list[float]) -> list[dict[str, Any]]:
    """Error 0.05 at these costs, one for each game."""
    return [
        {"contestant": contestant, "units": "8 + 8", "encoder_flops": cost, "error": 0.05,
         "by_game": [0.05 * one / cost for one in costs]}
        for cost in (min(costs), 10.0 * max(costs))
    ]  # fmt: skip


def test_a_ratio_has_an_interval_over_games() -> None:
    from scipy import stats

    ours, other = [1.0, 2.0, 1.0, 4.0], [8.0, 16.0, 16.0, 16.0]
    logs = [math.log(b / a) for a, b in zip(ours, other, strict=True)]
    rows = over_games(units.OURS, ours), over_games("good", other)
    found = units.ratio_over_games(*rows)
    assert found is not None
    mean, spread = sum(logs) / 4, stats.sem(logs) * stats.t.ppf(0.975, 3)
    assert [math.log(one) for one in found] == pytest.approx([mean, mean - spread, mean + spread])
    assert units.ratio_over_games(rows[0], line("good", [(1, 0.1), (9, 0.01)])) is None
    assert units.ratio_over_games(rows[0], over_games("good", other[:3])) is None
    assert units.ratio_over_games(*(over_games(name, [1.0, 2.0]) for name in "ab")) is None
    never = [{**row, "by_game": [0.5] * 4} for row in rows[1]]
    assert units.ratio_over_games(rows[0], never) is None
    lines = {one.what: one for one in floors(empty(units=[*rows[0], *rows[1]]))}
    note = lines["encoder FLOPs of the best peer / ours at 5 % error, 8 + 8 players"].note
    assert f"4 games {found[0]:.1f}, 95 % interval {found[1]:.1f} to {found[2]:.1f}" in note


def test_errors_are_kept_game_by_game() -> None:
    from modalxai.benchmark.speed import toy

    known = units.games(toy.trained(1), 3, 3)
    (row,) = units.our_curve(known, [28], {"text": 1.0, "audio": 9.0}, 1)
    assert len(row["by_game"]) == 3
    assert min(row["by_game"]) <= row["error"] <= max(row["by_game"])


def test_our_colour_and_mark_are_ours_alone() -> None:
    from matplotlib.colors import to_hex

    names = [units.OURS, *(f"method {number}" for number in range(20))]
    axis = pareto(
        [row for name in reversed(names) for row in line(name, POINTS, encoder_rows=9)]
    ).axes[0]
    drawn = {one.get_label(): (to_hex(one.get_color()), one.get_marker()) for one in axis.lines}
    assert len({drawn[name] for name in names}) == len(names)
    for place in range(2):
        assert [name for name in names if drawn[name][place] == drawn[units.OURS][place]] == [
            units.OURS
        ]


def test_the_best_peer_is_the_cheapest_that_answers_the_question() -> None:
    rows = [
        *line(units.OURS, [(1, 0.01)]),
        *line("slow", [(50, 0.04)]),
        *line("good", [(20, 0.04)]),
        *line("never", [(5, 0.5)]),
        *line("other", [(2, 0.01)], estimand="Owen, nested"),
        {"contestant": "gone", "units": "8 + 8", "note": "not installed"},
    ]
    assert best_peer(rows) == (20, "good", True)
    cost, name, reached = best_peer([*line("never", [(5, 0.5)])])
    assert (cost, name, reached) == (5, "never", False)
    assert best_peer([])[1] == "none is installed"


def empty(**parts: Any) -> dict[str, Any]:
    return {"modality": [], "units": [], "growth": [], "padding": [], "training": [], **parts}


def test_promises_are_judged_by_what_was_measured() -> None:
    assert Floor("x", 1.04, 1.05).held is True
    assert Floor("x", 1.06, 1.05).held is False
    assert Floor("x", 9.0, 10.0, most=False).held is False
    assert Floor("x", 11.0, 10.0, most=False).held is True
    assert Floor("x", math.nan, 1.0).held is None
    assert all(one.held is None for one in floors(empty()))
    rows = [*line(units.OURS, [(1, 0.01)]), *line("good", [(9, 0.04)])]
    found = {one.what: one for one in floors(empty(units=rows))}
    ratio = found["encoder FLOPs of the best peer / ours at 5 % error, 8 + 8 players"]
    assert (ratio.measured, ratio.held) == (9, False)
    assert "good" in ratio.note
    cell = {"size": "base", "fusion": "pooled", "modalities": 2, "removal": "absent"}
    row = {**cell, "contestant": "modalxai, table", "flops_ratio": 1.2, "time_ratio": None}
    found = {one.what: one for one in floors(empty(modality=[row]))}
    what = "table of all indices, scales and labels, pooled fusion, absent"
    assert found[f"FLOPs / predicting: {what}"].held is False
    assert found[f"time / predicting: {what}"].held is None


def test_a_record_stands_beside_the_run() -> None:
    record = {
        "shapiq": "9.9",
        "rows": [
            {"units": "8 + 8", "contestant": "shapiq New", "budget": 64, "error": 0.1, "rows": 60},
            {"units": "8 + 8", "contestant": "shapiq New", "budget": 8, "note": "ValueError"},
            {"units": "6 + 6", "contestant": "shapiq New", "budget": 64, "error": 0.1, "rows": 60},
        ],
    }
    first, second = as_rows(record, {"8 + 8": {"text": 1.0, "audio": 9.0}})
    assert first["encoder_rows"] == 120
    assert first["encoder_flops"] == 600
    assert first["contestant"] == "shapiq New (9.9, recorded)"
    assert second["note"] == "ValueError"
    found = recorded()
    assert found is None or {"shapiq", "python", "date", "rows"} <= set(found)


def test_tables_of_the_page() -> None:
    assert number(1234567) == "1,234,567"
    assert number(None) == number(math.nan) == "-"
    assert number(0.01234) == "0.0123"
    assert number(2.0) == "2"
    assert number(1.0534) == "1.05"
    text = markdown(["a", "b|c"], [["x|y", 1.5], ["z", None]])
    assert text.splitlines()[1] == "|---|---:|"
    assert "x\\|y" in text


def test_pieces_know_when_they_were_measured_and_what_ran_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "_load", iter([0.4, 3.25, None]).__next__)
    stage = Stages(Settings(), tmp_path, True)
    for name in ("one", "two", "three"):
        stage(name, lambda: 1)
    pieces = stage.pieces()
    assert [pieces[name]["load"] for name in ("one", "two", "three")] == [0.4, 3.25, None]
    today = stages.where_and_when()["date"]
    assert {piece["date"] for piece in pieces.values()} == {today}
    write(known_results(pieces=pieces), tmp_path)
    page = (tmp_path / "speed.md").read_text(encoding="utf-8")
    assert f"Of its 3 pieces 2 were begun ({today}) at a load of 0.4 to 3.2 processes" in page
    assert "of the others (1) it is not known" in page

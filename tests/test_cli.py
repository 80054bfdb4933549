from __future__ import annotations

import importlib
import inspect
import json
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

from modalxai import plugins
from modalxai.cli import app
from modalxai.errors import InputError

runner = CliRunner()


def test_version_is_the_installed_one() -> None:
    done = runner.invoke(app, ["--version"])
    assert (done.exit_code, done.output.strip()) == (0, f"modalxai {version('modalxai')}")


def test_the_list_names_every_plugin_and_its_package() -> None:
    done = runner.invoke(app, ["plugins", "list"])
    assert done.exit_code == 0
    for group in plugins.GROUPS:
        for info in plugins.infos(group):
            assert f"  {info.name} " in done.stdout
            assert str(info) in done.stdout


def test_the_list_as_json_says_the_same() -> None:
    rows = json.loads(runner.invoke(app, ["plugins", "list", "--json"]).stdout)
    assert {(row["group"], row["name"]) for row in rows} == {
        (group, name) for group in plugins.GROUPS for name in plugins.available(group)
    }
    assert all(set(row) == {"group", "name", "package", "version", "target"} for row in rows)


def test_show_tells_the_options() -> None:
    done = runner.invoke(app, ["plugins", "show", "shallow"])
    assert done.exit_code == 0, done.output
    for part in ("group: fusion", "package: modalxai", "modalxai.fusion.shallow:ShallowFusion"):
        assert part in done.stdout
    for option in inspect.signature(plugins.load("fusion", "shallow")).parameters:
        assert f"\n  {option}" in done.stdout


def test_our_error_is_printed_plainly_with_exit_code_2() -> None:
    done = runner.invoke(app, ["plugins", "show", "shalow"])
    assert done.exit_code == 2
    assert done.stdout == ""
    assert "error: there is no plugin 'shalow'" in done.stderr
    assert "shallow" in done.stderr
    assert "Traceback" not in done.stderr


def test_demo_passes_its_options_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: list[tuple[Path, dict[str, object]]] = []

    def run(
        out: Path, seed: int = 0, rules: str = "plain", labels: str = "true", quiet: bool = False
    ) -> None:
        calls.append((out, {"seed": seed, "rules": rules, "labels": labels, "quiet": quiet}))
        if seed < 0:
            raise InputError("a bad seed", expected="0 or more", got="-1", mend="use 0")

    fake = ModuleType("modalxai.recipes.demo")
    fake.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "modalxai.recipes.demo", fake)
    out = tmp_path / "page.html"
    options = ["--out", str(out), "--seed", "3", "--rules", "shuffled", "--labels", "shuffled"]
    done = runner.invoke(app, ["demo", *options])
    assert done.exit_code == 0, done.output
    assert calls == [(out, {"seed": 3, "rules": "shuffled", "labels": "shuffled", "quiet": False})]
    done = runner.invoke(app, ["demo", "--seed", "-1"])
    assert done.exit_code == 2
    assert "mend: use 0" in done.stderr
    assert runner.invoke(app, ["demo", "--rules", "none"]).exit_code == 2
    assert len(calls) == 2


def test_the_real_demo_takes_what_the_command_gives() -> None:
    from modalxai.recipes import demo

    assert {"out", "seed", "rules", "labels"} <= set(inspect.signature(demo.run).parameters)


@pytest.mark.parametrize("name", ["tonebench", "speed"])
def test_benchmarks_get_their_options(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[object] = []

    def run(settings: object, out: Path, *, quiet: bool = False) -> Path:
        asked.extend((settings, out, quiet))
        return out / "results.json"

    module = importlib.import_module(f"modalxai.benchmark.{name}")
    monkeypatch.setattr(module, "run", run)
    further = ["--family", "SUM", "--seeds", "2"] if name == "tonebench" else ["--quick"]
    done = runner.invoke(app, ["bench", name, "--out", str(tmp_path), "--quiet", *further])
    assert done.exit_code == 0, done.output
    settings, out, quiet = asked
    assert (out, quiet) == (tmp_path, True)
    if name == "tonebench":
        assert settings == module.Settings(families=("SUM",), seeds=2)
        wrong = runner.invoke(app, ["bench", name, "--out", str(tmp_path), "--family", "SUMM"])
        assert wrong.exit_code == 2
        assert "error: families" in wrong.stderr
    else:
        assert settings == module.Settings(quick=True)

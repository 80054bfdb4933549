from __future__ import annotations

import importlib
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import modalxai as mx
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


def _commands(group: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*before, name))
        else:
            yield " ".join((*before, name)), command


COMMANDS = dict(_commands(typer.main.get_command(app)))


def test_there_are_the_commands_that_the_documentation_names() -> None:
    assert {"demo", "explain", "report", "recipe", "plugins check", "bench speed"} <= set(COMMANDS)
    assert len(COMMANDS) == 12


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_prints_json_and_its_help_teaches(name: str) -> None:
    command = COMMANDS[name]
    assert "--json" in {option for one in command.params for option in one.opts}
    shown = runner.invoke(app, [*name.split(), "--help"])
    assert shown.exit_code == 0
    for option in command.params:
        assert option.name == "help" or getattr(option, "help", None), (name, option.name)
    # A command that takes more than a name shows how it is called.
    if any(one.required for one in command.params) and not name.startswith("plugins show"):
        assert f"modalxai {name} " in shown.stdout


def _demo_that(monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> Any:
    fake = ModuleType("modalxai.recipes.demo")
    fake.run = lambda out, **options: work()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "modalxai.recipes.demo", fake)
    return runner.invoke(app, ["demo"])


def test_what_nobody_expected_ends_with_exit_code_3_and_a_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken() -> object:
        raise ZeroDivisionError("a bug")

    done = _demo_that(monkeypatch, broken)
    assert done.exit_code == 3
    assert "in broken" in done.stderr
    assert "ZeroDivisionError: a bug" in done.stderr
    assert "please report it" in done.stderr


def test_who_stops_a_command_gets_exit_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped() -> object:
        raise KeyboardInterrupt

    done = _demo_that(monkeypatch, stopped)
    assert (done.exit_code, "Traceback" in done.stderr) == (130, False)


def test_a_file_that_cannot_be_written_ends_with_exit_code_2_and_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done = _demo_that(monkeypatch, (tmp_path / "no" / "a.html").touch)
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert "a.html" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_bar_appears_for_what_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TQDM_DELAY", raising=False)
    seen: list[str | None] = []
    _demo_that(monkeypatch, lambda: seen.append(os.environ.get("TQDM_DELAY")))
    assert seen == ["2"]
    assert "TQDM_DELAY" not in os.environ
    monkeypatch.setenv("TQDM_DELAY", "5")  # the user's own wish
    _demo_that(monkeypatch, lambda: seen.append(os.environ.get("TQDM_DELAY")))
    assert seen[1] == os.environ["TQDM_DELAY"] == "5"
    # tqdm reads it when it is imported, which the command must not have done before.
    code = "import modalxai.cli, sys; sys.exit('tqdm' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    code = (
        "import os; os.environ['TQDM_DELAY'] = '2'\n"
        "from tqdm.auto import tqdm\n"
        "for _ in tqdm(range(3), desc='Loading weights'): pass"
    )
    quiet = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert quiet.stderr == ""


def test_plugins_are_tried_on_values_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "of_mine.py").write_text(
        "import torch\n"
        "few = [torch.randn(length, 3) for length in (4, 9, 2)]\n"
        "def examples():\n    return few\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("few", "examples"):
        done = runner.invoke(
            app, ["plugins", "check", "vectors", "--raws", f"of_mine:{name}", "--set", "dim=3"]
        )
        assert done.exit_code == 0, done.output
        assert "0 failed" in done.stdout
    for wrong, said in (
        ("of_mine:many", "nothing is called"),
        ("nowhere:few", "nothing is called"),
        (":few", "nothing is called"),
        ("of_mine:torch", "holds no raw values"),
    ):
        done = runner.invoke(app, ["plugins", "check", "vectors", "--raws", wrong])
        assert (done.exit_code, said in done.stderr) == (2, True), done.output


def test_a_plugin_is_not_described_by_its_base_class() -> None:
    from modalxai.plugins.description import describe

    class Silent(mx.encoders.VectorEncoder):
        pass

    info = plugins.inspect("encoders", "vectors")
    assert describe(info, 1, Silent).summary == ""
    assert describe(info, 1, mx.encoders.VectorEncoder).summary.startswith("Hands on vectors")
    assert describe(info, 1, lambda: None).summary == ""

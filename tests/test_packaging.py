from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from modalxai import plugins

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*command, str(ROOT)], check=True, capture_output=True)
    (made,) = folder.glob("*.whl")
    return made


@pytest.mark.parametrize(
    ("group", "name", "target"),
    [
        (group.removeprefix("modalxai."), name, target)
        for group, targets in PROJECT["entry-points"].items()
        for name, target in targets.items()
    ],
)
def test_every_entry_point_is_a_class_of_this_package(group: str, name: str, target: str) -> None:
    loaded = plugins.load(group, name)
    assert isinstance(loaded, type)
    assert plugins.origin(loaded) == plugins.inspect(group, name)
    assert plugins.inspect(group, name).target == target


def test_the_wheel_holds_the_whole_package_and_nothing_else(wheel: Path) -> None:
    source = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src" / "modalxai").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    held = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in held if ".dist-info/" not in name} == source
    assert "modalxai/py.typed" in held
    assert any(name.endswith((".html", ".html.j2")) for name in held)
    assert any(name.endswith("licenses/LICENSE") for name in held)


def test_the_wheel_alone_gives_the_command_and_the_plugins(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "import modalxai; from modalxai import plugins; from modalxai.cli import app\n"
        "print(modalxai.__file__); print(*plugins.available('encoders')); app(['--version'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    place, names, version = done.stdout.splitlines()
    assert Path(place).parent.parent == tmp_path / "site"
    assert set(PROJECT["entry-points"]["modalxai.encoders"]) == set(names.split())
    assert version == f"modalxai {PROJECT['version']}"


def test_lint_keeps_types_and_floors() -> None:
    done = subprocess.run(
        ["make", "-n", "lint"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for tool in ("ruff check", "ruff format --check", "mypy", "lint-imports"):
        assert tool in done.stdout


def test_every_tool_and_direct_dependency_is_pinned_for_development() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {line.partition("==")[0] for line in lines if "==" in line}
    extras = PROJECT["optional-dependencies"]
    wanted = PROJECT["dependencies"] + extras["dev"] + extras["docs"]
    assert {re.split("[<>=]", name)[0] for name in wanted} <= pins

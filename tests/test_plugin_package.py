"""The example packages: installed for real in an environment of their own, used, and tested."""

from __future__ import annotations

import json
import os
import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ROOT / "examples"
NAMES = {"encoders": "video-gru", "fusion": "gated", "attribution": "permutation-shapley"}
QUICK = ["byte-text", "mel-cnn", "biosignal"]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment that sees this one's packages, with the example package installed."""
    folder = tmp_path_factory.mktemp("env")
    venv.create(folder, with_pip=False)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    # torch and modalxai are taken from where the tests run; a download would be neither quick nor
    # possible without a network.
    own = subprocess.run(
        [python, "-c", "import site; print(site.getsitepackages()[-1])"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    lines = [f"import site; site.addsitedir({place!r})" for place in site.getsitepackages()]
    (Path(own) / "outer.pth").write_text("\n".join(lines) + "\n")
    # A copy, because building leaves nothing but may not write into the source either.
    source = folder / "package"
    shutil.copytree(PACKAGES / "plugin_package", source)
    done = subprocess.run(
        [
            python, "-m", "pip", "install", "--no-index", "--no-deps", "--no-build-isolation",
            "--disable-pip-version-check", "--quiet", str(source),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shutil.rmtree(source)
    return python


def run(python: Path, *command: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])
    more = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [str(python), *command],
        env=os.environ | more,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=600,
        check=False,
    )


def modalxai(python: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return run(python, "-c", "from modalxai.cli import app; app()", *command)


def test_the_package_is_listed_and_nothing_of_it_is_here(python: Path) -> None:
    done = modalxai(python, "plugins", "list", "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    for group, name in NAMES.items():
        assert (rows[name]["group"], rows[name]["package"]) == (group, "modalxai-faces")
    assert not done.stderr
    here = subprocess.run(
        [sys.executable, "-c", "import modalxai_faces"], capture_output=True, check=False
    )
    assert here.returncode != 0


def test_it_works_with_built_in_parts(python: Path) -> None:
    _used(python, QUICK)


@pytest.mark.full
def test_it_works_with_every_built_in_part(python: Path) -> None:
    from modalxai import plugins

    found = _used(python, [])
    assert {name.split(":")[0] for name in found["encoders"]} == set(plugins.available("encoders"))


def _used(python: Path, names: list[str]) -> dict[str, Any]:
    from modalxai import plugins

    done = run(python, str(ROOT / "tests" / "support" / "installed_plugins.py"), *names)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert set(found["packages"].values()) == {"modalxai-faces"}
    assert found["api"] == 1
    assert set(plugins.available("fusion")) | {"gated"} == set(found["fusions"])
    assert set(names) <= set(found["encoders"])
    assert set(plugins.available("attribution")) < set(found["attributors"])
    gaps = [*found["fusions"].values(), *found["encoders"].values()]
    assert max(gaps) < 1e-5
    return found


@pytest.mark.parametrize("name", NAMES.values())
@pytest.mark.full
def test_the_command_checks_each_of_its_parts(python: Path, name: str) -> None:
    done = modalxai(python, "plugins", "check", name, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    (report,) = json.loads(done.stdout)
    assert report["passed"]
    assert report["made"] >= 20


def _tested(python: Path | str, places: list[str], *packages: str) -> None:
    paths = [str(PACKAGES / package / "tests") for package in packages]
    extra = [str(PACKAGES / package / part) for package in packages for part in places]
    code = (
        f"import sys; sys.path[:0] = {extra!r}; import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    )
    config = str(PACKAGES / packages[0] / "pyproject.toml")
    options = ["-q", "-p", "no:cacheprovider", "-c", config, "--rootdir", str(PACKAGES)]
    done = run(Path(python), "-B", "-c", code, *options, *paths)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


def test_its_own_tests_pass_where_it_is_installed(python: Path) -> None:
    _tested(python, [], "plugin_package")


def test_the_adapters_for_s3prl_and_speechbrain_pass_their_tests() -> None:
    _tested(sys.executable, ["src", "tests"], "plugins_s3prl", "plugins_speechbrain")


@pytest.mark.parametrize("package", ["plugin_package", "plugins_s3prl", "plugins_speechbrain"])
def test_what_a_package_names_is_there(package: str) -> None:
    import tomllib

    project = tomllib.loads((PACKAGES / package / "pyproject.toml").read_text("utf-8"))["project"]
    readme = (PACKAGES / package / "README.md").read_text("utf-8")
    for group, entries in project["entry-points"].items():
        assert group.partition(".")[0] == "modalxai"
        for name, target in entries.items():
            module, _, attribute = target.partition(":")
            file = PACKAGES / package / "src" / f"{module.replace('.', '/')}.py"
            assert f"class {attribute}(" in file.read_text("utf-8") or (
                f"class {attribute}:" in file.read_text("utf-8")
            )
            assert name in readme
    init = next((PACKAGES / package / "src").glob("*/__init__.py"))
    assert "modalxai_api = 1" in init.read_text("utf-8")

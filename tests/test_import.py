from __future__ import annotations

import json
import subprocess
import sys

import pytest

import modalxai

HEAVY = {"torch", "transformers", "numpy", "torchaudio", "scipy", "matplotlib", "captum", "pandas"}
LIMIT = 0.1  # seconds of CPU

MEASURE = """
import json, sys, time
start = time.process_time()
{code}
spent = time.process_time() - start
print(json.dumps([spent, sorted(sys.modules)]))
"""


def run(code: str) -> tuple[float, set[str]]:
    """CPU seconds of the code in a fresh interpreter, and the modules loaded after it."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE.format(code=code)],
        capture_output=True,
        text=True,
        check=True,
    )
    spent, modules = json.loads(done.stdout.splitlines()[-1])
    return spent, set(modules)


@pytest.mark.parametrize(
    "code",
    [
        "import modalxai",
        "import modalxai.plugins; modalxai.plugins.available('encoders')",
        "import modalxai.cli",
        "from typer.testing import CliRunner; from modalxai.cli import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0",
        "from typer.testing import CliRunner; from modalxai.cli import app\n"
        "assert CliRunner().invoke(app, ['plugins', 'list']).exit_code == 0",
    ],
)
def test_nothing_heavy_is_imported(code: str) -> None:
    assert not run(code)[1] & HEAVY


def test_the_test_above_can_fail() -> None:
    assert run("import modalxai; modalxai.Audio")[1] & HEAVY >= {"torch"}


def test_import_takes_under_a_tenth_of_a_second() -> None:
    assert min(run("import modalxai")[0] for _ in range(5)) < LIMIT


@pytest.mark.parametrize("name", modalxai.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(modalxai, name) is not None
    assert name in dir(modalxai)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="emotion_model"):
        _ = modalxai.emotion_model

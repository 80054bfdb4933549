"""What every test runs under: one thread, one seed, no network, no display."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

# Before anything imports transformers or matplotlib, which read these once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["MPLBACKEND"] = "Agg"

import numpy as np
import pytest
import torch
from hypothesis import settings
from tests.support import counting, fuzzing

# A busy machine is no failure: what must be fast is counted, not timed.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def seeded() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture
def conforms(record_property: Callable[[str, object], None]) -> counting.Conforms:
    """Takes a report of the conformance kit and the least number of its checks."""
    return counting.checker(record_property)


@pytest.fixture
def speech_data() -> Path:
    """The folder of real recordings, for tests that skip where it is not there."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the recordings in ../shared/data, beside the repository")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for told in (counting, fuzzing):
        if line := told.summary(terminalreporter.stats):
            terminalreporter.write_line(line)

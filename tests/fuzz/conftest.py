from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.fuzzing import Judge

ROOM = 6 << 30
"""Bytes that a test here may have beside what is loaded already: claims of more must be refused."""


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """Whoever allocates what a file claims fails here, and does not take the machine along."""
    if not sys.platform.startswith("linux"):
        yield
        return
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (held + ROOM, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture
def judge(record_property: Callable[[str, object], None]) -> Callable[..., Judge]:
    """Makes a `Judge` of one entrance, which is to see so many inputs at least."""

    def make(entrance: str, least: int, keep: Path | None = None) -> Judge:
        return Judge(entrance, least, record_property, keep)

    return make

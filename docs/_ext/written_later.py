"""Pages that a command writes: where one is not there yet, its place in the menu is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

PAGES = ("tonebench", "speed")


def _drop(app: Sphinx, name: str, source: list[str]) -> None:
    if name == "measured":
        absent = [page for page in PAGES if not (Path(app.srcdir) / f"{page}.md").exists()]
        lines = source[0].splitlines(keepends=True)
        source[0] = "".join(line for line in lines if line.strip() not in absent)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("source-read", _drop)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""Figures that a tutorial makes without pyplot, as modalxai makes them, are pictures of it too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst


def figures(
    block: tuple[str, str, int], block_vars: dict[str, Any], gallery_conf: dict[str, Any]
) -> str:
    """Save each figure that the block bound to a name, and return what shows it."""
    scope = block_vars["example_globals"]
    known = scope.setdefault("__figures__", set())
    saved = []
    for name, value in list(scope.items()):
        if isinstance(value, Figure) and id(value) not in known:
            known.add(id(value))
            path = next(block_vars["image_path_iterator"])
            value.savefig(path, dpi=120)
            saved.append((path, name.replace("_", " ")))
    root = Path(gallery_conf["src_dir"])
    return "".join(figure_rst([path], str(root), alt) for path, alt in saved)

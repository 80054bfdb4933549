"""Pages below ``ko/`` say that they are Korean: browsers choose fonts and line breaks by it."""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx


def _language(app: Sphinx, name: str, template: str, context: dict[str, Any], tree: Any) -> None:
    if name.startswith("ko/"):
        context["language"] = "ko"


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("html-page-context", _language)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

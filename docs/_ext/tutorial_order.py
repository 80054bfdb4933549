"""The order in which a reader takes the tutorials."""

from __future__ import annotations

from pathlib import Path

ORDER = (
    "plot_content_or_tone.py",
    "plot_your_own_loop.py",
    "plot_korean_corpus.py",
    "plot_biosignals.py",
    "plot_recogniser_errors.py",
    "plot_sarcasm.py",
)


def in_order(name: str) -> int:
    """Its place; a tutorial that nobody has placed comes last."""
    name = Path(name).name
    return ORDER.index(name) if name in ORDER else len(ORDER)

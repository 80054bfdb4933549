"""The number of checks that the conformance kit made, counted over all workers of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from modalxai.testing import Conformance

MADE = "conformance_checks"
Conforms = Callable[[Conformance, int], None]


def checker(record: Callable[[str, object], None]) -> Conforms:
    """Refuse a report that has failures or too few checks, and count the rest.

    A test's properties travel from the workers of pytest-xdist to the process that prints.
    """

    def conforms(report: Conformance, least: int) -> None:
        record(MADE, len(report))
        report.raise_for_failures()
        assert len(report) >= least, f"{len(report)} checks are too few\n{report}"

    return conforms


def summary(stats: dict[str, list[Any]]) -> str | None:
    """One line on all the checks of a run; nothing where none was made."""
    found = [
        value
        for reports in stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, value in report.user_properties
        if name == MADE
    ]
    return f"conformance: {sum(found)} checks made, of {len(found)} parts" if found else None

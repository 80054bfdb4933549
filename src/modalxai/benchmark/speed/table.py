"""Results in long form, and tables of them for a page."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any


def csv_of(results: Mapping[str, Any]) -> str:
    """One row for each figure: table, what it is of, its name, its value."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["table", "of", "figure", "value"])
    growth, padding = results["growth"] or {}, results["padding"]
    curves = {f"growth/{name}": rows for name, rows in growth.items()}
    tables = {
        "floors": results["floors"],
        "modality": results["modality"],
        "units": results["units"],
        **curves,
        "padding": [{"what": "exact group-norm path", **padding}] if padding else [],
        "training": results["training"],
    }
    for table, rows in tables.items():
        for row in rows:
            of = "; ".join(str(value) for value in row.values() if isinstance(value, str))
            cell = {
                k: row[k] for k in ("modalities", "seconds", "batch", "budget", "x") if k in row
            }
            of += "".join(f"; {name}={value}" for name, value in cell.items())
            for figure, value in row.items():
                if isinstance(value, int | float) and figure not in cell:
                    writer.writerow([table, of, figure, repr(value)])
    return file.getvalue()


def markdown(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table; numbers stand on the right."""
    right = [
        all(isinstance(row[column], int | float) or row[column] in ("", None) for row in rows)
        for column in range(len(head))
    ]
    lines = [
        "| " + " | ".join(head) + " |",
        "|" + "|".join("---:" if one else "---" for one in right) + "|",
    ]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def number(value: float | None, digits: int = 3) -> str:
    """So many significant digits, thousands apart; a dash for what was not measured."""
    if value is None or value != value:
        return "-"
    if isinstance(value, int) or (value == int(value) and abs(value) < 1e15):
        return f"{int(value):,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}" if abs(value) < 1 else f"{value:.{max(0, digits - 1)}f}"


def _cell(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number(value)
    return "-" if value is None else str(value).replace("|", "\\|")

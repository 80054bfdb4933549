"""Results of other versions, recorded where they can be installed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

FOLDER = "recorded"


def recorded() -> dict[str, Any] | None:
    """The newest shapiq on Python 3.12 and later, or ``None`` where there is no record.

    ``benchmarks/shapiq_recorded.py`` makes it, of the games that a run leaves behind.
    """
    place = files(__package__) / FOLDER / "shapiq.json"
    if not place.is_file():
        return None
    found: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    return found


def as_rows(record: Mapping[str, Any], costs: Mapping[str, Mapping[str, float]]) -> list[Any]:
    """Its curves beside those of a run; a row of the model costs one row of every encoder.

    Parameters
    ----------
    record
        See `recorded`.
    costs
        By number of players, and modality, FLOPs of one row.
    """
    rows: list[Any] = []
    found: Sequence[Mapping[str, Any]] = record["rows"]
    for row in found:
        spent = row.get("rows")
        price = costs.get(row["units"])
        if price is None:
            continue
        more = (
            {}
            if spent is None
            else {"encoder_rows": spent * len(price), "encoder_flops": spent * sum(price.values())}
        )
        name = f"{row['contestant']} ({record['shapiq']}, recorded)"
        rows.append(
            {
                **row,
                "contestant": name,
                "package": "shapiq",
                "estimand": "Shapley",
                "recorded": True,
                **more,
            }
        )
    return rows

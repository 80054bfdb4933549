"""`Results`: everything that a page or a file of figures needs, with versions and digests."""

from __future__ import annotations

import csv
import datetime
import io
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from modalxai.benchmark.tonebench import tables
from modalxai.benchmark.tonebench.contestant import Contestant, installed
from modalxai.benchmark.tonebench.contestants import DEFAULT
from modalxai.benchmark.tonebench.scores import Estimate
from modalxai.benchmark.tonebench.settings import BENCHMARK, Settings
from modalxai.benchmark.tonebench.tables import Line
from modalxai.datasets.tonebench import FAMILIES, GENERATOR

PACKAGES = ("modalxai", "torch", "numpy", "captum", "shap", "shapiq")
METRICS = (
    "share_error",
    "against_default",
    "nats_error",
    "signs",
    "leak",
    "completeness",
    "kinds",
)


@dataclass(frozen=True, eq=False)
class Results:
    """A contest, scored.

    Parameters
    ----------
    settings
        Of the run.
    gates
        Of every model: passed or not, and why.
    lines
        Of every family, removal and contestant.
    entrants
        By contestant origin, question, cost, and whether it is installed.
    reparametrisation
        By contestant the largest gap over all models, points; missing where it has none.
    spreads
        By contestant and family, how far removals move its shares, points.
    confusions
        By contestant, types of interaction under the gold's removal.
    digests
        By family, of its gold.
    machine, versions, date
        Where, with what, when.
    """

    settings: Settings
    gates: tuple[Mapping[str, Any], ...]
    lines: tuple[Line, ...]
    entrants: Mapping[str, Mapping[str, str]]
    reparametrisation: Mapping[str, float]
    spreads: Mapping[str, Mapping[str, float]]
    confusions: Mapping[str, Mapping[str, Mapping[str, int]]]
    digests: Mapping[str, str]
    machine: str
    versions: Mapping[str, str]
    date: str

    @property
    def families(self) -> tuple[str, ...]:
        """Families with at least one model whose gate held."""
        return tuple(dict.fromkeys(line.family for line in self.lines))

    def of(self, family: str, removal: str) -> list[Line]:
        """Lines of one table, the smallest share error first."""
        own = [one for one in self.lines if (one.family, one.removal) == (family, removal)]
        return sorted(own, key=_order)

    def record(self) -> dict[str, Any]:
        """The same as json can hold it."""
        return {
            "benchmark": BENCHMARK,
            "generator": GENERATOR,
            "date": self.date,
            "machine": self.machine,
            "versions": dict(self.versions),
            "settings": self.settings.deciding()
            | {"families": list(self.settings.families), "seeds": self.settings.seeds},
            "default": DEFAULT,
            "digests": dict(self.digests),
            "gates": list(self.gates),
            "contestants": dict(self.entrants),
            "reparametrisation": dict(self.reparametrisation),
            "spreads": dict(self.spreads),
            "confusions": dict(self.confusions),
            "lines": [asdict(one) for one in self.lines],
        }

    def csv(self) -> str:
        """Long form: one row for each line and metric."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        head = ["family", "track", "removal", "contestant", "status", "seeds", "rank"]
        writer.writerow([*head, "metric", "value", "low", "high"])
        for line in self.lines:
            start = [line.family, line.track, line.removal, line.contestant, line.status]
            start += [str(line.seeds), "" if line.rank is None else str(line.rank)]
            wrote = False
            for metric, found in _figures(line):
                writer.writerow([*start, metric, found.value, found.low, found.high])
                wrote = True
            if not wrote:
                writer.writerow([*start, "", "", "", ""])
        return file.getvalue()


def gather(
    settings: Settings,
    gates: Sequence[Mapping[str, Any]],
    records: Sequence[Mapping[str, Any]],
    contestants: Sequence[Contestant],
) -> Results:
    """Score what was said."""
    names = [one.name for one in contestants]
    same = _removal_of(records, "same")
    gaps = {
        name: [float(one["reparametrisation"][name]) for one in records
               if one["reparametrisation"].get(name) is not None]
        for name in names
    }  # fmt: skip
    tables_of = {name: tables.confusions(records, same, name) for name in names}
    return Results(
        settings=settings,
        gates=tuple(gates),
        lines=tuple(tables.lines(records, DEFAULT, lambda name: FAMILIES[name].share)),
        entrants={
            one.name: {
                "origin": one.origin,
                "question": one.question,
                "cost": one.cost,
                "installed": "yes" if installed(one) else "no",
            }
            for one in contestants
        },
        reparametrisation={name: max(values) for name, values in gaps.items() if values},
        spreads={name: found for name in names if (found := tables.spreads(records, name))},
        confusions={name: table for name, table in tables_of.items() if _any(table)},
        digests={name: FAMILIES[name].digest() for name in settings.families},
        machine=machine(),
        versions=packages(),
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
    )


def machine() -> str:
    """What it ran on, in a few words."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores"


def packages() -> dict[str, str]:
    """Versions of the packages that decide a figure."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _any(table: Mapping[str, Mapping[str, int]]) -> bool:
    return any(count for row in table.values() for count in row.values())


def _removal_of(records: Sequence[Mapping[str, Any]], track: str) -> str:
    for one in records:
        for removal, name in one["tracks"].items():
            if name == track:
                return str(removal)
    return ""


def _figures(line: Line) -> list[tuple[str, Estimate]]:
    found = [(name, value) for name in METRICS if (value := getattr(line, name)) is not None]
    for name, maps in (("auc", line.found), ("pointing", line.pointed)):
        found += [(f"{name} {modality}", value) for modality, value in (maps or {}).items()]
    nothing = float("nan")
    for name in ("rows", "printed"):
        value = getattr(line, name)
        if value is not None:
            found.append((name, Estimate(value, nothing, nothing)))
    return found


def _order(line: Line) -> tuple[int, float, str]:
    known = line.share_error is not None and line.share_error.value == line.share_error.value
    error = line.share_error.value if line.share_error is not None and known else 0.0
    return (0 if known else 1 if line.status == "answered" else 2, round(error, 2), line.contestant)

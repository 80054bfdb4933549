"""Results laid out as a paper's table, the paper's own figures in columns of their own."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from modalxai.errors import InputError

PAPER = "paper"


@dataclass(frozen=True)
class Line:
    """One line of a results table.

    Parameters
    ----------
    name
        Of what was measured, as the paper calls it.
    values
        By metric one number, or one per seed; NaN where there is none.
    paper
        By metric what the paper prints for its own data, as text. It is never a result here.
    group
        A heading that the line stands under.
    """

    name: str
    values: Mapping[str, float | Sequence[float]]
    paper: Mapping[str, str] = field(default_factory=dict)
    group: str = ""


@dataclass(frozen=True)
class ResultsTable:
    """Lines by metrics.

    Parameters
    ----------
    title
        What the table is of; on which data.
    metrics
        Names of the columns, in order.
    lines
        In order; lines of one group stand together.
    digits
        After the point.

    Raises
    ------
    InputError
        A line with a metric that the table does not show.
    """

    title: str
    metrics: tuple[str, ...]
    lines: tuple[Line, ...]
    digits: int = 3

    def __post_init__(self) -> None:
        for line in self.lines:
            if unknown := sorted({*line.values, *line.paper} - set(self.metrics)):
                raise InputError(
                    f"the line {line.name!r} has other metrics than its table",
                    expected=f"some of {list(self.metrics)}",
                    got=str(unknown),
                    mend="name them in the table",
                )

    def __str__(self) -> str:
        rows = self._rows()
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        text = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([self.title, text[0], "-" * max(map(len, text)), *text[1:]])

    def markdown(self) -> str:
        """A heading and a table."""
        head, *rows = [[cell.replace("|", "\\|") for cell in row] for row in self._rows()]
        lines = [head, ["---"] * len(head), *rows]
        return "\n".join([f"## {self.title}", "", *(f"| {' | '.join(row)} |" for row in lines), ""])

    def csv(self, head: bool = True) -> str:
        """Long form: one row per line, metric and seed; the paper's figure beside it.

        Parameters
        ----------
        head
            Begin with the names of the columns.
        """
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        if head:
            writer.writerow(["table", "group", "name", "metric", "seed", "value", PAPER])
        for line in self.lines:
            for metric in self.metrics:
                told = line.paper.get(metric, "")
                found = _seeds(line.values.get(metric, ()))
                for seed, value in enumerate(found):
                    writer.writerow(
                        [self.title, line.group, line.name, metric, seed, repr(value), told]
                    )
                if not found and told:
                    writer.writerow([self.title, line.group, line.name, metric, "", "", told])
        return file.getvalue()

    def _rows(self) -> list[list[str]]:
        quoted = [metric for metric in self.metrics if any(metric in x.paper for x in self.lines)]
        head = ["", *self.metrics, *(f"{metric} ({PAPER})" for metric in quoted)]
        rows, group = [head], ""
        for line in self.lines:
            if line.group != group:
                group = line.group
                rows.append([group, *[""] * (len(head) - 1)])
            cells = [_cell(line.values.get(metric, ()), self.digits) for metric in self.metrics]
            rows.append([line.name, *cells, *(line.paper.get(metric, "") for metric in quoted)])
        return rows


def _seeds(values: float | Sequence[float]) -> list[float]:
    return [float(values)] if isinstance(values, int | float) else [float(x) for x in values]


def _cell(values: float | Sequence[float], digits: int) -> str:
    """The mean, and the deviation over seeds where there are several; one count as it is."""
    found = _seeds(values)
    if not found or any(math.isnan(value) for value in found):
        return "-"
    mean = math.fsum(found) / len(found)
    if len(found) == 1:
        return str(values) if isinstance(values, int) else _rounded(mean, digits)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in found) / (len(found) - 1))
    return f"{_rounded(mean, digits)} ± {deviation:.{digits}f}"


def _rounded(value: float, digits: int) -> str:
    """Without the sign of a zero."""
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text

"""What a corpus holds, what is broken and what was left out: the frozen report of a reader."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

Outcome = Literal["broken", "dropped", "repaired", "noted"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
_SHOWN = 5
"""How many subjects of one kind the printed report lists; `CorpusReport.to_dict` has them all."""


@dataclass(frozen=True)
class Finding:
    """One thing about a corpus that is not as it should be.

    Parameters
    ----------
    outcome
        ``"broken"``: cannot be used, and is no known fault of the published corpus. ``"dropped"``:
        left out, for a known fault or by a setting. ``"repaired"``: read, but not as written.
        ``"noted"``: used as it is.
    kind
        What sort of thing, the same words for the same sort.
    subject
        The sample, the file and line, or the folder.
    reason
        Why, or what was done, one clause.
    """

    outcome: Outcome
    kind: str
    subject: str
    reason: str


@dataclass(frozen=True)
class Count:
    """How many were found, and how many were published (``None``: not known).

    ``exact`` is False where the publication counts under other rules than this reader.
    """

    name: str
    found: int
    published: int | None = None
    exact: bool = True

    @property
    def agrees(self) -> bool:
        """Whether nothing published speaks against the number found."""
        return not self.exact or self.published is None or self.found == self.published


@dataclass(frozen=True)
class CorpusReport:
    """What a reader found.

    Parameters
    ----------
    corpus, folder
        Which corpus, and where.
    counts
        Numbers found beside the published ones.
    findings
        Everything that was not as it should be, in the order found.
    """

    corpus: str
    folder: str
    counts: tuple[Count, ...]
    findings: tuple[Finding, ...]

    def of(self, outcome: Outcome) -> tuple[Finding, ...]:
        """The findings with one outcome."""
        return tuple(one for one in self.findings if one.outcome == outcome)

    @property
    def sound(self) -> bool:
        """Whether nothing is broken beyond the known faults of the published corpus."""
        return not self.of("broken")

    @property
    def complete(self) -> bool:
        """Whether every number equals the published one."""
        return all(count.agrees for count in self.counts)

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts and lists, for json."""
        return {**asdict(self), "sound": self.sound, "complete": self.complete}

    def __str__(self) -> str:
        """One screen: the counts, then the findings by outcome and kind, the first few named."""
        width = max((len(count.name) for count in self.counts), default=0)
        lines = [f"{self.corpus} in {self.folder}"]
        for count in self.counts:
            lines.append(f"  {count.name:{width}}  {count.found:>7}{_beside(count)}")
        for outcome in OUTCOMES:
            found = self.of(outcome)
            lines.append(f"{outcome}: {len(found)}")
            for (kind, reason), subjects in _grouped(found).items():
                named = ", ".join(subjects[:_SHOWN])
                more = f", and {len(subjects) - _SHOWN} more" if len(subjects) > _SHOWN else ""
                lines.append(f"  {kind} ({len(subjects)}): {reason}: {named}{more}")
        return "\n".join(lines)


def _beside(count: Count) -> str:
    if count.published is None:
        return ""
    if not count.exact:
        return f"  (published {count.published}, counted otherwise)"
    return f"  of {count.published}" + ("" if count.agrees else "  DIFFERS")


def _grouped(findings: Iterable[Finding]) -> dict[tuple[str, str], list[str]]:
    groups: dict[tuple[str, str], list[str]] = {}
    for one in findings:
        groups.setdefault((one.kind, one.reason), []).append(one.subject)
    return groups


@dataclass
class Notebook:
    """Where a reader writes its findings while it reads."""

    findings: list[Finding] = field(default_factory=list)

    def broken(self, kind: str, subject: str, reason: str) -> None:
        """Write down what cannot be used."""
        self.findings.append(Finding("broken", kind, subject, reason))

    def dropped(self, kind: str, subject: str, reason: str) -> None:
        """Write down what is left out."""
        self.findings.append(Finding("dropped", kind, subject, reason))

    def repaired(self, kind: str, subject: str, reason: str) -> None:
        """Write down what is read otherwise than written."""
        self.findings.append(Finding("repaired", kind, subject, reason))

    def noted(self, kind: str, subject: str, reason: str) -> None:
        """Write down what is used as it is."""
        self.findings.append(Finding("noted", kind, subject, reason))

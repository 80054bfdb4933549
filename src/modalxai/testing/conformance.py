"""What a kit of checks is made of: promises, and the report of whether a part keeps them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from typing import Any, Generic, Literal, TypeVar
from unittest import SkipTest

import numpy as np
import torch

from modalxai.errors import InputError, ModalxaiError

Outcome = Literal["passed", "failed", "skipped", "expected failure"]
OUTCOMES: tuple[Outcome, ...] = ("passed", "failed", "expected failure", "skipped")
Case = TypeVar("Case", contravariant=True)


class ConformanceError(ModalxaiError, AssertionError):
    """A part that breaks a promise; the message names each one."""


class PromiseError(Exception):
    """Raised by a promise that is not kept; its text says why."""


class NotApplicable(SkipTest):
    """Raised by a promise that cannot be checked here; its text says why."""


@dataclass(frozen=True)
class Check:
    """One promise, and what became of it.

    Parameters
    ----------
    name
        What is promised, in a few words.
    outcome
        ``"passed"``, ``"failed"``, ``"skipped"`` or ``"expected failure"``.
    why
        What was found, or why it was skipped or expected; empty where it passed.
    mend
        What the author of the part should do; empty unless it failed.
    """

    name: str
    outcome: Outcome
    why: str = ""
    mend: str = ""


@dataclass(frozen=True)
class Conformance:
    """What a kit found about one part.

    ``len(report)`` is the number of checks made, skipped ones not counted. As a condition the
    report is whether it passed, so that ``assert report`` says what it seems to say.
    ``str(report)`` is a table.

    Parameters
    ----------
    subject
        What was checked.
    checks
        In the order in which they were made.
    """

    subject: str
    checks: tuple[Check, ...]

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.outcome == "failed")

    @property
    def passed(self) -> bool:
        """Whether no check failed, and any was made."""
        return not self.failures and len(self) > 0

    def count(self, outcome: Outcome) -> int:
        """How many checks came out so."""
        return sum(check.outcome == outcome for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Json values: the subject, whether it passed, how many checks came out how, the checks."""
        return {
            "subject": self.subject,
            "passed": self.passed,
            "made": len(self),
            "counts": {outcome: self.count(outcome) for outcome in OUTCOMES},
            "checks": [asdict(check) for check in self.checks],
        }

    def raise_for_failures(self) -> None:
        """Raise unless the part passed.

        Raises
        ------
        ConformanceError
            Names each failed check, with why and the mend.
        """
        if self.passed:
            return
        raise ConformanceError(
            f"{self.subject} breaks {len(self.failures)} of {len(self)} promises",
            expected="every check to pass",
            got="".join(f"\n  - {check.name}: {check.why}" for check in self.failures) or "none",
            mend="".join(f"\n  - {check.name}: {check.mend}" for check in self.failures)
            or "give what the checks need: every one of them was skipped",
        )

    def __len__(self) -> int:
        return len(self.checks) - self.count("skipped")

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        found = ", ".join(f"{self.count(outcome)} {outcome}" for outcome in OUTCOMES)
        lines = [f"{self.subject}: {len(self)} checks made ({found})"]
        for check in self.checks:
            lines.append(f"  {check.outcome:<16}  {check.name}")
            lines += [f"{'':18}  {word}: {text}" for word, text in _told(check) if text]
        return "\n".join(lines)


def _told(check: Check) -> tuple[tuple[str, str], ...]:
    return (("why", check.why), ("mend", check.mend))


@dataclass(frozen=True)
class Promise(Generic[Case]):
    """One thing that a part promises.

    Parameters
    ----------
    name
        A few words that say what holds.
    mend
        What to do about a part for which it does not.
    keep
        Called with a case; raises `PromiseError` (or anything else) where it does not hold, and
        `NotApplicable` where that cannot be told.
    needs
        Names of promises without which this one means nothing: it is skipped where one is broken,
        so that a report names the cause and not its consequences.
    """

    name: str
    mend: str
    keep: Callable[[Case], None]
    needs: tuple[str, ...] = ()


def promise(
    mend: str, needs: Sequence[Promise[Any]] = ()
) -> Callable[[Callable[[Case], None]], Promise[Case]]:
    """A function as a `Promise`; its name, with spaces, is the promise's."""

    def wrap(keep: Callable[[Case], None]) -> Promise[Case]:
        name = keep.__name__.replace("_", " ")
        return Promise(name, mend, keep, tuple(need.name for need in needs))

    return wrap


def after(needs: Sequence[Promise[Any]], promises: Sequence[Promise[Any]]) -> list[Promise[Any]]:
    """Promises that are skipped where one of ``needs`` is broken."""
    names = tuple(need.name for need in needs)
    return [replace(one, needs=names + one.needs) for one in promises]


def require(holds: bool, why: str) -> None:
    """Raise `PromiseError` with ``why`` unless it holds."""
    if not holds:
        raise PromiseError(why)


def run(
    subject: str,
    promises: Sequence[Promise[Case]],
    case: Case,
    expected: Mapping[str, str] | None = None,
) -> Conformance:
    """Check every promise; the caller's random generators are spared.

    Parameters
    ----------
    subject
        What is checked, for the report.
    promises
        In an order in which each comes after those it needs.
    case
        What each of them is called with.
    expected
        By the name of a promise that will be broken, the reason. One that is kept after all fails.

    Raises
    ------
    InputError
        ``expected`` names no promise, or gives no reason.
    """
    expected = dict(expected or {})
    names = [one.name for one in promises]
    if wrong := [name for name in expected if name not in names or not expected[name].strip()]:
        raise InputError(
            "expected failures that are no checks, or have no reason",
            expected=f"a reason for any of {names}",
            got=str({name: expected[name] for name in wrong}),
            mend='write expected={"a row alone is its row of a batch": "why"}',
        )
    checks: list[Check] = []
    broken: set[str] = set()
    tell = _watcher.get()
    for place, one in enumerate(promises):
        if tell is not None:
            tell(one.name, place, len(promises))
        if blocked := [name for name in one.needs if name in broken]:
            check = Check(one.name, "skipped", f"means nothing while {blocked[0]!r} does not hold")
        else:
            check = _judge(one, case, expected.get(one.name))
        # What is expected has been thought of: what follows from it is judged like the rest.
        if blocked or check.outcome == "failed":
            broken.add(one.name)
        checks.append(check)
    return Conformance(subject, tuple(checks))


Watcher = Callable[[str, int, int], None]
"""Told the name of a check before it is made, its place, and how many there are."""
_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watched(tell: Watcher) -> Iterator[None]:
    """Tell how far the checks inside have come, for a progress bar."""
    token = _watcher.set(tell)
    try:
        yield
    finally:
        _watcher.reset(token)


def _judge(one: Promise[Case], case: Case, reason: str | None) -> Check:
    try:
        with spared():
            one.keep(case)
    except SkipTest as skip:
        return Check(one.name, "skipped", str(skip))
    except Exception as error:
        why = str(error) if isinstance(error, PromiseError) else f"{type(error).__name__}: {error}"
        why = " ".join(why.split())[:600]
        if reason is not None:
            return Check(one.name, "expected failure", f"{reason} ({why})")
        return Check(one.name, "failed", why, one.mend)
    if reason is not None:
        why = f"it was expected to fail ({reason}), and holds"
        return Check(one.name, "failed", why, "take it out of the expected failures")
    return Check(one.name, "passed")


@contextmanager
def spared() -> Iterator[None]:
    """The same random numbers inside every time, and the caller's generators left as they were."""
    python, array = random.getstate(), np.random.get_state()
    # Asking an uninitialised CUDA for its state would initialise it; untyped in torch.
    used = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = list(range(torch.cuda.device_count())) if used else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(array)


class NamedCheck(Generic[Case]):
    """One check of a kit by itself, for ``pytest.mark.parametrize("check", ..., ids=str)``.

    Called with what the kit's own function takes. It raises `ConformanceError` where the promise
    is broken, and ``unittest.SkipTest``, which pytest reports as a skip, where it cannot be told.

    Parameters
    ----------
    promise
        What is checked.
    make_case
        The kit's arguments to a case.
    """

    def __init__(self, promise: Promise[Case], make_case: Callable[..., Case]) -> None:
        self.promise = promise
        self.name = promise.name
        self._make_case = make_case

    def __call__(self, *args: Any, **settings: Any) -> None:
        """Make this one check."""
        (check,) = run("the part", [self.promise], self._make_case(*args, **settings)).checks
        if check.outcome == "skipped":
            raise SkipTest(check.why)
        if check.outcome == "failed":
            raise ConformanceError(check.name, expected="yes", got=check.why, mend=check.mend)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"NamedCheck({self.name!r})"

"""One error family: every message says what is wrong, what was expected, what came, the mend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self, TypeVar

Raw = TypeVar("Raw")
Value = TypeVar("Value")


class ModalxaiError(Exception):
    """Base of every error that modalxai raises for a mistake its user can mend.

    Parameters
    ----------
    wrong
        What is wrong, one clause, no full stop.
    expected, got
        What should have come and what came.
    mend
        What the reader should do.
    index
        Row in the sequence under work, when the row's name is not known where the error is
        raised. `at` turns it into a name at the boundary that knows it.

    Examples
    --------
    >>> print(InputError("no audio", expected="400 samples", got="0", mend="drop it"))
    no audio
      expected: 400 samples
      got: 0
      mend: drop it
    """

    def __init__(
        self, wrong: str, *, expected: str, got: str, mend: str, index: int | None = None
    ) -> None:
        self.wrong = wrong
        self.expected = expected
        self.got = got
        self.mend = mend
        self.index = index
        super().__init__(wrong)

    def __str__(self) -> str:
        return f"{self.wrong}\n  expected: {self.expected}\n  got: {self.got}\n  mend: {self.mend}"

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders (loader workers), and required keywords break the default.
        return _rebuild, (type(self), self.wrong, self.expected, self.got, self.mend, self.index)

    def at(self, place: str, index: int | None = None) -> Self:
        """The same error, its message prefixed by where it happened (a sample, a file)."""
        return type(self)(
            f"{place}: {self.wrong}",
            expected=self.expected,
            got=self.got,
            mend=self.mend,
            index=index,
        )


def _rebuild(
    cls: type[ModalxaiError], wrong: str, expected: str, got: str, mend: str, index: int | None
) -> ModalxaiError:
    return cls(wrong, expected=expected, got=got, mend=mend, index=index)


class InputError(ModalxaiError, ValueError):
    """A sample, label, mask or setting that cannot be used."""


class PluginError(ModalxaiError, LookupError):
    """A plugin that is unknown, broken, or claimed twice."""


class CheckpointError(ModalxaiError, ValueError):
    """A folder or file of weights that cannot be loaded."""


class RemovalError(ModalxaiError, ValueError):
    """A removal that was not named, or that an encoder does not offer."""


class StaleGameError(ModalxaiError, RuntimeError):
    """A game whose model's weights have changed since it was made."""


class DependencyError(ModalxaiError, ImportError):
    """A package that is missing, or whose binary does not match another."""


class RequestError(ModalxaiError, RuntimeError):
    """A request that a server did not answer, or not with what was asked for."""


class AccessError(RequestError):
    """A server that would refuse every request alike: no key, a wrong address or model."""


def each(raws: Sequence[Raw | None], convert: Callable[[Raw], Value]) -> list[Value | None]:
    """``convert`` on every raw value that is there; an error carries the row it came from."""
    values: list[Value | None] = []
    for index, raw in enumerate(raws):
        try:
            values.append(None if raw is None else convert(raw))
        except ModalxaiError as error:
            error.index = index
            raise
    return values

"""A user's function of samples: called in batches, its answers read, nothing of it changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from modalxai.errors import InputError, StaleGameError
from modalxai.games.answers import OUTPUTS, Outputs, read_scores
from modalxai.trace import Fingerprint, no_trace
from modalxai.types import Labels


class Function:
    """What a black box answers.

    Parameters
    ----------
    fn
        n samples to scores [n, K].
    labels
        The K columns.
    batch_size
        Samples given to it at once.
    outputs
        See `modalxai.games.answers.read_scores`.

    Raises
    ------
    InputError
        Nothing that can be called, or a setting that does not exist.
    """

    def __init__(
        self,
        fn: Callable[[list[dict[str, Any]]], Any],
        labels: Labels,
        batch_size: int,
        outputs: Outputs | None,
    ) -> None:
        if not callable(fn):
            raise InputError(
                "a black box that cannot be called",
                expected="a function of a list of samples",
                got=type(fn).__name__,
                mend="write def fn(samples): return scores",
            )
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise InputError(
                "batch_size out of range",
                expected="a whole number from 1",
                got=repr(batch_size),
                mend="as many samples as the function can take at once",
            )
        if outputs is not None and outputs not in OUTPUTS:
            raise InputError(
                "unknown outputs",
                expected=f"one of {list(OUTPUTS)}",
                got=repr(outputs),
                mend="say what the function returns",
            )
        self._fn = fn
        self._labels = labels
        self._batch_size = batch_size
        self._outputs = outputs
        module = _module_of(fn)
        self._fingerprint = None if module is None else Fingerprint(module)
        # Of a module without parts, the generators alone are left as they were.
        self._module = nn.Module() if module is None else module

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Whatever happens inside leaves no trace, see `modalxai.trace.no_trace`.

        Raises
        ------
        StaleGameError
            A module whose weights have changed.
        """
        if self._fingerprint is not None and not self._fingerprint.matches(self._module):
            raise StaleGameError(
                "the weights of the black box have changed since this game was made",
                expected="the weights it was made with",
                got="others",
                mend="make a new CallableGame after each training step",
            )
        with no_trace(self._module):
            yield

    def scores(
        self,
        count: int,
        make: Callable[[int], dict[str, Any]],
        name: Callable[[int], str],
    ) -> Tensor:
        """Raw scores [count, K].

        Parameters
        ----------
        make
            Row to sample, called when its batch is due.
        name
            What a row is called in an error.

        Raises
        ------
        InputError
            Scores that cannot be used, see `modalxai.games.answers.read_scores`.
        """
        found = []
        for start in range(0, count, self._batch_size):
            rows: Sequence[int] = range(start, min(start + self._batch_size, count))
            answer = self._fn([make(row) for row in rows])
            shifted = partial(_shifted, name, start)
            found.append(read_scores(answer, len(rows), self._labels, self._outputs, shifted))
        return torch.cat(found)


def _shifted(name: Callable[[int], str], start: int, row: int) -> str:
    return name(start + row)


def _module_of(fn: Any) -> nn.Module | None:
    """The module that a function is, or is a method of."""
    while isinstance(fn, partial):
        fn = fn.func
    owner = fn if isinstance(fn, nn.Module) else getattr(fn, "__self__", None)
    return owner if isinstance(owner, nn.Module) else None

"""What a call costs: FLOPs, rows and calls of the encoders, memory at its peak, CPU time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

Call = Callable[[], object]


@contextmanager
def countable() -> Iterator[None]:
    """The counter sees nothing of the fused inference path, nor of some attention kernels."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def flops(call: Call) -> int:
    """Floating point operations of matrix products, convolutions and attention, backward too.

    A multiplication and an addition are two. What is one operation for each number (norms,
    activations, sums over coalitions) is not counted, as nobody counts it.
    """
    with countable(), FlopCounterMode(display=False) as counter:
        call()
    total: int = counter.get_total_flops()
    return total


class Rows:
    """Rows and calls that encoders were given while it was entered.

    Parameters
    ----------
    encoders
        By modality.

    Attributes
    ----------
    rows, calls
        By modality.
    """

    def __init__(self, encoders: Mapping[str, nn.Module] | nn.ModuleDict) -> None:
        self._encoders = dict(encoders.items())
        self.rows = dict.fromkeys(self._encoders, 0)
        self.calls = dict.fromkeys(self._encoders, 0)
        self._handles: list[Any] = []

    def __enter__(self) -> Rows:
        for name, encoder in self._encoders.items():
            self._handles.append(encoder.register_forward_pre_hook(self._counter(name)))
        return self

    def __exit__(self, *_error: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _counter(self, name: str) -> Callable[[nn.Module, tuple[Mapping[str, Tensor], ...]], None]:
        def count(_: nn.Module, args: tuple[Mapping[str, Tensor], ...]) -> None:
            self.rows[name] += len(next(iter(args[0].values())))
            self.calls[name] += 1

        return count


def peak_bytes(call: Call) -> int:
    """The most bytes of tensors that were alive at once, beyond those alive before.

    Told by torch's own allocator, so it is the same on every machine and in every process; memory
    of numpy and of the interpreter is not in it.
    """
    with torch.autograd.profiler.profile(profile_memory=True) as profile:
        call()
    events: Any = profile.kineto_results
    live = most = 0
    for event in events.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            most = max(most, live)
    return most


def cpu_seconds(call: Call) -> float:
    """CPU time of this process, which other programs disturb less than the clock on the wall."""
    _wait()
    start = time.process_time()
    call()
    _wait()
    return time.process_time() - start


def wall_seconds(call: Call) -> float:
    """Time on the wall; on a GPU the only one that says anything."""
    _wait()
    start = time.perf_counter()
    call()
    _wait()
    return time.perf_counter() - start


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@dataclass(frozen=True)
class Ratio:
    """Time of one call over that of another, both run in turns.

    Parameters
    ----------
    middle, low, high
        Median, least and greatest of the ratios of neighbours.
    seconds
        Median of what it is compared with.
    pairs
        How many.
    """

    middle: float
    low: float
    high: float
    seconds: float
    pairs: int


def paired(
    call: Call, other: Call, pairs: int, timer: Callable[[Call], float] = cpu_seconds
) -> Ratio:
    """``call`` against ``other``, A B B A A B ..., so that what the machine does hits both."""
    ratios, seconds = [], []
    for pair in range(pairs):
        if pair % 2:
            theirs, ours = timer(other), timer(call)
        else:
            ours, theirs = timer(call), timer(other)
        ratios.append(ours / max(theirs, 1e-9))
        seconds.append(theirs)
    return Ratio(
        statistics.median(ratios), min(ratios), max(ratios), statistics.median(seconds), pairs
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread, so that CPU time is the work and not the waiting of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

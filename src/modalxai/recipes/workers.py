"""A recipe's tasks dealt to several processes, which fill the folder of one run.

A task is a stage, or a few that need each other: it leaves its results in the run's folder, where
whoever dealt it reads them. So nothing comes back but "done", and a killed run goes on.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar, cast

import torch

from modalxai.errors import ModalxaiError

Task = TypeVar("Task")


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def deal(
    make: Callable[[], Callable[[Task], object]],
    tasks: Sequence[Task],
    processes: int,
    threads: int | None = None,
) -> None:
    """Do every task, in order, each in the first process that is free.

    The processes are spawned, on every system. They end with this one, whatever ends it, and all
    of them as soon as one task fails.

    Parameters
    ----------
    make
        Called once in each process, for what does a task there: a function of a module, or a
        `functools.partial` of one.
    tasks
        What that is called with. No task may need what another one leaves.
    processes
        1 for this process alone.
    threads
        Of torch, in each process. With one thread the results hang neither on the number of
        processes nor on the machine's cores. ``None`` deals out those that torch has here.

    Raises
    ------
    ModalxaiError
        A process ended before its tasks did.
    Exception
        What a task raised; a note holds the traceback of the process that it was raised in.
    """
    number = min(processes, len(tasks))
    if not number:
        return
    each = max(1, torch.get_num_threads() // number) if threads is None else threads
    if number == 1:
        with _threads(each):
            do = make()
            for task in tasks:
                do(task)
        return
    context = multiprocessing.get_context("spawn")
    crew: dict[Connection, Any] = {}
    try:
        for _ in range(number):
            here, there = context.Pipe()
            # No daemon: a loader in it may have processes of its own.
            crew[here] = context.Process(target=_work, args=(there, make, each))
            crew[here].start()
            # The new process alone holds that end: it closes when the process ends.
            there.close()
        _serve(crew, iter(tasks))
    finally:
        for pipe, process in crew.items():
            pipe.close()
            if process.pid is not None:
                process.terminate()
                process.join()


def _serve(crew: dict[Connection, Any], tasks: Iterator[Any]) -> None:
    """Give each process a task whenever it says "done"; leave when all are told to go home."""
    busy = set(crew)
    while busy:
        for pipe in cast("list[Connection]", wait(busy)):
            try:
                packed, told = pipe.recv()
            except (EOFError, OSError):
                crew[pipe].join()
                raise _ended(crew[pipe].exitcode) from None
            if told is not None:
                raise _unpacked(packed, told)
            task = next(((one,) for one in tasks), None)
            if task is None:
                busy.remove(pipe)
            # Whoever ended meanwhile is met when it is listened to.
            with suppress(OSError):
                pipe.send(task)
    for process in crew.values():
        process.join()


def _ended(code: int | None) -> ModalxaiError:
    return ModalxaiError(
        "a process of this run ended before its tasks did",
        expected="processes that stay until they are sent home",
        got=f"exit code {code}; what it said before stands above",
        mend="begin again, and the run goes on; with workers=1 where memory is short, or where a "
        "script has no `if __name__ == '__main__':` around its call",
    )


def _work(pipe: Connection, make: Callable[[], Callable[[Any], object]], threads: int) -> None:
    """A process: "done" once ready, and after each task, until there is none."""
    # Ctrl-C reaches every process; the first one is told, and ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # As an exception, so that no half-written file stays behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    try:
        do = make()
        pipe.send((None, None))
        while task := pipe.recv():
            do(task[0])
            pipe.send((None, None))
    except Exception as error:
        pipe.send((_packed(error), traceback.format_exc()))


def _packed(error: Exception) -> bytes | None:
    """The error for another process; ``None`` where it cannot travel."""
    try:
        packed = pickle.dumps(error)
        pickle.loads(packed)
    except Exception:
        return None
    return packed


def _unpacked(packed: bytes | None, told: str) -> Exception:
    error: Exception = RuntimeError(told) if packed is None else pickle.loads(packed)
    error.add_note(f"In another process of this run:\n{told}")
    return error


def _end_with_parent() -> None:
    """Nobody reads what an orphan makes, and the next run would meet it in its folder."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Torch computes on so many threads within."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)

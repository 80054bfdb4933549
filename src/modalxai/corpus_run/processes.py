"""Which process this is, of how many: as torchrun, Accelerate or torch.distributed say."""

from __future__ import annotations

import os

from modalxai.errors import InputError


def share(given: tuple[int, int] | None) -> tuple[int, int]:
    """The number of this process, from 0, and how many there are.

    Raises
    ------
    InputError
        A number that is not below the count.
    """
    if given is None:
        given = _found()
    number, count = given
    if not 0 <= number < count:
        raise InputError(
            "no such process",
            expected="(number from 0, how many), the number below the count",
            got=repr(given),
            mend="shard=(0, 1) for one process",
        )
    return number, count


def _found() -> tuple[int, int]:
    import torch.distributed as group

    if group.is_available() and group.is_initialized():
        return group.get_rank(), group.get_world_size()
    # torchrun, and Accelerate, which uses it, tell every process by its environment.
    number, count = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    if not (number.isdecimal() and count.isdecimal()):
        raise InputError(
            "an environment that does not say which process this is",
            expected="whole numbers in RANK and WORLD_SIZE",
            got=f"RANK={number!r}, WORLD_SIZE={count!r}",
            mend="start with torchrun, or give shard=(number, count)",
        )
    return int(number), int(count)

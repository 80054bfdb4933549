"""Groups of samples dealt out to parts: whole groups, near the sizes asked for, labels alike."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from modalxai.audio import seed_for

_TRIES, _WORK = 32, 4000
"""Random orders tried, as many as this many groups allow; the best is taken."""


def connected(columns: Sequence[Sequence[Hashable | None]], names: Sequence[str]) -> list[str]:
    """The group of each sample: samples that share a value of any column are in one.

    Parameters
    ----------
    columns
        Values [N] each; ``None`` ties a sample to no other.
    names
        The samples' ids [N]. A group is called by the first of its ids in sorted order, so that
        its name does not depend on the order of the samples.
    """
    root = list(range(len(names)))

    def find(row: int) -> int:
        while root[row] != row:
            root[row] = row = root[root[row]]
        return row

    for values in columns:
        first: dict[Hashable, int] = {}
        for row, value in enumerate(values):
            if value is not None:
                root[find(row)] = find(first.setdefault(value, row))
    called: dict[int, str] = {}
    for row, name in enumerate(names):
        place = find(row)
        called[place] = min(called.get(place, name), name)
    return [called[find(row)] for row in range(len(names))]


def deal(
    groups: Sequence[str],
    classes: Sequence[Hashable],
    shares: Sequence[float],
    seed: int,
    draw: int,
) -> dict[str, int]:
    """The part of each group, one of ``len(shares)``.

    Groups come in an order that hangs on the seed and their names. Each goes to the part that lacks
    most of its labels (rare ones weigh more), among those that still lack samples; where only as
    many groups are left as parts are empty, to one of these. Of several orders the one is kept
    whose label counts lie nearest to those asked for, by chi-square. No part then holds more than
    its share and one group.

    Parameters
    ----------
    groups, classes
        Of each sample, [N].
    shares
        What each part should hold, 1 together.
    seed, draw
        Two numbers; another draw deals otherwise.
    """
    names = sorted(set(groups))
    place = {name: number for number, name in enumerate(names)}
    kinds = {name: number for number, name in enumerate(sorted(set(classes), key=repr))}
    counts = np.zeros((len(names), len(kinds)))
    np.add.at(counts, ([place[one] for one in groups], [kinds[one] for one in classes]), 1)
    wanted = np.outer(shares, counts.sum(0))  # [P, K]
    least, best = np.inf, np.zeros(len(names), dtype=np.intp)
    for attempt in range(max(1, min(_TRIES, _WORK // len(names)))):
        order = sorted(
            range(len(names)), key=lambda one: seed_for(f"{attempt}/{names[one]}", seed, draw)
        )
        parts, held = _dealt(counts, wanted, order)
        cost = float((((held - wanted) ** 2) / wanted).sum())
        cost += float((((held - wanted).sum(1) ** 2) / wanted.sum(1)).sum())
        if cost < least - 1e-9:
            least, best = cost, parts
    return dict(zip(names, best.tolist(), strict=True))


def _dealt(
    counts: NDArray[np.float64], wanted: NDArray[np.float64], order: Sequence[int]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    held, parts = np.zeros_like(wanted), np.zeros(len(counts), dtype=np.intp)
    empty = np.ones(len(wanted), dtype=bool)
    lacking = wanted.sum(1)
    weights = counts / counts.sum(0)
    sizes = counts.sum(1)
    for done, group in enumerate(order):
        open_parts = lacking > 1e-9
        if len(order) - done <= empty.sum():
            open_parts = empty
        # Equal needs, up to rounding, go by how many samples a part lacks.
        need = (wanted - held) @ weights[group] + 1e-9 * lacking
        part = int(np.where(open_parts, need, -np.inf).argmax())
        parts[group] = part
        held[part] += counts[group]
        lacking[part] -= sizes[group]
        empty[part] = False
    return parts, held

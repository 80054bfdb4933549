"""Dynamic time warping: the distance of series that run at different speeds, and their mean.

Many pairs are warped at once, diagonal by diagonal of their tables. Axis letters: P pairs, T and S
lengths (padded).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from modalxai.statistics.sums import Array

_CELLS = 4_000_000  # of tables, held in memory at once


def distances(first: Sequence[Array], second: Sequence[Array]) -> Array:
    """DTW distance of every series of one list to every one of the other, float [N, M].

    The root of the least sum of squared differences along any path that aligns both from start to
    end, each step moving on in one or both (Sakoe & Chiba 1978, without slopes or window).

    Parameters
    ----------
    first, second
        N and M series, float [T] each, of any lengths.
    """
    pairs = [(row, column) for row in range(len(first)) for column in range(len(second))]
    found = np.empty(len(pairs))
    for chunk in _chunks(pairs, first, second):
        x, at = _padded([first[pairs[one][0]] for one in chunk])
        y, to = _padded([second[pairs[one][1]] for one in chunk])
        found[chunk] = _tables(x, y)[np.arange(len(chunk)), at, to]
    return np.sqrt(found).reshape(len(first), len(second))


def barycentre(series: Sequence[Array], centre: Array) -> Array:
    """One step of DTW barycentre averaging (Petitjean et al. 2011), float [S], as long as before.

    Each value of the centre becomes the mean of all values that the best alignments give to it. The
    sum of squared distances to the centre never grows.

    Parameters
    ----------
    series
        One or more, float [T] each.
    centre
        Float [S], from which the alignments are made.
    """
    sums, counts = np.zeros(len(centre)), np.zeros(len(centre))
    pairs = [(row, 0) for row in range(len(series))]
    for chunk in _chunks(pairs, series, [centre]):
        x, i = _padded([series[one] for one in chunk])
        table = _tables(x, np.broadcast_to(centre, (len(chunk), len(centre))))
        rows, j = np.arange(len(chunk)), np.full(len(chunk), len(centre))
        while len(rows):
            np.add.at(sums, j - 1, x[rows, i - 1])
            np.add.at(counts, j - 1, 1)
            before = np.stack(
                [table[rows, i - 1, j - 1], table[rows, i - 1, j], table[rows, i, j - 1]]
            )
            step = before.argmin(0)
            i, j = i - (step != 2), j - (step != 1)
            going = i > 0  # both reach 0 together: the table is infinite elsewhere on its edge
            rows, i, j = rows[going], i[going], j[going]
    mean: Array = sums / counts
    return mean


def _tables(x: Array, y: Array) -> Array:
    """Least costs of aligning the first i values with the first j, float [P, T + 1, S + 1]."""
    count, height = x.shape
    width = y.shape[1]
    table = np.full((count, height + 1, width + 1), np.inf)
    table[:, 0, 0] = 0
    for diagonal in range(height + width - 1):
        i = np.arange(max(0, diagonal - width + 1), min(height, diagonal + 1))
        j = diagonal - i
        least = np.minimum(np.minimum(table[:, i, j + 1], table[:, i + 1, j]), table[:, i, j])
        table[:, i + 1, j + 1] = (x[:, i] - y[:, j]) ** 2 + least
    return table


def _padded(series: Sequence[Array]) -> tuple[Array, NDArray[np.intp]]:
    """Zeros after the ends, which no cell before them depends on; and the lengths, int [P]."""
    lengths = np.array([len(one) for one in series], dtype=np.intp)
    padded = np.zeros((len(series), int(lengths.max())))
    for row, one in enumerate(series):
        padded[row, : len(one)] = one
    return padded, lengths


def _chunks(
    pairs: Sequence[tuple[int, int]], first: Sequence[Array], second: Sequence[Array]
) -> Iterator[list[int]]:
    """Numbers of pairs, few enough at a time for memory."""
    cells = (max(map(len, first)) + 1) * (max(map(len, second)) + 1)
    step = max(1, _CELLS // cells)
    for start in range(0, len(pairs), step):
        yield list(range(start, min(start + step, len(pairs))))

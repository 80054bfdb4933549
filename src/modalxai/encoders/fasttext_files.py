"""Word vectors of fastText: its n-gram hash, and its two file formats, ``.vec`` and ``.bin``."""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from modalxai.errors import CheckpointError
from modalxai.paths import possible

MAGIC, VERSIONS = 793_712_314, (11, 12)
END_OF_LINE = "</s>"
"""A token of the vocabulary that has no n-grams."""


@dataclass(frozen=True, eq=False)
class WordVectors:
    """What a file holds.

    Parameters
    ----------
    words
        V words; row i of the table is word i.
    table
        Float [V + H, W]: the words, then H buckets of n-grams.
    shortest, longest
        Characters of an n-gram, its word's boundary marks counted; 0 and 0 where there are none.
    """

    words: tuple[str, ...]
    table: Tensor
    shortest: int
    longest: int


def fnv1a(data: bytes) -> int:
    """The 32-bit FNV-1a hash as fastText computes it.

    Its bytes are signed, so that those above 127 also flip the upper bits: other numbers than the
    published hash gives, for every script but ASCII.
    """
    found = 2_166_136_261
    for byte in data:
        found = ((found ^ (byte if byte < 128 else byte | 0xFFFFFF00)) * 16_777_619) & 0xFFFFFFFF
    return found


@lru_cache(maxsize=1 << 16)
def buckets(word: str, shortest: int, longest: int, count: int) -> tuple[int, ...]:
    """The bucket of every n-gram of a word between its boundary marks, in fastText's order.

    References
    ----------
    Bojanowski et al. (2017), Enriching Word Vectors with Subword Information, section 3.2.
    """
    if word == END_OF_LINE or not count:
        return ()
    marked = f"<{word}>"
    found = []
    for start in range(len(marked)):
        for end in range(start + shortest, min(start + longest, len(marked)) + 1):
            mark_alone = end - start == 1 and (start == 0 or end == len(marked))
            if not mark_alone:
                found.append(fnv1a(marked[start:end].encode()) % count)
    return tuple(found)


def read(path: str | Path, limit: int | None = None) -> WordVectors:
    """A ``.bin`` file of fastText, or its text format under any other name.

    Parameters
    ----------
    path
        The file.
    limit
        How many words of a text file are read: the most frequent come first. A ``.bin`` file is
        read whole, as its n-grams follow the words.

    Raises
    ------
    CheckpointError
        No such file, another format, or a quantised or pruned model.
    """
    path = possible(path)
    try:
        return _read_bin(path) if path.suffix == ".bin" else _read_vec(path, limit)
    except (OSError, ValueError, struct.error) as error:
        raise CheckpointError(
            f"{path} is no file of fastText vectors",
            expected="a .vec file (a line of counts, then a word and its numbers a line), or a "
            ".bin model that is not quantised",
            got=str(error),
            mend="download it again, or unpack it first if it is a .gz or .zip",
        ) from error


def _read_vec(path: Path, limit: int | None) -> WordVectors:
    words: list[str] = []
    # newline="\n", because a word may hold another of the characters that end a line.
    with path.open(encoding="utf-8", errors="replace", newline="\n") as lines:
        count, width = (int(field) for field in next(lines, "").split())
        wanted = count if limit is None else min(count, limit)
        table = np.zeros((wanted, width), dtype=np.float32)
        for row in range(wanted):
            fields = next(lines, "").rstrip("\r\n ").rsplit(" ", width)
            if len(fields) != width + 1:
                raise ValueError(f"line {row + 2} does not hold a word and {width} numbers")
            words.append(fields[0])
            table[row] = [float(field) for field in fields[1:]]
    # A word may hold a space; all of them do, and end in a number, where the width is too small.
    if words and all(" " in word and _is_number(word.split(" ")[-1]) for word in words):
        raise ValueError(f"its lines hold more than the {width} numbers that line 1 tells")
    return WordVectors(tuple(words), torch.from_numpy(table), 0, 0)


def _read_bin(path: Path) -> WordVectors:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        magic, version = struct.unpack_from("<2i", data)
        if magic != MAGIC or version not in VERSIONS:
            raise ValueError(f"magic number {magic} and version {version}")
        # dim, ws, epoch, minCount, neg, wordNgrams, loss, model, bucket, minn, maxn, lrUpdateRate
        settings = struct.unpack_from("<12i", data, 8)
        width, kind, hashed, shortest, longest = (settings[at] for at in (0, 7, 8, 9, 10))
        if version == 11 and kind == 3:
            longest = 0  # old supervised models have no n-grams of characters
        at = 8 + 48 + 8  # and a double, the sampling threshold
        size, count, _, _, pruned = struct.unpack_from("<3i2q", data, at)
        at += 28
        words = []
        for _ in range(size):
            end = data.find(b"\0", at)
            if end < 0:
                raise ValueError("the vocabulary breaks off")
            words.append(data[at:end].decode("utf-8", errors="replace"))
            at = end + 1 + 9  # a count and a type
        quantised = data[at] if at < len(data) else 1
        if pruned > 0 or quantised:
            raise ValueError("a quantised, pruned or incomplete model")
        rows, columns = struct.unpack_from("<2q", data, at + 1)
        if columns != width or rows not in (count, count + hashed):
            raise ValueError(f"a matrix [{rows}, {columns}] for {count} words and {hashed} buckets")
        if len(data) < at + 17 + 4 * rows * columns:
            raise ValueError("the matrix breaks off")
    table = np.fromfile(path, dtype="<f4", count=rows * columns, offset=at + 17)
    has_ngrams = longest > 0 and rows > count
    return WordVectors(
        tuple(words[:count]),
        torch.from_numpy(table.reshape(rows, columns)),
        shortest if has_ngrams else 0,
        longest if has_ngrams else 0,
    )


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True

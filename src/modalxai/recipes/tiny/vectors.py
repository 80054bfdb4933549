"""Tiny word vectors in fastText's own binary format."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch

from modalxai.datasets.tonebench.lexicon import lexicon
from modalxai.encoders import fasttext_files

WIDTH = 64
BUCKETS = 2000
SHORTEST, LONGEST = 2, 4
OWN = 0.7
"""Size of what is a word's own, beside 1 for what it shares with the words of its content."""
RARE = 0.1
"""Size of the n-grams that no word of the lexicon has."""


def write(folder: Path, language: str) -> None:
    """Vectors of the lexicon's words, near one another where the content is the same.

    N-grams are the mean of the words that have them, so that a word that is misspelt stays near.
    """
    words = lexicon(language)
    generator = np.random.default_rng([902, torch.initial_seed() % 2**32])

    def draw(*shape: int) -> np.ndarray:
        return generator.standard_normal((*shape, WIDTH))

    rows = []
    for content in words.contents.values():
        rows.append(draw(1) + OWN * draw(len(content)))
    table = np.concatenate([*rows, draw(len(words.fillers))])
    grams, counts = RARE * draw(BUCKETS), np.ones(BUCKETS)
    for word, vector in zip(words.words, table, strict=True):
        for bucket in fasttext_files.buckets(word, SHORTEST, LONGEST, BUCKETS):
            grams[bucket] += vector
            counts[bucket] += 1
    grams /= np.maximum(counts - 1, 1)[:, None]
    matrix = np.concatenate([table, grams]).astype("<f4")
    (folder / "vectors.bin").write_bytes(_binary(words.words, matrix))


def _binary(words: tuple[str, ...], matrix: np.ndarray) -> bytes:
    """A skip-gram model of version 12, as fastText writes it; its output matrix is 0."""
    count = len(words)
    # dim, ws, epoch, minCount, neg, wordNgrams, loss, model, bucket, minn, maxn, lrUpdateRate
    settings = (WIDTH, 5, 5, 1, 5, 1, 2, 2, BUCKETS, SHORTEST, LONGEST, 100)
    head = struct.pack("<2i12id", fasttext_files.MAGIC, 12, *settings, 1e-4)
    head += struct.pack("<3i2q", count, count, 0, count, -1)
    entries = b"".join(word.encode() + struct.pack("<Bqb", 0, 1, 0) for word in words)
    table = struct.pack("<?2q", False, *matrix.shape) + matrix.tobytes()
    output = struct.pack("<?2q", False, count, WIDTH) + bytes(4 * count * WIDTH)
    return head + entries + table + output

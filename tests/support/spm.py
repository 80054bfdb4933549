"""SentencePiece models for tests: trained on a few lines, or written piece by piece."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from modalxai.recipes.tiny.vocabulary import sentencepiece

NORMAL, UNKNOWN, CONTROL, UNUSED = 1, 2, 3, 5
Piece = tuple[str, float, int]


train = sentencepiece
"""A small model whose special pieces are KoBERT's, where they are."""


def write(pieces: Sequence[Piece]) -> bytes:
    """A model with exactly these pieces (name, score, type), and nmt_nfkc normalisation."""
    rest = b"".join(raw for number, raw in _fields(train(["ab"], 20)) if number != 1)
    return b"".join(_message(1, _piece(*piece)) for piece in pieces) + rest


def _piece(name: str, score: float, kind: int) -> bytes:
    return _message(1, name.encode()) + b"\x15" + struct.pack("<f", score) + b"\x18" + bytes([kind])


def _message(number: int, body: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    low, high = value & 127, value >> 7
    return bytes([low | 128]) + _varint(high) if high else bytes([low])


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each field of a protobuf message whose fields are all messages."""
    at = 0
    while at < len(data):
        start, number, at = at, data[at] >> 3, at + 1
        length = shift = 0
        while True:
            length |= (data[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if data[at - 1] < 128:
                break
        at += length
        yield number, data[start:at]

"""Bad inputs, made by seed, and the judge of what became of each.

An input that was changed may end in two ways: an error of ours, or a result that an independent
check calls legal because the change left the input whole. Everything else is a failure: another
exception, a hang, a wrong number, a file of the user's that changed.
"""

from __future__ import annotations

import hashlib
import json
import random
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modalxai.errors import ModalxaiError

TRIED = "fuzz_inputs"
LIMIT = 20
"""Seconds for one input: a hang, and not a busy machine, takes longer."""


class HungError(BaseException):
    """An input that took longer than `LIMIT`; no ``except Exception`` swallows it."""


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raise `HungError` where the block takes longer."""

    def stop(*_: object) -> None:
        raise HungError(f"longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def tree(folder: Path) -> dict[str, str]:
    """What a folder holds: names and digests."""
    return {
        path.relative_to(folder).as_posix(): hashlib.blake2b(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@dataclass
class Judge:
    """Tries inputs of one entrance and keeps what went wrong; used as a context."""

    entrance: str
    least: int
    record: Callable[[str, object], None]
    keep: Path | None = None
    """A folder of the user's, which no input may change."""
    refused: int = 0
    legal: int = 0
    wrong: list[str] = field(default_factory=list)

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.record(TRIED, [self.entrance, self.refused, self.legal])
            shown = "\n".join(self.wrong[:20])
            assert not self.wrong, f"{self.entrance}: {len(self.wrong)} inputs went wrong\n{shown}"
            assert self.refused + self.legal >= self.least, "too few inputs were tried"
            assert self.refused, "not one input was refused"

    def __call__(
        self, what: str, use: Callable[[], Any], legal: Callable[[Any], object] = lambda _: False
    ) -> None:
        """Try one input.

        Parameters
        ----------
        what
            To find it again.
        use
            Hands it in.
        legal
            Whether a result is right: true, or no error, for one that is.
        """
        before = tree(self.keep) if self.keep else None
        try:
            with limited(LIMIT), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = use()
        except ModalxaiError as error:
            parts = (error.wrong, error.expected, error.got, error.mend)
            if all(isinstance(part, str) and part for part in parts):
                self.refused += 1
            else:
                self.wrong.append(f"{what}: an error that says nothing: {parts}")
        except (Exception, HungError, SystemExit) as error:
            self.wrong.append(f"{what}: {type(error).__name__}: {str(error)[:300]}")
        else:
            try:
                fine = legal(found)
            except Exception as error:
                fine = False
                what += f" ({type(error).__name__}: {str(error)[:300]})"
            if fine is False:
                self.wrong.append(f"{what}: a result of a spoilt input")
            else:
                self.legal += 1
        if before is not None and before != tree(self.keep):  # type: ignore[arg-type]
            self.wrong.append(f"{what}: files of the user's changed")


def summary(stats: Mapping[str, list[Any]]) -> str | None:
    """One line on all the inputs of a run; nothing where none was tried."""
    found: dict[str, list[int]] = {}
    for reports in stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == TRIED and report.when == "call":
                    entrance, refused, legal = value
                    known = found.setdefault(entrance, [0, 0])
                    known[0] += refused
                    known[1] += legal
    if not found:
        return None
    each = ", ".join(f"{name} {sum(found[name])}" for name in sorted(found))
    refused, legal = (sum(counts[at] for counts in found.values()) for at in (0, 1))
    return (
        f"fuzz: {refused + legal} bad inputs over {len(found)} entrances, {refused} refused by "
        f"name, {legal} still legal and read as they are ({each})"
    )


# --- bytes ---------------------------------------------------------------------------------------


def spoilt(raw: bytes, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """``count`` changed copies of a file, none equal to it."""
    draw = random.Random(seed)
    hows = list(_BYTES)
    made = 0
    while made < count:
        how = hows[made % len(hows)]
        changed = _BYTES[how](raw, draw)
        if changed != raw:
            yield f"{how} {seed}/{made}", changed
        made += 1


def _cut(raw: bytes, draw: random.Random) -> bytes:
    return raw[: draw.randrange(len(raw))]


def _flip(raw: bytes, draw: random.Random, within: int | None = None) -> bytes:
    changed = bytearray(raw)
    for _ in range(draw.choice((1, 1, 1, 8))):
        changed[draw.randrange(min(len(raw), within or len(raw)))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _head(raw: bytes, draw: random.Random) -> bytes:
    return _flip(raw, draw, within=64)


def _word(raw: bytes, draw: random.Random) -> bytes:
    """Four bytes near the start become a number that is far too large, or nothing."""
    at = draw.randrange(0, max(1, min(len(raw), 96) - 4))
    value = draw.choice(
        (b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\xff\xff\xff\x7f", b"\0\0\0\x80")
    )
    return raw[:at] + value + raw[at + 4 :]


def _block(raw: bytes, draw: random.Random) -> tuple[int, int]:
    size = draw.randint(1, max(1, len(raw) // 4))
    at = draw.randrange(max(1, len(raw) - size))
    return at, at + size


def _lost(raw: bytes, draw: random.Random) -> bytes:
    at, end = _block(raw, draw)
    return raw[:at] + raw[end:]


def _twice(raw: bytes, draw: random.Random) -> bytes:
    at, end = _block(raw, draw)
    return raw[:end] + raw[at:]


def _noise(raw: bytes, draw: random.Random) -> bytes:
    at, end = _block(raw, draw)
    return raw[:at] + draw.randbytes(end - at) + raw[end:]


def _zeros(raw: bytes, draw: random.Random) -> bytes:
    at, end = _block(raw, draw)
    return raw[:at] + bytes(end - at) + raw[end:]


def _swap(raw: bytes, draw: random.Random) -> bytes:
    size = max(1, len(raw) // 16)
    one, two = sorted(draw.randrange(max(1, len(raw) - size)) for _ in range(2))
    if two < one + size:
        return raw[::-1]
    middle = raw[one + size : two]
    return raw[:one] + raw[two : two + size] + middle + raw[one : one + size] + raw[two + size :]


def _front(raw: bytes, draw: random.Random) -> bytes:
    return (
        draw.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\0", b"PK\x03\x04", b"\x1f\x8b", b"\x80\x04"))
        + raw
    )


def _back(raw: bytes, draw: random.Random) -> bytes:
    return raw + draw.choice((b"\0", b"\xff" * 7, draw.randbytes(33), raw))


def _whole(raw: bytes, draw: random.Random) -> bytes:
    return draw.choice(
        (b"", b"\0" * len(raw), draw.randbytes(len(raw)), b"\xff" * len(raw), b"<html>")
    )


_BYTES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "cut": _cut, "flip": _flip, "head": _head, "word": _word, "lost": _lost, "twice": _twice,
    "noise": _noise, "zeros": _zeros, "swap": _swap, "front": _front, "back": _back,
    "whole": _whole,
}  # fmt: skip


# --- json ----------------------------------------------------------------------------------------

ODD: tuple[Any, ...] = (
    None, True, -1, 0, 3, 2**31, 2**70, 1.5, float("nan"), float("inf"), -1e308, "", "x", "../x",
    "nul\0", "\ud800", [], [[]], [None], {}, {"a": 1}, "9" * 400, "참",
)  # fmt: skip
"""What no value of a setting should be, or only a few."""


def odd_json(record: Mapping[str, Any], count: int, seed: int) -> Iterator[tuple[str, str]]:
    """``count`` texts: records with one value wrong, missing, double or extra; broken json."""
    draw = random.Random(seed)
    places = list(_places(record))
    number, whole = 0, json.dumps(record, ensure_ascii=True)
    while number < count:
        copy = json.loads(json.dumps(record))
        place = draw.choice(places)
        holder = copy
        for key in place[:-1]:
            holder = holder[key]
        how = ("odd", "odd", "odd", "lost", "extra", "double", "text")[number % 7]
        name = f"{how} at {'/'.join(map(str, place))} {seed}/{number}"
        if how == "odd":
            value = draw.choice(ODD)
            holder[place[-1]] = value
            name += f" {value!r:.40}"
        elif how == "lost":
            del holder[place[-1]]
        elif how == "extra":
            if isinstance(holder, dict):
                holder["more of it"] = draw.choice(ODD)
            else:
                holder.append(draw.choice(ODD))
        text = json.dumps(copy, ensure_ascii=True)
        if how == "double":
            text = text.replace("{", '{"format": 99, "format": 98, ', 1)
        elif how == "text":
            text = draw.choice(BROKEN)(text)
        if text != whole:
            yield name, text
            number += 1


BROKEN: tuple[Callable[[str], str], ...] = (
    lambda text: text[: len(text) // 2],
    lambda text: "[" * 100_000,
    lambda text: '{"a":' * 100_000,
    lambda text: text + text,
    lambda text: f"[{text}]",
    lambda text: text.replace('"', "'"),
    lambda text: text.replace(":", ": " + "9" * 5000, 1),
    lambda text: "",
    lambda text: "null",
    lambda text: "\ufeff" + text,
    lambda text: text.replace(",", ",,", 1),
    lambda text: text.replace("{", '{"a": 1e999, ', 1),
)


def _places(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, one in pairs:
        yield (*here, key)
        if isinstance(one, Mapping | list):
            yield from _places(one, (*here, key))

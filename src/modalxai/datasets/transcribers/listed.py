"""A manifest file in, the same file with one more column out; what the command does."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modalxai import plugins
from modalxai.datasets.listings import read_listing
from modalxai.datasets.manifest import ManifestCorpus
from modalxai.datasets.transcribers.corpus import Transcribed, transcribe_corpus
from modalxai.errors import InputError

FORMS = (".csv", ".jsonl")
PARTS = ("id", "audio", "text", "label", "speaker")


def transcribe_manifest(
    manifest: Path,
    transcriber: str,
    out: Path,
    *,
    options: Sequence[str] = (),
    cache: Path | None = None,
    column: str = "recognised",
) -> Transcribed:
    """Let a recogniser hear the recordings of a manifest, and write it with what was heard.

    Parameters
    ----------
    manifest
        A csv file or JSON lines, as `ManifestCorpus` reads them; columns it lacks play no part.
    transcriber
        Name of the plugin.
    out
        The file to write, ``.csv`` or ``.jsonl``; paths of recordings stay as they are written.
    options
        The plugin's options, ``"name=value"``; a value that is json is read as such.
    cache
        A folder for the answers; the next run asks for what is missing.
    column
        Name of the new column.

    Raises
    ------
    InputError
        Files or options that cannot be used; the column is there already.
    """
    wrong = [path for path in (manifest, out) if path.suffix.casefold() not in FORMS]
    if wrong or out.resolve() == manifest.resolve():
        raise InputError(
            "files that cannot be used",
            expected=f"a manifest and another file to write, each ending with {' or '.join(FORMS)}",
            got=f"{manifest} and {out}",
            mend="name the file to write: --out heard.csv",
        )
    listing = read_listing(manifest, "audio", "utf-8")
    if column in listing.header:
        raise InputError(
            f"{manifest.name} has a column {column!r}",
            expected="a name that is free",
            got=repr(listing.header),
            mend="choose another: --column",
        )
    named: dict[str, Any] = {part: None for part in PARTS if part not in listing.header}
    corpus = ManifestCorpus(manifest, **named)
    part = plugins.create("transcribers", transcriber, **_options(options))
    heard = transcribe_corpus(part, corpus, cache=cache, column=column)
    rows = [[*cells, text] for (_, cells), text in zip(listing.rows, heard.values, strict=True)]
    header = [*listing.header, column]
    write = _csv if out.suffix.casefold() == ".csv" else _json_lines
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        temporary.write_text(write(header, rows), encoding="utf-8", newline="")
        os.replace(temporary, out)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(
            f"{out} cannot be written",
            expected="a file in a folder that is there",
            got=str(error),
            mend="name another file; what was heard is in the cache, if there is one",
        ) from error
    return heard


def _options(given: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name or name in found:
            raise InputError(
                "an option that cannot be read",
                expected="name=value, each name once",
                got=repr(text),
                mend="write --set cer=0.3, for example",
            )
        try:
            found[name] = json.loads(value)
        except (ValueError, RecursionError):
            found[name] = value
    return found


def _csv(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow([_cell(value) for value in row])
    return written.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _json_lines(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [
        json.dumps(dict(zip(header, row, strict=True)), ensure_ascii=False) + "\n" for row in rows
    ]
    return "".join(lines)

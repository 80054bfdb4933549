"""Read a whole corpus once and say what is there: behind ``modalxai datasets check``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from modalxai.datasets.aihub import AIHubMultimodalVideo
from modalxai.datasets.corpus import Corpus
from modalxai.datasets.findings import CorpusReport
from modalxai.datasets.kemdy19 import KEMDy19
from modalxai.datasets.kemdy20 import KEMDy20
from modalxai.datasets.manifest import ManifestCorpus
from modalxai.datasets.meld import MELD
from modalxai.errors import InputError

# Each is opened so that no row is left out by a choice: only faults are.
CORPORA: Mapping[str, Callable[[Path, bool], Corpus]] = {
    "meld": lambda folder, audio: MELD(folder, audio=audio),
    "kemdy19": lambda folder, audio: KEMDy19(folder, ties="multi", audio=audio),
    "kemdy20": lambda folder, audio: KEMDy20(folder, ties="multi", audio=audio),
    "aihub": lambda folder, audio: AIHubMultimodalVideo(folder, audio=audio),
}
PARTS = ("id", "audio", "text", "label", "speaker")
"""Of a manifest, see `ManifestCorpus`."""


def check(
    name: str, folder: str | Path, audio: bool = True, columns: Sequence[str] = ()
) -> CorpusReport:
    """What is there, what is broken, what was left out and why, against the published counts.

    Parameters
    ----------
    name
        ``"meld"``, ``"kemdy19"``, ``"kemdy20"``, ``"aihub"``, or ``"manifest"`` for a list of your
        own.
    folder
        The corpus's folder; the file of a manifest.
    audio
        False leaves recordings and clips alone.
    columns
        What a manifest calls its columns: ``"audio=path"``, or ``"id="`` if it has none.

    Raises
    ------
    InputError
        An unknown name, a corpus that cannot be opened, or columns of no manifest.
    """
    kind = name.casefold()
    if kind == "manifest":
        corpus = ManifestCorpus(Path(folder), **named_columns(columns))
        return corpus.check() if audio else corpus.report
    if kind not in CORPORA or columns:
        raise InputError(
            f"{name} has columns of its own" if columns else f"unknown corpus {name!r}",
            expected=f"one of {[*CORPORA, 'manifest']}; columns are named for a manifest alone",
            got=f"{name!r}, {list(columns)}",
            mend="leave the columns out" if columns else "use a listed name",
        )
    return CORPORA[kind](Path(folder), audio).check()


def named_columns(columns: Sequence[str]) -> dict[str, Any]:
    """``["audio=path", "id="]`` as arguments of `ManifestCorpus`.

    Raises
    ------
    InputError
        A part that a manifest does not have, or one named twice.
    """
    named: dict[str, Any] = {}
    for given in columns:
        part, sign, column = given.partition("=")
        if part not in PARTS or not sign or part in named:
            raise InputError(
                f"{given!r} names no column",
                expected=f"one of {list(PARTS)} once, and the column: audio=path",
                got=repr(given),
                mend="write audio=path, or id= for a manifest without ids",
            )
        named[part] = column or None
    return named

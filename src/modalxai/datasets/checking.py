"""Read a whole corpus once and say what is there: behind ``modalxai datasets check``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

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
    "manifest": lambda file, audio: ManifestCorpus(file, audio="audio" if audio else None),
}


def check(name: str, folder: str | Path, audio: bool = True) -> CorpusReport:
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

    Raises
    ------
    InputError
        An unknown name, or a corpus that cannot be opened.
    """
    if name.casefold() not in CORPORA:
        raise InputError(
            f"unknown corpus {name!r}",
            expected=f"one of {list(CORPORA)}",
            got=repr(name),
            mend="use a listed name",
        )
    return CORPORA[name.casefold()](Path(folder), audio).check()

"""Where the recipes' pre-trained encoders come from: tiny, published, or a folder of the user's.

Whatever the source, an encoder is loaded by its plugin's ``from_pretrained``: only the name or
folder differs. Encoders that the papers train from scratch (mel-cnn, mfcc, waveform-cnn,
biosignal) are made by ``plugins.create`` alone. How tiny ones are fine-tuned best is told in
`modalxai.recipes.tiny`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from modalxai import plugins, storage
from modalxai.datasets.tonebench.lexicon import lexicon
from modalxai.encoders import shortening
from modalxai.encoders.tuning import TunedEncoder
from modalxai.errors import CheckpointError, InputError
from modalxai.protocols import Encoder

TINY, ALL = "tiny", "published"
SIZES = ("base", "small")

PUBLISHED: Mapping[str, str] = {
    "wav2vec2": "facebook/wav2vec2-base",
    "wav2vec2-korean": "kresnik/wav2vec2-large-xlsr-korean",
    "wav2vec2-layer-norm": "facebook/wav2vec2-large-lv60",
    "speecht5-speech": "microsoft/speecht5_vc",
    "speecht5-text": "microsoft/speecht5_tts",
    "distilbert": "distilbert-base-uncased",
    "klue": "klue/bert-base",
    "kobert": "monologg/kobert",
    "hanbert": "HanBert-54kN-torch",
    "fasttext": "cc.ko.300",
}
"""What each name is in the papers, or the nearest that is published; the last two are no names
on the Hugging Face Hub but files that their user has (`OWN`)."""

SMALLER: Mapping[str, str] = {
    "wav2vec2": "ntu-spml/distilhubert",
    "klue": "klue/roberta-small",
    "kobert": "monologg/distilkobert",
}
"""Distilled or smaller ones that are published; the others lose the upper half of their layers."""

PLUGINS: Mapping[str, str] = {"wav2vec2-korean": "wav2vec2", "wav2vec2-layer-norm": "wav2vec2"}
"""Names of further checkpoints of a plugin; every other name is the plugin's own."""

OWN: Mapping[str, str] = {
    "hanbert": "unpack HanBert-54kN-torch there, run `modalxai convert hanbert` on it, and set "
    "MODALXAI_HANBERT_LIBRARY to its libmoran4dnlp.so",
    "fasttext": "put cc.ko.300.bin there, unpacked, from fasttext.cc",
}
"""What no hub has, and how its user brings it."""


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "modalxai"


@dataclass(frozen=True)
class Checkpoints:
    """One source of encoders for a whole run.

    Parameters
    ----------
    source
        ``"tiny"``: made here, in less than a minute each, see `modalxai.recipes.tiny`.
        ``"published"``: those of `PUBLISHED`, downloaded; one that lies in ``folder``, under its
        name, goes first, for checkpoints that are on no hub or there as a pickle only.
        Or a folder with one subfolder for each name: a saved encoder, or a checkpoint.
    size
        ``"small"`` is the published distilled model where there is one (`SMALLER`), else the
        lower half of the layers. Word vectors have no layers and stay as they are.
    folder
        Where tiny ones are made and kept, for every later run; by default modalxai's folder in
        the user's cache.
    language
        Of the words in the tiny vocabularies, ``"ko"`` or ``"en"``.
    record
        A folder that remembers what was loaded, for `describe` in a run that was killed and goes
        on, or that has several processes.

    Raises
    ------
    InputError
        An unknown source, size or language.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     checkpoints = Checkpoints(folder=Path(folder))
    ...     vectors = checkpoints.encoder("fasttext", trainable=1)
    >>> checkpoints.describe()
    {'fasttext': 'tiny, vectors drawn so that words of one content are near'}
    """

    source: str = TINY
    size: Literal["base", "small"] = "base"
    folder: Path = field(default_factory=_cache)
    language: str = "ko"
    record: Path | None = None
    _used: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", str(self.source))
        object.__setattr__(self, "folder", Path(self.folder))
        lexicon(self.language)
        if self.size not in SIZES:
            raise InputError(
                "unknown size of encoders",
                expected=f"one of {list(SIZES)}",
                got=repr(self.size),
                mend="choose one of them",
            )
        if self.source not in (TINY, ALL) and not Path(self.source).is_dir():
            raise InputError(
                "unknown source of checkpoints",
                expected=f"{TINY!r}, {ALL!r}, or a folder with one subfolder for each encoder",
                got=repr(self.source),
                mend="check the path",
            )

    def encoder(self, name: str, **settings: Any) -> Encoder[Any]:
        """A pre-trained encoder, loaded anew on every call.

        Parameters
        ----------
        name
            A plugin's name, or another checkpoint of one (`PLUGINS`).
        **settings
            For `modalxai.plugins.create`: ``trainable``, ``layers``, ``spec_augment`` and so on;
            it refuses what the plugin does not take.

        Raises
        ------
        CheckpointError
            Nothing there, or nothing that this encoder can load.
        InputError
            A name that has no checkpoint, or settings that the plugin refuses.
        """
        place, what = self._place(name)
        plugin = PLUGINS.get(name, name)
        made: Encoder[Any] | None = None
        if self.size == "small" and place != SMALLER.get(name):
            made = _shortened(plugin, place, settings)
            what += "" if made is None else ", the lower half of its layers"
        if made is None:
            made = plugins.create("encoders", plugin, checkpoint=place, **settings)
        self._used[name] = what
        if self.record is not None:
            # A file each, so that processes do not write over each other.
            storage.write_json(self.record / f"{name}.json", {name: what})
        return made

    def describe(self) -> dict[str, str]:
        """What each name is that `encoder` was asked for, in order of the names."""
        found = dict(self._used)
        for path in [] if self.record is None else self.record.rglob("*.json"):
            found |= storage.read_json(path)
        return dict(sorted(found.items()))

    def _place(self, name: str) -> tuple[str | Path, str]:
        """What ``from_pretrained`` is given, and what it is in words."""
        if self.source not in (TINY, ALL):
            return _own(Path(self.source) / name, name)
        if name not in PUBLISHED:
            raise InputError(
                f"there is no pre-trained encoder {name!r} here",
                expected=f"one of {list(PUBLISHED)}",
                got=repr(name),
                mend="make one that learns from scratch by modalxai.plugins.create alone",
            )
        if self.source == TINY:
            # Here, because it brings all of the training along.
            from modalxai.recipes import tiny

            made = tiny.make(name, self.folder / TINY, self.language)
            return _inside(made), tiny.MAKERS[name].note
        if name in OWN or (self.folder / name).is_dir():
            return _own(self.folder / name, name)
        found = (SMALLER if self.size == "small" else PUBLISHED).get(name, PUBLISHED[name])
        return found, found


def _own(folder: Path, name: str) -> tuple[Path, str]:
    """A folder that its user has.

    Raises
    ------
    CheckpointError
        It is not there.
    """
    if not folder.is_dir():
        listed = sorted(one.name for one in folder.parent.glob("*") if one.is_dir())
        raise CheckpointError(
            f"no checkpoint for {name!r}",
            expected=f"the folder {folder}, with {PUBLISHED.get(name, 'an encoder')} or its like",
            got=f"folders {listed[:8]}" if listed else "no folder",
            mend=OWN.get(name, "copy or link it there under this name"),
        )
    return _inside(folder), str(folder)


def _inside(folder: Path) -> Path:
    """The folder, or its only file of word vectors."""
    files = [one for one in folder.iterdir() if one.suffix in (".bin", ".vec")]
    if len(files) == 1 and not (folder / "config.json").is_file():
        return files[0]
    return folder


def _shortened(plugin: str, place: str | Path, settings: dict[str, Any]) -> Any:
    """The lower half of an encoder's layers, saved and loaded again; ``None`` without layers.

    Only so do adapters, weightings of layers and "the top two layers" mean those that are left.
    """
    analyser = {key: settings[key] for key in ("analyser",) if key in settings}
    whole = plugins.create("encoders", plugin, checkpoint=place, **analyser)
    if not isinstance(whole, TunedEncoder):
        return None
    counts = [getattr(whole.model.config, name, None) for name in shortening.COUNTS]
    layers = next(count for count in counts if count is not None)
    with tempfile.TemporaryDirectory() as folder:
        half: Any = shortening.shorten(whole, max(1, layers // 2))
        half.save_pretrained(folder)
        return plugins.create("encoders", plugin, checkpoint=folder, **settings)

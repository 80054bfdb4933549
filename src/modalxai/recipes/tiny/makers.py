"""Which tiny checkpoints there are, and how one is made once and kept."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from modalxai import storage
from modalxai.recipes.tiny import speech, text, vectors

EDITION = 2
"""Part of the folders' names: one more whenever other weights would be made."""
SPOKEN = "tiny, pre-trained here on synthetic speech"
WRITTEN = "tiny, pre-trained here on sentences of the lexicon"


@dataclass(frozen=True)
class Maker:
    """How one tiny checkpoint is made.

    Parameters
    ----------
    write
        Fills an empty folder, for a language.
    note
        What it is, for the record of a run.
    seed
        Of everything random in it.
    lexical
        Whether it hangs on the language.
    """

    write: Callable[[Path, str], None]
    note: str
    seed: int = 0
    lexical: bool = False


MAKERS: dict[str, Maker] = {
    "wav2vec2": Maker(speech.write_wav2vec2, SPOKEN),
    "wav2vec2-korean": Maker(speech.write_wav2vec2, SPOKEN, seed=1),
    "wav2vec2-layer-norm": Maker(speech.write_wav2vec2_layer_norm, SPOKEN),
    "speecht5-speech": Maker(speech.write_speecht5, SPOKEN),
    "speecht5-text": Maker(text.write_speecht5, WRITTEN + ", English whatever the language"),
    "distilbert": Maker(text.write_distilbert, WRITTEN, lexical=True),
    "klue": Maker(text.write_bert, WRITTEN, lexical=True),
    "hanbert": Maker(
        text.write_bert,
        WRITTEN + ", over words: HanBERT's morpheme library is not free",
        seed=1,
        lexical=True,
    ),
    "kobert": Maker(text.write_kobert, WRITTEN, lexical=True),
    "fasttext": Maker(
        vectors.write, "tiny, vectors drawn so that words of one content are near", lexical=True
    ),
}
"""By name: a plugin's, or another checkpoint of a plugin."""


def make(name: str, folder: Path, language: str) -> Path:
    """The folder of a tiny checkpoint, made unless it is there.

    The same weights on every call, wherever it is made, as far as torch computes the same on two
    machines. It appears whole or not at all: whoever is stopped, or makes it at the same time in
    another process, leaves no half of it. The state of torch's random numbers does not change.

    Parameters
    ----------
    name
        One of `MAKERS`.
    folder
        Where it is kept.
    language
        Of its vocabulary.

    Raises
    ------
    CheckpointError
        The folder cannot be written to.
    DependencyError
        ``"kobert"`` without sentencepiece.
    """
    maker = MAKERS[name]
    target = folder / "-".join([name, *([language] if maker.lexical else []), str(EDITION)])
    if target.is_dir():
        return target
    storage.require_folder(folder)
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{target.name}-") as draft:
        made = Path(draft) / target.name
        made.mkdir()
        # A caller may be within no_grad, and in the middle of random numbers of its own.
        with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
            torch.manual_seed(maker.seed)
            maker.write(made, language)
        try:
            made.rename(target)
        except OSError:
            if not target.is_dir():  # else another process was quicker
                raise
    return target

"""What recipe S2 is trained on: utterances with their true words and what recognisers heard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from modalxai import plugins
from modalxai.audio import seed_for
from modalxai.datasets import AIHubMultimodalVideo, ManifestCorpus, tonebench, transcribe_corpus
from modalxai.datasets.columns import column
from modalxai.datasets.tonebench.lexicon import lexicon
from modalxai.errors import DependencyError, InputError
from modalxai.metrics import cer, swer, wer
from modalxai.protocols import Samples
from modalxai.recipes.consistency.settings import Settings

LABELS = ("happy", "surprise", "angry", "sad", "dislike", "neutral")
"""The published six, in the corpus's order."""
EPSILON = 0.1
"""Label noise of the synthetic speech."""
_MORE = 12
"""The draw of the further sentences, beside ToneBench's own draws."""


@dataclass(frozen=True)
class Talk:
    """A corpus, read.

    Parameters
    ----------
    samples
        Every one has audio, words and one of the labels, and under each recogniser's column what
        that one heard, ``None`` where it heard nothing.
    labels
        In order.
    columns
        By recogniser its column.
    rule
        The planted truth of synthetic speech; ``None`` for a real corpus.
    name
        What it is, for titles.
    larger
        Whether this is the corpus of the report's model alone, see `larger`.
    """

    samples: Samples
    labels: tuple[str, ...]
    columns: Mapping[str, str]
    rule: tonebench.Rule | None
    name: str
    larger: bool = False


def read(folder: Path | None, settings: Settings, cache: Path | None = None) -> Talk:
    """The corpus in a folder, or synthetic speech; heard by every recogniser.

    Parameters
    ----------
    folder
        A corpus, ``None`` for synthetic speech.
    settings
        Which recognisers, and how much of the corpus.
    cache
        A folder that keeps what recognisers heard: none is asked twice, by any process of a run.

    Raises
    ------
    InputError
        Nothing usable in the folder.
    """
    rule = None if folder else scenes()
    found: Samples = []
    labels: tuple[str, ...] = LABELS
    name = "synthetic speech"
    if folder is None:
        found = synthetic(settings)
    else:
        found, labels, name = _real(folder, settings)
    if len(found) <= settings.memory:
        # Once and for all: recordings are read, or made, here.
        found = [dict(found[row]) for row in range(len(found))]
    columns = {}
    for number, one in enumerate(settings.recognisers, 1):
        recogniser = plugins.create("transcribers", one.plugin, **one.options)
        columns[one.name] = f"recognised_{number}"
        heard = transcribe_corpus(recogniser, found, cache=cache, column=columns[one.name])
        texts = [text if text and text.strip() else None for text in heard.values]
        found = _With(found, columns[one.name], texts)
    return Talk(found, labels, columns, rule, name)


def rates(talk: Talk, spaced: int) -> dict[str, dict[str, float]]:
    """By recogniser CER, WER and sWER over the corpus, the last over the first ``spaced``.

    NaN for what cannot be computed: the sWER without a spacing corrector.
    """
    said = column(talk.samples, "text")
    found = {}
    for name, place in talk.columns.items():
        heard = [text or "" for text in column(talk.samples, place)]
        found[name] = {"CER": cer(said, heard).rate, "WER": wer(said, heard).rate}
        found[name]["sWER"] = float("nan")
        with suppress(DependencyError):
            found[name]["sWER"] = swer(said[:spaced], heard[:spaced]).rate
    return found


def larger(talk: Talk, settings: Settings) -> Talk:
    """More synthetic speech of the same truth, true words alone."""
    asked = replace(
        settings, samples=settings.explained_samples, corpus_seed=settings.corpus_seed + 1000
    )
    return replace(talk, samples=synthetic(asked), columns={}, larger=True)


class _With(Dataset[dict[str, Any]]):
    """Samples with one more column; as lazy as they are."""

    def __init__(self, samples: Samples, name: str, values: Sequence[str | None]) -> None:
        self.samples, self.name, self.values = samples, name, values

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self.samples[index], self.name: self.values[index]}

    def column(self, name: str) -> list[Any]:
        """One column; nothing else is read where the samples can."""
        return list(self.values) if name == self.name else column(self.samples, name)


class View(Dataset[dict[str, Any]]):
    """The samples as one model takes them.

    Parameters
    ----------
    samples
        Of a `Talk`.
    modalities
        Those of the model; a model refuses sound that it has no encoder for.
    text
        The column that its words are from.
    """

    def __init__(self, samples: Samples, modalities: Sequence[str], text: str = "text") -> None:
        self.samples, self.modalities, self.text = samples, tuple(modalities), text

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.samples[index]
        found = {**sample, "text": sample[self.text]}
        if "audio" not in self.modalities:
            del found["audio"]
        return found


def scenes() -> tonebench.Rule:
    """The planted truth: words decide every emotion but dislike, which is a tone of voice.

    =======  ========  ========  ========  =========
    ..       flat      excited   weary     sarcastic
    =======  ========  ========  ========  =========
    praise   happy     happy     happy     dislike
    wonder   surprise  surprise  surprise  dislike
    blame    angry     angry     angry     dislike
    loss     sad       sad       sad       sad
    threat   neutral   angry     neutral   dislike
    fact     neutral   surprise  neutral   dislike
    =======  ========  ========  ========  =========
    """
    table = np.array(
        [[0, 0, 0, 4], [1, 1, 1, 4], [2, 2, 2, 4], [3, 3, 3, 3], [5, 2, 5, 4], [5, 1, 5, 4]]
    )
    return tonebench.Rule(
        family="SCENES",
        contents=("praise", "wonder", "blame", "loss", "threat", "fact"),
        tones=("flat", "excited", "weary", "sarcastic"),
        labels=LABELS,
        given=(1 - EPSILON) * np.eye(len(LABELS))[table] + EPSILON / len(LABELS),
        weights=np.ones(table.shape, dtype=np.int64),
    )


def synthetic(settings: Settings) -> list[dict[str, Any]]:
    """Utterances of several sentences about one content, babbled in one tone.

    A recogniser that mishears every third letter leaves nothing of a single word; real utterances
    are longer, and so are these: ``settings.sentences`` sentences of two or three words, each with
    one word that tells the content.
    """
    rule, seed = scenes(), settings.corpus_seed
    words = lexicon("ko", rule.contents)
    bench = tonebench.ToneBench(
        rule,
        settings.samples,
        speakers=range(settings.speakers),
        seed=seed,
        clip_seconds=settings.clip_seconds,
    )
    made = []
    for index in range(len(bench)):
        sample = bench[index]
        draw = np.random.default_rng(seed_for(sample["id"], seed, _MORE))
        more = [
            " ".join(words.sentence(sample["content"], draw)) + "."
            for _ in range(settings.sentences - 1)
        ]
        # The times of the words are those of the first sentence alone.
        kept = {name: value for name, value in sample.items() if name != "words"}
        made.append(kept | {"text": " ".join([sample["text"], *more])})
    return made


def _real(folder: Path, settings: Settings) -> tuple[Samples, tuple[str, ...], str]:
    """A manifest of recordings, or AI-Hub's set; utterances with audio, words and a label."""
    manifest = folder / "manifest.csv" if folder.is_dir() else folder
    corpus: ManifestCorpus | AIHubMultimodalVideo
    if manifest.is_file():
        corpus = ManifestCorpus(manifest, id=None, audio="path", text="transcript", label="emotion")
    else:
        corpus = AIHubMultimodalVideo(folder, broken="drop")
    given = corpus.column("label")
    labels = tuple(
        name for name in corpus.labels if name in set(given) and name not in settings.dropped
    )
    kept = corpus.where(label=labels)
    usable = [
        row
        for row, (text, audio) in enumerate(zip(kept.column("text"), _has_audio(kept), strict=True))
        if audio and text and text.strip()
    ]
    if not usable or len(labels) < 2:
        raise InputError(
            f"{folder}: nothing to train on",
            expected="utterances with audio, words and one of two labels or more",
            got=f"{len(usable)} utterances, labels {labels}",
            mend="give the folder that the archives were unpacked into, or a manifest.csv",
        )
    name = folder.name if manifest.is_file() else f"{corpus.name}, {folder.name}"
    return _Rows(kept, _spread(usable, settings.most)), labels, name


def _has_audio(corpus: Any) -> list[bool]:
    return [row.recording is not None for row in corpus._rows]


def _spread(rows: list[int], most: int | None) -> list[int]:
    """At most so many, evenly through the corpus."""
    if most is None or len(rows) <= most:
        return rows
    return [rows[place * len(rows) // most] for place in range(most)]


class _Rows(Dataset[dict[str, Any]]):
    """Some rows of a corpus."""

    def __init__(self, corpus: Any, rows: Sequence[int]) -> None:
        self.corpus, self.rows = corpus, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        found: dict[str, Any] = self.corpus[self.rows[index]]
        return found

    def column(self, name: str) -> list[Any]:
        values = self.corpus.column(name)
        return [values[row] for row in self.rows]

"""What the valence and arousal system reads: KEMDy20, or synthetic speech of the same shape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from modalxai.datasets import KEMDy20, split, tonebench
from modalxai.datasets.ratings import EMOTIONS
from modalxai.errors import InputError
from modalxai.protocols import Samples
from modalxai.recipes.synthetic import Annotated, arousal, reweighted, valence

PARTS = ("train", "dev", "test")
DIMENSIONS = ("arousal", "valence")
SPEAKERS = 80
"""Voices of each part of synthetic speech, one for every 44 clips as long as they last."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """Samples with the columns of `KEMDy20`, by part.

    Parameters
    ----------
    parts
        ``"train"``, ``"dev"`` and ``"test"``.
    emotions
        Those that are kept, in KEMDy's order.
    counts
        Of every emotion, ties left out.
    planted
        ``{emotion: {modality: share}}``; nothing is known of a real corpus.
    """

    parts: Mapping[str, Samples]
    emotions: tuple[str, ...]
    counts: Mapping[str, int]
    planted: Mapping[str, Mapping[str, float]]


def kemdy20(folder: Path, sizes: Sequence[float], fewest: int, seed: int) -> Corpus:
    """The real corpus, whole sessions to parts, so that nobody is heard in two of them.

    Parameters
    ----------
    folder
        As unpacked.
    sizes
        Of the three parts.
    fewest
        Samples that an emotion needs to be kept.
    seed
        Of the split.
    """
    corpus = KEMDy20(folder, broken="drop")
    # Short answers are said by everybody; what the split says of them is in every report.
    drawn = split(
        corpus,
        dict(zip(PARTS, sizes, strict=True)),
        by="session",
        stratify="label",
        seed=seed,
        share="sentence",
    )
    emotions, counts = _kept(corpus.column("label"), fewest)
    return Corpus({name: drawn.part(corpus, name) for name in PARTS}, emotions, counts, {})


def synthetic(clips: Sequence[int], fewest: int, seed: int) -> Corpus:
    """Speech in which the source of every emotion is planted, see `planted_rule`.

    Parameters
    ----------
    clips
        Of the three parts, which have speakers of their own.
    fewest
        Samples that an emotion needs to be kept.
    seed
        Of everything.
    """
    rule = planted_rule()
    parts = {}
    for place, (name, count) in enumerate(zip(PARTS, clips, strict=True)):
        first = 300 * seed + SPEAKERS * place
        people = range(first, first + SPEAKERS)
        speech = tonebench.ToneBench(rule, count, speakers=people, seed=10 * seed + place)
        parts[name] = Annotated(speech, (arousal(rule), valence(rule)), bodies=True, cache=True)
    everyone = [label for part in parts.values() for label in part.column("label")]
    emotions, counts = _kept(everyone, fewest)
    known = reweighted(rule, {name: 0.0 for name in rule.labels if name not in emotions})
    planted = {
        label: {"audio": truth.audio, "text": truth.text}
        for label, truth in tonebench.gold(known).items()
    }
    return Corpus(parts, emotions, counts, planted)


def planted_rule() -> tonebench.Rule:
    """Seven emotions of unequal frequency, two of them so rare that they are left out.

    ======  =======  ========  =====  =========
    ..      flat     excited   weary  sarcastic
    ======  =======  ========  =====  =========
    praise  happy    surprise  sad    angry
    blame   angry    surprise  angry  angry
    loss    sad      surprise  sad    sad
    fact    neutral  surprise  sad    neutral
    ======  =======  ========  =====  =========

    Surprise is in the tone; anger is in the words, or in sarcastic praise; sadness in the words or
    in a weary tone; joy and neutrality need both. Neutral facts are the most frequent. Disgust and
    fear are what raters say by mistake, once in seventy times each. How often a label occurs, and
    so oversampling, changes no share on clr: it adds the same to every coalition.
    """
    table = (
        ("happy", "surprise", "sad", "angry"),
        ("angry", "surprise", "angry", "angry"),
        ("sad", "surprise", "sad", "sad"),
        ("neutral", "surprise", "sad", "neutral"),
    )
    places = np.array([[EMOTIONS.index(name) for name in row] for row in table])
    count = len(EMOTIONS)
    return tonebench.Rule(
        "KEMDY20",
        ("praise", "blame", "loss", "fact"),
        ("flat", "excited", "weary", "sarcastic"),
        EMOTIONS,
        0.9 * np.eye(count)[places] + 0.1 / count,
        np.array([[5, 2, 2, 2], [2, 2, 2, 2], [2, 2, 2, 2], [6, 2, 3, 6]]),
    )


class Task(Dataset[dict[str, Any]]):
    """Some samples as one model sees them: its modalities, its labels, and the speaker.

    Parameters
    ----------
    samples
        With the columns of a `Corpus`.
    modalities
        Samples without any of these are left out. Without ``"audio"`` no recording is read.
    labels
        Emotions, or the name of one dimension; samples without a value are left out.
    rows
        Which samples, all for None.
    """

    COLUMNS = ("id", "speaker", "text", "split_leak")

    def __init__(
        self,
        samples: Samples,
        modalities: Sequence[str],
        labels: Sequence[str],
        rows: Sequence[int] | None = None,
    ) -> None:
        self.samples, self.modalities, self.labels = samples, tuple(modalities), tuple(labels)
        read: Any = samples
        self._columns = {name: read.column(name) for name in self._known(read)}
        if next(iter(labels)) in DIMENSIONS:
            values = read.column(labels[0])
            found = [None if one is None else {labels[0]: float(one)} for one in values]
        else:
            names = read.column("label")
            found = [{name: 1.0} if name in labels else None for name in names]
        asked = range(len(samples)) if rows is None else rows
        silent = [text is None for text in self._columns["text"]]
        self.rows = tuple(
            row
            for row in asked
            if found[row] is not None and not ("audio" not in modalities and silent[row])
        )
        self._labels = found
        if not self.rows:
            raise InputError(
                f"no sample for {', '.join(labels)}",
                expected=f"samples with {' or '.join(modalities)} and one of these",
                got=f"{len(samples)} samples without",
                mend="give more of the corpus",
            )

    def _known(self, read: Any) -> list[str]:
        leaks = bool(getattr(read, "leak", ""))
        return [name for name in self.COLUMNS if name != "split_leak" or leaks]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.rows[index]
        made = {name: values[row] for name, values in self._columns.items()}
        if "audio" in self.modalities:
            made["audio"] = self.samples[row]["audio"]
        return made | {"labels": self._labels[row]}

    def column(self, name: str) -> list[Any]:
        """One column; no recording is read."""
        values: Any = self._labels if name == "labels" else self._columns.get(name)
        if values is None:
            raise InputError(
                f"no column {name!r}",
                expected=f"one of {[*self._columns, 'labels']}",
                got=repr(name),
                mend="take recordings from the samples themselves",
            )
        return [values[row] for row in self.rows]

    @property
    def truth(self) -> list[Any]:
        """The emotion's name, or the dimension's value, of every sample."""
        return [
            value if name in DIMENSIONS else name
            for one in self.column("labels")
            for name, value in one.items()
        ]

    def few(self, count: int, seed: int) -> Task:
        """``count`` of these samples, drawn at random; every emotion has two or more, if it can."""
        order = np.random.default_rng([41, seed]).permutation(len(self)).tolist()
        said = self.truth
        first: list[int] = []
        for name in sorted(set(said)):
            first += [place for place in order if said[place] == name][:2]
        chosen = [*first, *(place for place in order if place not in first)][:count]
        rows = sorted(self.rows[place] for place in chosen)
        return Task(self.samples, self.modalities, self.labels, rows)


def _kept(names: Sequence[str], fewest: int) -> tuple[tuple[str, ...], dict[str, int]]:
    """The emotions with enough samples, and the counts of all; ties count for none."""
    found = Counter(names)
    counts = {name: found.get(name, 0) for name in EMOTIONS}
    kept = tuple(name for name in EMOTIONS if counts[name] >= fewest)
    if len(kept) < 2:
        raise InputError(
            "too few emotions to tell apart",
            expected=f"two with {fewest} samples or more",
            got=str(counts),
            mend="give the whole corpus",
        )
    return kept, counts

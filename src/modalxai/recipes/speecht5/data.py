"""What the SpeechT5 system reads: KEMDy19 and KEMDy20 as one corpus, or synthetic speech.

Every utterance has a set of emotions, "angry;happy" say, and a valence and an arousal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from modalxai.datasets import KEMDy19, KEMDy20, split, tonebench
from modalxai.datasets.columns import column as read_column
from modalxai.datasets.ratings import EMOTIONS
from modalxai.errors import InputError
from modalxai.protocols import Samples
from modalxai.recipes.speecht5.words import COLUMN, Words, spell
from modalxai.recipes.synthetic import Annotated, LabelSet, arousal, valence
from modalxai.recipes.synthetic_gold import gold_dimension, gold_sets
from modalxai.statistics import Array

PARTS = ("train", "test")
DIMENSIONS = ("valence", "arousal")
FIRST_SPEAKER, SPEAKERS = 1000, 100
"""Of synthetic speech: a voice for every 20 clips, as long as they last; none that the tiny
encoders were pre-trained on. Encoders tuned on few voices hear the tone of new ones badly."""
CONTENTS = ("praise", "blame", "loss", "fact", "threat")
TONES = ("flat", "excited", "weary", "sarcastic")
PLANTED: Mapping[str, tuple[float, Mapping[str, float]]] = {
    "angry": (-3.9, {"blame": 6.0, "sarcastic": 6.0}),
    "sad": (-3.6, {"loss": 6.4, "weary": 1.2}),
    "happy": (-4.2, {"praise": 7.0, "excited": 1.4, "sarcastic": -5.6}),
    "disgust": (-7.0, {"blame": 4.9, "threat": 4.9, "sarcastic": 4.9}),
    "fear": (-3.9, {"threat": 7.8}),
    "surprise": (-3.9, {"excited": 7.8}),
    "neutral": (-4.2, {"fact": 6.6, "excited": -5.2, "sarcastic": -5.2}),
}
"""By emotion the log-odds that it is in a set, and what contents and tones add to them."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """Samples with the columns of the KEMDy corpora, by part.

    Parameters
    ----------
    name
        For tables.
    parts
        ``"train"`` and ``"test"``, with readable words in the column ``"english"``.
    planted
        ``{label: {modality: share}}`` under marginal removal; nothing is known of a real corpus.
    best
        By what is known (``"audio"``, ``"text"``, ``"both"``, ``"nothing"``), the exact match that
        nobody can exceed but by luck; empty for a real corpus.
    """

    name: str
    parts: Mapping[str, Samples]
    planted: Mapping[str, Mapping[str, float]]
    best: Mapping[str, float]


def kemdy(folder: Path, sizes: Sequence[float], seed: int, words: Words, cache: Path) -> Corpus:
    """Both real corpora, whole sessions to parts, so that nobody is heard in two of them.

    Parameters
    ----------
    folder
        With KEMDy19 and KEMDy20 in it as unpacked; or one of them, which is then used alone, as
        the corpus's name says.
    sizes
        Of the two parts.
    seed
        Of the split.
    words
        How texts become readable, one corpus after the other, since turns are its dialogues'.
    cache
        A folder for translations.

    Raises
    ------
    InputError
        Neither corpus is there.
    """
    readers: tuple[tuple[str, str, Callable[..., Any]], ...] = (
        ("KEMDy19", "Session*_res.csv", KEMDy19),
        ("KEMDy20", "Sess*_eval.csv", KEMDy20),
    )
    found: dict[str, Samples] = {}
    for name, ratings, reader in readers:
        for place in (folder, *sorted(folder.glob("*"))):
            if name not in found and any((place / "annotation").glob(ratings)):
                corpus = reader(place, ties="multi", dimensions=True, biosignals=(), broken="drop")
                found[name] = words.readable(corpus, cache)
    if not found:
        raise InputError(
            f"{folder} holds neither KEMDy19 nor KEMDy20",
            expected="a folder with one subfolder for each, each with its folder annotation",
            got=str(sorted(path.name for path in folder.glob("*"))[:8]),
            mend="unpack both side by side, and give the folder above them",
        )
    both = Together(found)
    # Short answers are said by everybody; what the split says of them is in every report.
    drawn = split(
        both,
        dict(zip(PARTS, sizes, strict=True)),
        by="session",
        stratify="label",
        seed=seed,
        share="sentence",
    )
    parts = {name: drawn.part(both, name) for name in PARTS}
    return Corpus(" and ".join(found), parts, {}, {})


def synthetic(clips: Sequence[int], seed: int, words: Words, cache: Path) -> Corpus:
    """Speech in which it is planted what words and voice add to every label.

    Parameters
    ----------
    clips
        Of the two parts, which have speakers of their own.
    seed
        Of everything.
    words, cache
        As in `kemdy`.
    """
    rule, sets = planted_rule(), planted_sets()
    dimensions = (valence(rule), arousal(rule))
    parts = {}
    for place, (name, count) in enumerate(zip(PARTS, clips, strict=True)):
        first = FIRST_SPEAKER + 2 * SPEAKERS * seed + SPEAKERS * place
        people = range(first, first + SPEAKERS)
        speech = tonebench.ToneBench(
            rule, count, speakers=people, seed=10 * seed + place, cache=True
        )
        made = Annotated(speech, dimensions, sets, dimensions_in_labels=True)
        parts[name] = words.readable(made, cache)
    # No model here was trained to miss a modality: it is told another utterance's instead.
    truths = gold_sets(rule, sets, removal="marginal") | {
        one.name: gold_dimension(rule, one, removal="marginal") for one in dimensions
    }
    planted = {
        label: {"audio": truth.audio, "text": truth.text}
        for label, truth in truths.items()
        if truth.reason is None
    }
    return Corpus("synthetic speech", parts, planted, best_match(rule, sets))


def planted_rule() -> tonebench.Rule:
    """Every content in every tone, equally often; `planted_sets` says what they mean."""
    count = len(EMOTIONS)
    cells = (len(CONTENTS), len(TONES))
    return tonebench.Rule(
        "SETS",
        CONTENTS,
        TONES,
        EMOTIONS,
        np.full((*cells, count), 1 / count),
        np.ones(cells, dtype=np.int64),
    )


def planted_sets() -> LabelSet:
    """Sets by `PLANTED`: evidence adds on log-odds, and every utterance has a likely emotion.

    Surprise is in the tone alone and fear in the words alone; sad, happy and neutral are mostly in
    the words; angry is in either (blame or sarcasm), disgust in both together. Praise in a
    sarcastic tone is angry, blame in it "angry;disgust".
    """
    names = np.array([[(said, how) for how in TONES] for said in CONTENTS])
    odds = [
        base + np.vectorize(lambda name, adds=adds: adds.get(name, 0.0))(names).sum(-1)
        for base, adds in (PLANTED[emotion] for emotion in EMOTIONS)
    ]
    return LabelSet(EMOTIONS, 1 / (1 + np.exp(-np.stack(odds, -1))))


def best_match(rule: tonebench.Rule, sets: LabelSet) -> dict[str, float]:
    """The exact match of whoever knows the rule and hears, reads, both or nothing.

    Labels of a cell are drawn independently, so the likeliest set of a cell is that of its likely
    labels. Of several cells that cannot be told apart the best answer is searched among all sets.
    """
    held = (np.arange(2 ** len(sets.labels))[:, None] >> np.arange(len(sets.labels))) & 1
    chance = sets.chance[..., None, :]
    by_set = np.where(held, chance, 1 - chance).prod(-1) * rule.joint[..., None]

    def best(axes: tuple[int, ...]) -> float:
        told: Array = by_set.sum(axes)
        return float(told.max(-1).sum())

    return {"audio": best((0,)), "text": best((1,)), "both": best(()), "nothing": best((0, 1))}


class Together(Dataset[dict[str, Any]]):
    """Several corpora as one; names of sessions and dialogues begin with their corpus's.

    Parameters
    ----------
    corpora
        By name; no id occurs in two of them.
    """

    OWN = ("session", "dialogue")

    def __init__(self, corpora: Mapping[str, Samples]) -> None:
        self.corpora = dict(corpora)
        self._places = [
            (name, row) for name, samples in corpora.items() for row in range(len(samples))
        ]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> dict[str, Any]:
        name, row = self._places[index]
        sample = dict(self.corpora[name][row])
        return sample | {"corpus": name} | {key: f"{name} {sample[key]}" for key in self.OWN}

    def column(self, name: str) -> list[Any]:
        """One column; no recording is read."""
        if name == "corpus":
            return [corpus for corpus, _ in self._places]
        values = [
            f"{corpus} {value}" if name in self.OWN else value
            for corpus, samples in self.corpora.items()
            for value in read_column(samples, name)
        ]
        if all(value is None for value in values):
            raise InputError(
                f"no column {name!r}",
                expected="a column of one of the corpora",
                got=repr(name),
                mend="use the name that the column has in a sample",
            )
        return values


class Task(Dataset[dict[str, Any]]):
    """Samples as one model sees them: its modalities and its labels, and who speaks.

    Parameters
    ----------
    samples
        Of a `Corpus`.
    modalities
        ``"audio"``, ``"text"``; without ``"audio"`` no recording is read. Samples without a
        readable text are left out whatever is asked for: every model is scored on the same ones.
    labels
        Names; a sample's further ones are left out.
    known
        Characters that the text encoder can read, see `modalxai.recipes.speecht5.words.spell`.
    """

    def __init__(
        self,
        samples: Samples,
        modalities: Sequence[str],
        labels: Sequence[str],
        known: frozenset[str],
    ) -> None:
        self.samples, self.modalities = samples, tuple(modalities)
        told = [spell(text, known) for text in read_column(samples, COLUMN)]
        self.lost = sum(lost for _, lost in told)
        names = [name for name in ("id", "speaker", "corpus", "split_leak") if _has(samples, name)]
        self._columns = {name: read_column(samples, name) for name in names}
        self._columns["text"] = [text for text, _ in told]
        # Read here, so that reports show what was said, and not only its translation.
        self._columns["korean"] = read_column(samples, "text")
        self._columns["labels"] = [
            {name: value for name, value in one.items() if name in labels}
            for one in read_column(samples, "labels")
        ]
        self.rows = [row for row, text in enumerate(self._columns["text"]) if text is not None]
        if not self.rows:
            raise InputError(
                "no sample has a readable text",
                expected="texts in English, or a translator that answers",
                got=f"{len(samples)} samples without",
                mend="see the failures that the translator told of",
            )

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.rows[index]
        made = {name: values[row] for name, values in self._columns.items()}
        if "audio" in self.modalities:
            made["audio"] = self.samples[row]["audio"]
        return made

    def column(self, name: str) -> list[Any]:
        """One column; no recording is read."""
        if name not in self._columns:
            raise InputError(
                f"no column {name!r}",
                expected=f"one of {list(self._columns)}",
                got=repr(name),
                mend="take recordings from the samples themselves",
            )
        return [self._columns[name][row] for row in self.rows]


def _has(samples: Samples, name: str) -> bool:
    return any(value is not None for value in read_column(samples, name))

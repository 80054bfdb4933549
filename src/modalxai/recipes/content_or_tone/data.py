"""The corpora of recipe S0: MELD, or a folder with a manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from modalxai.datasets import MELD, ManifestCorpus, tonebench
from modalxai.errors import InputError
from modalxai.recipes.content_or_tone.settings import EMOTIONS, Settings, has_clips

Samples = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class Corpus:
    """What the recipe needs of a corpus.

    Parameters
    ----------
    name
        As tables call it.
    emotions
        The labels, in order.
    train, dev, test
        Samples; no speaker (MELD: no dialogue) is in two parts. ``dev`` may be empty.
    cluster
        The column that is resampled.
    situations
        Columns of the test part that say in which situation it was said.
    planted
        By emotion the true shares, where they are known.
    rule
        What is planted, on synthetic speech.
    said
        What a reader must know of these data.
    """

    name: str
    emotions: tuple[str, ...]
    train: Samples
    dev: Samples
    test: Samples
    cluster: str = "speaker"
    situations: tuple[str, ...] = ()
    planted: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    rule: tonebench.Rule | None = None
    said: tuple[str, ...] = ()


def meld(folder: Path, settings: Settings) -> Corpus:
    """MELD; without clips its text. Where the test csv is not there, dev is the test part.

    Then no part is left to choose an epoch on, and the last one is kept.
    """
    corpus = MELD(folder, audio=has_clips(folder))
    parts: dict[str, Any] = {
        name: corpus.where(split=name) for name in sorted(set(corpus.column("split")))
    }
    if "train" not in parts or len(parts) < 2:
        raise InputError(
            f"{folder}: too few of MELD's parts",
            expected="train_sent_emo.csv, and dev or test beside it",
            got=str(sorted(parts)),
            mend="download the csv files",
        )
    held = parts["test"] if "test" in parts else parts["dev"]
    dev: Samples = parts["dev"] if "test" in parts and "dev" in parts else ()
    said = [] if "test" in parts else ["The test csv is not there: scores are on dev."]
    if not has_clips(folder):
        said.append("There are no clips: the model reads, and hears nothing.")
    chosen = [parts["train"], dev, held]
    # Recordings that do not fit into memory are read each time; situations want columns.
    if len(corpus) <= settings.memory or settings.most is not None or not has_clips(folder):
        chosen = [_some(part, settings.most) for part in chosen]
    train, dev, test = chosen
    situations = ("position",) if isinstance(test, list) else ("speaker",)
    return Corpus(
        "MELD", EMOTIONS, train, dev, test, cluster="dialogue", situations=situations,
        said=(*said, "Nobody annotated words and voice apart: no comparison with people."),
    )  # fmt: skip


def manifest(folder: Path, settings: Settings) -> Corpus:
    """A folder with ``manifest.csv``: path or audio, transcript or text, emotion or label, speaker.

    Every fourth speaker, at least one of each value of ``part`` where there is such a column, is
    held out.
    """
    heads = (folder / "manifest.csv").read_text(encoding="utf-8-sig").splitlines()[0].split(",")
    named: dict[str, Any] = {
        role: next((name for name in names if name in heads), None)
        for role, names in {
            "id": ("id",),
            "audio": ("audio", "path"),
            "text": ("text", "transcript"),
            "label": ("label", "emotion"),
            "speaker": ("speaker",),
        }.items()
    }
    corpus = ManifestCorpus(folder / "manifest.csv", **named)
    if named["speaker"] is None or named["label"] is None:
        raise InputError(
            f"{folder / 'manifest.csv'}: columns are missing",
            expected="a speaker and an emotion for each row",
            got=str(heads),
            mend="add the columns 'speaker' and 'emotion'",
        )
    part = "part" if "part" in heads else None
    groups = corpus.column(part) if part else ["all"] * len(corpus)
    pairs = sorted(set(zip(groups, corpus.column("speaker"), strict=True)))
    held = set()
    for group in sorted({one for one, _ in pairs}):
        voices = [voice for one, voice in pairs if one == group]
        shuffled = np.random.default_rng(settings.seed).permutation(voices)
        held |= set(shuffled[: max(1, len(voices) // 4)])
    rows = list(corpus)
    return Corpus(
        folder.name, corpus.labels,
        _some([one for one in rows if one["speaker"] not in held], settings.most), (),
        _some([one for one in rows if one["speaker"] in held], settings.most),
        cluster="text", situations=tuple(filter(None, (part, "speaker"))),
        said=(
            f"Held out: {', '.join(sorted(map(str, held)))}; intervals are over sentences.",
            "Nobody annotated words and voice apart: no comparison with people.",
        ),
    )  # fmt: skip


def _some(samples: Any, most: int | None) -> list[dict[str, Any]]:
    """The samples in memory, at most so many, evenly spread."""
    count = len(samples)
    kept = range(count) if most is None or count <= most else np.linspace(0, count - 1, most)
    found = [dict(samples[int(place)]) for place in kept]
    for one in found:
        if "turn" in one:
            one["position"] = "opens the dialogue" if int(one["turn"]) == 0 else "answers"
    return found

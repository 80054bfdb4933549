"""KEMDy19, or synthetic speech of its shape, with the biosignals as features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

import modalxai as mx
from modalxai import biosignals
from modalxai.biosignals import Beats, Biosignal, Measures, Series
from modalxai.datasets import KEMDy19, random_split, split, tonebench
from modalxai.errors import InputError
from modalxai.protocols import Samples
from modalxai.recipes.late_fusion.settings import BODY, Settings
from modalxai.types import Labels

RAW = ("audio", "text", "bio", *BODY)


class Utterances(Dataset[dict[str, Any]]):
    """Samples whose biosignals are features; recordings are read when they are asked for.

    Parameters
    ----------
    rows
        Of each sample everything but the recording: text, columns, and `Biosignal` values.
    sounds
        Where the recordings are, sample by sample.
    places
        Of each row, its place in ``sounds``; None without a recording.
    modalities
        Which raw values the samples have.
    """

    def __init__(
        self,
        rows: Sequence[Mapping[str, Any]],
        sounds: Samples,
        places: Sequence[int | None],
        modalities: Sequence[str] = RAW,
    ) -> None:
        self.rows, self.sounds, self.places = rows, sounds, places
        self.modalities = tuple(modalities)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = {k: v for k, v in self.rows[index].items() if k not in RAW or k in self.modalities}
        place = self.places[index]
        if "audio" in self.modalities and place is not None:
            row["audio"] = self.sounds[place]["audio"]
        return row

    def column(self, name: str) -> list[Any]:
        """One column; no recording is read."""
        return [row.get(name) for row in self.rows]

    def only(self, *modalities: str) -> Utterances:
        """The samples that have one of these modalities or more, with these alone."""
        kept = [
            index
            for index, row in enumerate(self.rows)
            if ("audio" in modalities and self.places[index] is not None)
            or any(row.get(name) is not None for name in modalities)
        ]
        return Utterances(
            [self.rows[index] for index in kept],
            self.sounds,
            [self.places[index] for index in kept],
            modalities,
        )


@dataclass(frozen=True, eq=False)
class Corpus:
    """What the recipe works on.

    Parameters
    ----------
    name
        For tables.
    train, test
        The parts.
    labels
        The emotions.
    leak
        What the parts share, see `modalxai.datasets.Split.leak`.
    rule
        The planted truth, of synthetic speech.
    """

    name: str
    train: Utterances
    test: Utterances
    labels: Labels
    leak: str
    rule: tonebench.Rule | None = None


def measured(signals: Mapping[str, Series | Beats]) -> dict[str, Measures]:
    """The features of the source, by signal: heart-rate variability, Fourier bands, temperature."""
    found: dict[str, Any] = {name: signals.get(name) for name in BODY}
    ecg, eda, temp = (None if one is None else one.values[0] for one in found.values())
    beats = None if ecg is None else biosignals.heart_beats(ecg, found["ecg"].rate)
    rates = {name: 4.0 if one is None else one.rate for name, one in found.items()}
    return {
        "ecg": biosignals.hrv(beats),
        "eda": biosignals.eda_spectrum(eda, rates["eda"]),
        "temp": biosignals.temperature(temp, rates["temp"]),
    }


def vectors(measures: Mapping[str, Measures]) -> dict[str, np.ndarray[Any, Any]]:
    """One vector per signal, and ``"bio"``, all of them one after the other."""
    own = {name: measures[name].vector() for name in BODY}
    return {**own, "bio": np.concatenate([own[name] for name in BODY])}


def utterances(samples: Samples, most: int | None = None) -> Utterances:
    """Read every sample once; its speaker's mean features stand for the body at rest."""
    rows: list[dict[str, Any]] = []
    places: list[int | None] = []
    for index in range(len(samples) if most is None else min(most, len(samples))):
        sample = dict(samples[index])
        places.append(None if sample.pop("audio", None) is None else index)
        rows.append(sample | vectors(measured(sample.pop("biosignals", {}))))
    for name in ("bio", *BODY):
        table = np.stack([row[name] for row in rows])
        speakers = np.array([str(row.get("speaker")) for row in rows])
        for speaker in np.unique(speakers):
            own = speakers == speaker
            known = np.isfinite(table[own])
            total = np.where(known, table[own], 0).sum(0)
            resting = np.where(known.any(0), total / np.maximum(known.sum(0), 1), np.nan)
            for index in np.flatnonzero(own).tolist():
                values = table[index]
                rows[index][name] = (
                    Biosignal(values, baseline=resting) if np.isfinite(values).any() else None
                )
    return Utterances(rows, samples, places)


def standards(train: Utterances, modality: str) -> tuple[list[float], list[float]]:
    """Mean and spread of a biosignal's features over the training part.

    Raises
    ------
    InputError
        No utterance has the signal.
    """
    known = [one.values for one in train.column(modality) if one is not None]
    if not known:
        raise InputError(
            f"no training utterance has the signal {modality!r}",
            expected="a file for each speaker, with lines tagged by utterance",
            got=f"{len(train)} utterances without it",
            mend="unpack the folders ECG, EDA and TEMP of the corpus",
        )
    return biosignals.standards(known)


def kemdy19(folder: Path, settings: Settings, seed: int) -> Corpus:
    """The real corpus: seven emotions, ties left out, split as the settings say."""
    corpus = KEMDy19(folder)
    sizes = dict(zip(("train", "test"), settings.parts, strict=True))
    if settings.dealt == "speaker":
        made = split(corpus, sizes, by="speaker", seed=seed, share="sentence")
    else:
        made = random_split(corpus, sizes, leak="papers", seed=seed)
    train, test = (utterances(made.part(corpus, part), settings.most) for part in sizes)
    return Corpus("KEMDy19", train, test, mx.labels(*corpus.labels), made.leak)


def synthetic(settings: Settings, seed: int) -> Corpus:
    """Speech and bodies made here: emotions in the voice, in the words, in the body, in several.

    Training labels are many raters' (the rule's probabilities), test labels one rater's.
    """
    rule = tonebench.bio()
    asked: dict[str, Any] = {"speakers": range(settings.speakers), "seed": seed}
    spoken = tonebench.ToneBench(rule, settings.samples, **asked, soft=True, cache=True)
    drawn = tonebench.ToneBench(rule, settings.samples, **asked)
    sizes = dict(zip(("train", "test"), settings.parts, strict=True))
    if settings.dealt == "speaker":
        made = split(spoken, sizes, by="speaker", seed=seed)
    else:
        made = random_split(spoken, sizes, leak="papers", seed=seed)
    train, test = (utterances(made.part(spoken, part)) for part in sizes)
    told = dict(zip(drawn.column("id"), drawn.column("labels"), strict=True))
    rows = [{**row, "labels": told[row["id"]]} for row in test.rows]
    test = Utterances(rows, test.sounds, test.places)
    labels = mx.labels(*rule.labels)
    return Corpus("synthetic speech and bodies", train, test, labels, made.leak, rule)

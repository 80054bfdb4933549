"""Trained models that count: their gates, their gold, the samples that are explained."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from modalxai import storage
from modalxai.benchmark.tonebench import systems, teachers
from modalxai.benchmark.tonebench.contest import Arena
from modalxai.benchmark.tonebench.question import Track
from modalxai.benchmark.tonebench.settings import Settings
from modalxai.datasets import tonebench
from modalxai.datasets.tonebench.corpus import LONGEST
from modalxai.datasets.tonebench.factorial import Factorial
from modalxai.datasets.tonebench.gates import Probe
from modalxai.datasets.tonebench.registry import Family
from modalxai.datasets.tonebench.rule import Rule
from modalxai.model import EmotionModel
from modalxai.stages import Stages

PROBED = 640
"""Samples of a probe."""
REPEATS = {2: 2, 3: 1}
"""By number of modalities, recordings and texts of each state among the donors."""
TEACHERS = {"audio": teachers.teach_hearing, "text": teachers.teach_reading}

Say = Callable[[str], None]


def tracks(modalities: tuple[str, ...]) -> tuple[Track, ...]:
    """The removals of a contest: as in the gold, then two others."""
    lent = dict.fromkeys(modalities, "marginal-independent")
    absent = dict.fromkeys(modalities, "absent")
    masked = absent | {"audio": "silence", "text": "mask"}
    if "bio" in masked:
        masked["bio"] = "baseline"
    return (
        Track("same", "as in the gold", lent, "all"),
        Track("cross", "absent", absent),
        Track("cross", "mask, silence", masked),
    )


def donors(family: Family, seed: int) -> list[dict[str, Any]]:
    """Samples in which every state of every modality occurs equally often.

    Each lends its text, its recording, its signals; mixed with each other they are the full
    crossing, so that few of them do.
    """
    rule = family.rule()
    sizes = {
        name: math.prod(len(rule.factors[factor]) for factor in factors)
        for name, factors in family.channels.items()
    }
    count = REPEATS[len(sizes)] * math.lcm(*sizes.values())
    whole = family.corpus(
        count * rule.weights.size,
        crossed=True,
        speakers=teachers.voices(seed),
        seed=seed,
        language=teachers.language(seed),
    )
    wanted = [_state(family, place) for place in range(count)]
    found: list[dict[str, Any]] = []
    used: set[int] = set()
    for state in wanted:
        at = next(
            row
            for row in range(len(whole))
            if row not in used and all(whole.row(row)[key] == one for key, one in state.items())
        )
        used.add(at)
        found.append(whole[at])
    return found


def _state(family: Family, place: int) -> dict[str, str]:
    """By column the state of one donor: each modality goes round its own states."""
    rule, state = family.rule(), {}
    for factors in family.channels.values():
        at = place
        for factor in factors:
            names = rule.factors[factor]
            state[f"{factor}_state" if factor in rule.signals else factor] = names[at % len(names)]
            at //= len(names)
    return state


def arena(
    name: str, seed: int, settings: Settings, folder: Stages, say: Say
) -> tuple[Arena | None, dict[str, Any]]:
    """A model that has passed its gate, and the gate's record; no arena where it has not."""
    family = tonebench.FAMILIES[name]
    place = folder.place(f"{name}/seed-{seed}/model")

    def make(where: Path) -> Mapping[str, Any]:
        taught = {modality: teacher(modality, settings, folder, say) for modality in TEACHERS}
        say(f"{name}, seed {seed}: training")
        model = systems.learn(family, seed, settings, taught, where / "fit")
        table = gold(family, model, seed, settings)
        samples = [*explained(family, seed, settings), *donors(family, seed)]
        gate = tonebench.gate(family, table, samples, probes(family, model, seed))
        record: dict[str, Any] = {**asdict(gate), "digest": family.digest()}
        if name == "REDUND":
            followed = tonebench.followed(table, family.rule(), samples, family.channels)
            record["followed"] = followed
        model.save_pretrained(where / "model")
        kinds = table.types()[:, :, 0, 1]  # of the first pair, the others being there
        storage.write_tensors(
            where / "gold.safetensors",
            {
                "shapley": torch.from_numpy(table.shapley()),
                "kinds": torch.from_numpy(kinds.copy()),
            },
        )
        return record

    record = folder.stage(f"{name}/seed-{seed}/model", make)
    if not record["passed"]:
        return None, record
    model = EmotionModel.from_pretrained(place / "model").eval()
    held = storage.read_tensors(place / "gold.safetensors")
    return (
        Arena(
            family=name,
            seed=seed,
            model=model,
            samples=explained(family, seed, settings),
            background=donors(family, seed),
            gold=held["shapley"],
            kinds=held["kinds"],
            dummies=tuple(family.irrelevant),
            tracks=tracks(tuple(family.modalities)),
        ),
        record,
    )


def teacher(modality: str, settings: Settings, folder: Stages, say: Say) -> Path:
    """Where the encoder is that every model takes over."""
    name = f"teachers/{modality}"

    def make(where: Path) -> Mapping[str, Any]:
        say(f"the encoder of {modality} learns")
        TEACHERS[modality](settings, where)
        return {}

    folder.stage(name, make)
    return folder.place(name)


def explained(family: Family, seed: int, settings: Settings) -> list[dict[str, Any]]:
    """The samples that are explained: of every unheard speaker as many, of every cell as many."""
    speakers = teachers.voices(seed)
    corpus = family.corpus(
        len(speakers) * LONGEST,
        speakers=speakers,
        seed=seed,
        language=teachers.language(seed),
    )
    factors = [f"{one}_state" if one in corpus.rule.signals else one for one in corpus.rule.factors]
    rows = [corpus.row(row) for row in range(len(corpus))]
    left = dict.fromkeys(range(len(rows)))
    spoken: Counter[str] = Counter()
    said: Counter[tuple[str, ...]] = Counter()
    chosen = []
    for _ in range(settings.samples):
        best = min(
            left,
            key=lambda at: (
                spoken[rows[at]["speaker"]],
                said[tuple(rows[at][name] for name in factors)] / _often(corpus.rule, rows[at]),
            ),
        )
        del left[best]
        chosen.append(best)
        spoken[rows[best]["speaker"]] += 1
        said[tuple(rows[best][name] for name in factors)] += 1
    return [corpus[at] for at in sorted(chosen)]


def _often(rule: Rule, row: Mapping[str, Any]) -> int:
    """How often the sample's cell occurs."""
    cell = tuple(
        states.index(row[f"{name}_state" if name in rule.signals else name])
        for name, states in rule.factors.items()
    )
    return int(rule.weights[cell])


def gold(family: Family, model: EmotionModel, seed: int, settings: Settings) -> Factorial:
    """The model's own factorial table, by plain forward calls."""
    return tonebench.factorial(
        lambda mixed: model.predict(list(mixed), batch_size=64),
        explained(family, seed, settings),
        model.modalities,
        donors=donors(family, seed),
        labels=[label.name for label in model.labels],
    )


def probes(family: Family, model: EmotionModel, seed: int) -> list[Probe]:
    """What the irrelevant modalities' encoders tell of the label, on speakers of their own."""
    found = []
    for modality in family.irrelevant:
        corpus = family.corpus(
            PROBED, speakers=teachers.voices(seed, probed=True), seed=seed,
            language=teachers.language(seed), cache=False,
        )  # fmt: skip
        rows = [
            corpus.row(row) if modality == "text" else corpus[row] for row in range(len(corpus))
        ]
        # Of nothing there is no right label: the one that was drawn.
        targets = [
            str(one["rule_label"]) if family.share else str(next(iter(one["labels"])))
            for one in rows
        ]
        features = teachers.pooled(model, modality, [one[modality] for one in rows])
        speakers = [str(one["speaker"]) for one in rows]
        found.append(tonebench.probe(features.numpy(), targets, speakers, modality))
    return found

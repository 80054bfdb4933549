"""Is the word that decides found, and the half second? On speech whose every time is known.

Five words, one of which is praise or blame; three spoken words, one of which, somewhat less than
half a second, is excited or low, the others flat. A small model learns "there is praise" and
"there is excitement", and is asked where, about utterances that have both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

import modalxai as mx
from modalxai.attribution import FeatureDifference, Owen
from modalxai.datasets import tonebench
from modalxai.datasets.tonebench import Tone, phones
from modalxai.datasets.tonebench.lexicon import lexicon
from modalxai.types import Audio, Spans

BITS, SECONDS, PAUSE = 3, 0.8, 0.2
LENGTH = SECONDS + PAUSE
RATE = 16_000
LABELS = mx.labels("praise", "excited", kind="binary")
FEW = 16
"""Utterances that are explained."""
BUDGET = 200
"""Encoder rows for each."""


FLAT = Tone()
LOW = Tone(level=-4, tilt=-4, breath=0.2)
EXCITED = Tone(level=8, swing=5, cycles=2.5, tilt=6)
"""All at one rate, or the length of the pauses would tell as much as the voice."""


def samples(count: int, seed: int, speakers: range) -> list[dict[str, Any]]:
    """Utterances of five written and three spoken words, and which of them decide.

    Between words there is silence, as after a noise gate: to silence a pause changes nothing.
    """
    words, draw, found = lexicon("ko"), np.random.default_rng(seed), []
    for index in range(count):
        bit, place = int(draw.integers(BITS)), int(draw.integers(5))
        content, tone = int(draw.integers(2)), (LOW, EXCITED)[int(draw.integers(2))]
        said = list(draw.choice(words.fillers, 4, replace=False))
        said.insert(place, str(draw.choice(words.contents[("blame", "praise")[content]])))
        speaker = tonebench.Speaker.numbered(int(draw.choice(speakers)))
        clip, heard = [], []
        for at in range(BITS):
            pattern = phones.spell(str(draw.choice(words.words)))
            sounds = [phones.sounds(phones.babble(pattern, draw))]
            own = (tone if at == bit else FLAT).jittered(draw)
            spoken = tonebench.speak(sounds, replace(own, rate=1.0), speaker, draw, SECONDS)
            gate = np.zeros_like(spoken.waveform)
            rest = torch.zeros(round(PAUSE * RATE))
            for start, end in spoken.words:
                gate[round(start * RATE) : round(end * RATE)] = 1
                heard.append((start + LENGTH * at, end + LENGTH * at, at == bit))
            clip += [torch.from_numpy(spoken.waveform * gate), rest]
        found.append(
            {
                "id": f"u{seed}-{index}",
                "audio": Audio(torch.cat(clip), RATE),
                "text": " ".join(said),
                "labels": {"praise": float(content), "excited": float(tone is EXCITED)},
                "word": place,
                "heard": heard,
            }
        )
    return found


def make() -> mx.EmotionModel:
    audio = mx.encoders.MelCnnEncoder(
        dim=32, mels=24, channels=32, layers=3, strides=(2, 2, 2), attention_layers=0, dropout=0.0,
        segment_seconds=0.4,
    )  # fmt: skip
    text = mx.encoders.ByteTextEncoder(dim=32, layers=1, heads=2, dropout=0.0)
    dims = {"audio": audio.dim, "text": text.dim}
    fusion = mx.plugins.create("fusion", "shallow", dims=dims, labels=LABELS, hidden=32)
    return mx.EmotionModel({"audio": audio, "text": text}, fusion, modality_dropout=0.1)


@dataclass(frozen=True)
class Trained:
    model: mx.EmotionModel
    unseen: list[dict[str, Any]]
    game: mx.ModelGame


@pytest.fixture(scope="module")
def trained() -> Trained:
    torch.manual_seed(0)
    model = make()
    seen = samples(320, 1, range(20))
    loader = DataLoader(seen, 16, shuffle=True, collate_fn=model.collate)
    step = mx.training.Objective(model, mx.training.EmotionLoss())
    epochs, rate = 13, 4e-3
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, total_steps=epochs * len(loader)
    )
    model.train()
    for _ in range(epochs):
        for batch in loader:
            optimizer.zero_grad()
            step(**batch)["loss"].backward()
            optimizer.step()
            schedule.step()
    unseen = samples(5 * FEW, 900, range(40, 44))
    scores = model.predict(unseen).scores
    right = (scores > 0) == model.collate(unseen).targets.values.bool()
    print(f"\naccuracy on unseen speakers: {right.float().mean(0).tolist()}")
    assert right.float().mean(0).min() >= 0.9, "nothing to localise: the model has not learnt"
    both = (scores > 0).all(1) & right.all(1)
    unseen = [one for one, chosen in zip(unseen, both.tolist(), strict=True) if chosen][:FEW]
    assert len(unseen) == FEW
    game = model.game(unseen, removal={"audio": "silence", "text": "mask"})
    return Trained(model, unseen, game)


def auc(scores: list[Tensor], deciding: list[Tensor]) -> float:
    """How often a deciding player scores above another of its utterance, ties half; the mean."""
    found = []
    for values, chosen in zip(scores, deciding, strict=True):
        apart = values[chosen][:, None] - values[~chosen]
        found.append(float((apart.sign() + 1).mean() / 2))
    return float(np.mean(found))


def evidence(found: mx.Attribution, modality: str, label: str) -> list[Tensor]:
    """By sample, what each player says for the label, [n]."""
    column = [one.name for one in found.labels].index(label)
    mask = found.mask[modality]
    return [found.units[modality][row, column, mask[row]] for row in range(len(mask))]


def by_span(found: mx.Attribution, modality: str, label: str, spans: Spans) -> list[Tensor]:
    """The same of vectors, summed over the spans that their middles lie in."""
    own, rows = found.spans[modality], []
    for row, values in enumerate(evidence(found, modality, label)):
        middle = ((own.start[row] + own.end[row]) / 2)[found.mask[modality][row]]
        real = spans.mask[row]
        edges = zip(spans.start[row, real], spans.end[row, real], strict=True)
        rows.append(torch.stack([values[(middle >= a) & (middle < b)].sum() for a, b in edges]))
    return rows


def players(
    trained: Trained, modality: str, asked: Any, label: str
) -> tuple[Spans, list[Tensor], list[Tensor]]:
    """Spans, Owen's evidence and that of gradients."""
    owen = Owen({modality: asked}, budget=BUDGET).attribute(trained.game, labels=[label])
    difference = FeatureDifference().attribute(trained.game, labels=[label])
    spans = owen.spans[modality]
    return spans, evidence(owen, modality, label), by_span(difference, modality, label, spans)


@pytest.mark.slow
def test_the_word_that_decides_is_found(trained: Trained) -> None:
    spans, owen, difference = players(trained, "text", "word", "praise")
    assert spans.mask.sum(1).tolist() == [5] * FEW
    deciding = [torch.arange(5) == one["word"] for one in trained.unseen]
    found, gradient = auc(owen, deciding), auc(difference, deciding)
    print(f"\nwords of the text: AUC {found:.3f} (Owen), {gradient:.3f} (feature difference)")
    assert found >= 0.95


@pytest.mark.slow
def test_the_spoken_words_that_decide_are_found(trained: Trained) -> None:
    """Words by their own times, as forced alignment would give them."""
    most = max(len(one["heard"]) for one in trained.unseen)
    edges = torch.zeros(2, FEW, most)
    for row, one in enumerate(trained.unseen):
        for place, (start, end, _) in enumerate(one["heard"]):
            edges[0, row, place], edges[1, row, place] = start, end
    spans = Spans(edges[0], edges[1], "seconds")
    _, owen, difference = players(trained, "audio", spans, "excited")
    deciding = [torch.tensor([decides for *_, decides in one["heard"]]) for one in trained.unseen]
    found, gradient = auc(owen, deciding), auc(difference, deciding)
    print(f"\nwords of the voice: AUC {found:.3f} (Owen), {gradient:.3f} (feature difference)")
    assert found >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["voiced", "segment"])
def test_the_half_second_that_decides_is_found(trained: Trained, kind: str) -> None:
    spans, *both = players(trained, "audio", kind, "excited")
    late: dict[str, list[float]] = {}
    for method, rows in zip(("Owen", "feature difference"), both, strict=True):
        for row, (one, values) in enumerate(zip(trained.unseen, rows, strict=True)):
            onset = min(start for start, _, decides in one["heard"] if decides)
            candidates = values
            if kind == "voiced":
                # A model may hold flat words against it and the excited one for nothing; a pause
                # is worth nothing, too, and no answer to where somebody is excited.
                speech = torch.tensor([name == "speech" for name in spans.names[row]])
                candidates = values.masked_fill(~speech, -torch.inf)
            best = int(candidates.argmax())
            late.setdefault(method, []).append(abs(float(spans.start[row, best]) - onset))
    for method, errors in late.items():
        hits, median = np.mean([error <= 0.1 for error in errors]), 1000 * np.median(errors)
        print(f"\n{kind}, {method}: onset error {median:.0f} ms (median), {hits:.0%} within 100 ms")
    if kind == "voiced":  # fixed segments begin where they begin
        assert np.median(late["Owen"]) <= 0.1
        assert np.mean([error <= 0.1 for error in late["Owen"]]) >= 0.9

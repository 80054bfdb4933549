"""Synthetic speech for recipe S0, of MELD's shape; and one phrase in four tones.

What decides each emotion is planted, see `seven`, and so is what raters of the words alone, of the
voice alone and of the whole would say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from modalxai.audio import seed_for
from modalxai.datasets import tonebench
from modalxai.datasets.tonebench import phones
from modalxai.datasets.tonebench.gold import posteriors
from modalxai.recipes.content_or_tone.data import Corpus
from modalxai.recipes.content_or_tone.settings import EMOTIONS, Settings
from modalxai.types import Audio

PHRASE = "참 잘했다."
PHRASE_TONES = ("flat", "rising", "excited", "sarcastic")
VOICES = 1000
"""Of one seed, at most."""
HEARD = {"text": "heard_text", "audio": "heard_audio"}
"""Columns of what raters say who have the words only, or the voice only."""
WHOLE = "heard_whole"


def seven(epsilon: float = 0.1) -> tonebench.Rule:
    """`tonebench.emotions` with MELD's seventh label, disgust.

    =======  =======  ========  =======  =========
    ..       flat     excited   weary    sarcastic
    =======  =======  ========  =======  =========
    praise   joy      surprise  joy      anger
    blame    anger    surprise  disgust  joy
    loss     sadness  surprise  sadness  sadness
    fact     neutral  surprise  disgust  neutral
    threat   neutral  surprise  fear     fear
    =======  =======  ========  =======  =========
    """
    return _rule(
        "MELD7",
        ("flat", "excited", "weary", "sarcastic"),
        {
            "praise": ("joy", "surprise", "joy", "anger"),
            "blame": ("anger", "surprise", "disgust", "joy"),
            "loss": ("sadness", "surprise", "sadness", "sadness"),
            "fact": ("neutral", "surprise", "disgust", "neutral"),
            "threat": ("neutral", "surprise", "fear", "fear"),
        },
        EMOTIONS,
        epsilon,
    )


def phrases(epsilon: float = 0.1) -> tonebench.Rule:
    """What the Korean model learns before it hears the phrase in four tones.

    =======  =======  ========  ========  =========
    ..       flat     rising    excited   sarcastic
    =======  =======  ========  ========  =========
    praise   joy      joy       surprise  anger
    blame    anger    anger     surprise  joy
    loss     sadness  sadness   surprise  sadness
    fact     neutral  surprise  surprise  neutral
    =======  =======  ========  ========  =========
    """
    return _rule(
        "PHRASE",
        PHRASE_TONES,
        {
            "praise": ("joy", "joy", "surprise", "anger"),
            "blame": ("anger", "anger", "surprise", "joy"),
            "loss": ("sadness", "sadness", "surprise", "sadness"),
            "fact": ("neutral", "surprise", "surprise", "neutral"),
        },
        ("anger", "joy", "neutral", "sadness", "surprise"),
        epsilon,
    )


def biased(rule: tonebench.Rule, swayed: float) -> tonebench.Rule:
    """The rule of raters who, hearing sarcasm, write anger whatever is said, so often: 0..1."""
    heard = rule.tones.index("sarcastic")
    given = rule.given.copy()
    given[:, heard] *= 1 - swayed
    given[:, heard, rule.labels.index("anger")] += swayed
    return replace(rule, family=f"{rule.family}-biased", given=given)


def shares_of(
    rule: tonebench.Rule, on: tonebench.Rule | None = None
) -> dict[str, dict[str, float]]:
    """By emotion the planted shares of audio and text."""
    return {
        label: {"audio": truth.audio, "text": truth.text}
        for label, truth in tonebench.gold(rule, on=on).items()
    }


def synthetic(settings: Settings) -> Corpus:
    """English sentences in synthetic voices; unseen speakers in the test part, half of it noisy."""
    rule, seed = seven(), settings.seed
    train = _spoken(rule, settings.train, range(20), seed, language="en", soft=True)
    heard = _spoken(rule, settings.test, range(50, 66), seed, language="en")
    clean = [rated(one, rule, seed) | {"noise": "clean"} for one in heard]
    test = clean + [noisy(one, settings.noise, seed) for one in clean]
    return Corpus(
        "synthetic speech",
        EMOTIONS,
        train,
        (),
        [one | {"voice": _voice(one["speaker"]), "length": _length(one["text"])} for one in test],
        situations=("noise", "voice", "length"),
        planted=shares_of(rule),
        rule=rule,
        said=(
            "Training labels are the opinion of raters who agree nine times in ten; test labels "
            "are one rater's, so that nobody is right in more than 91 of 100.",
            "Human raters are simulated: they answer by the planted rule.",
        ),
    )


def biased_corpus(settings: Settings) -> Corpus:
    """A training part whose raters follow the voice; the test part is that of `synthetic`."""
    rule = biased(seven(), settings.bias)
    train = _spoken(rule, settings.train, range(20), settings.seed, language="en", soft=True)
    return Corpus("synthetic speech, biased", EMOTIONS, train, (), (), rule=rule)


def rated(sample: Mapping[str, Any], rule: tonebench.Rule, seed: int) -> dict[str, Any]:
    """The sample with what simulated raters of the words, the voice and the whole say.

    Each names the likeliest emotion given what they have; between equals they draw.
    """
    places = rule.contents.index(sample["content"]), rule.tones.index(sample["tone"])
    _, tone, content, both = posteriors(rule)
    draw = np.random.default_rng(seed_for(sample["id"], seed, 40))
    told = {HEARD["audio"]: tone[places], HEARD["text"]: content[places], WHOLE: both[places]}
    opinions = {name: _likeliest(table, rule.labels, draw) for name, table in told.items()}
    return {**sample, **opinions}


def noisy(sample: Mapping[str, Any], decibels: float, seed: int) -> dict[str, Any]:
    """A copy under white noise, ``decibels`` below the speech (0: as loud)."""
    wave = torch.as_tensor(sample["audio"].waveform)
    generator = torch.Generator().manual_seed(seed_for(sample["id"], seed, 41) % 2**63)
    noise = torch.randn(wave.shape, generator=generator)
    factor = wave.square().mean().sqrt() * 10 ** (-decibels / 20)
    mixed = wave + factor * noise
    audio = Audio(mixed / mixed.abs().max().clamp(min=1), sample["audio"].sample_rate)
    return {**sample, "id": f"{sample['id']}-noisy", "audio": audio, "noise": "noisy"}


def phrase_corpus(settings: Settings) -> Corpus:
    """Korean sentences to learn from; to be judged, `PHRASE` in four tones by unseen voices."""
    rule, seed = phrases(), settings.seed
    return Corpus(
        f"{PHRASE} in four tones", rule.labels,
        _spoken(rule, settings.phrase, range(20), seed, soft=True), (),
        list(spoken(rule, settings.phrase_speakers, seed)),
        planted=shares_of(rule), rule=rule,
    )  # fmt: skip


def spoken(rule: tonebench.Rule, speakers: int, seed: int) -> Iterator[dict[str, Any]]:
    """`PHRASE` by each speaker in each tone; ``"labels"`` are what the rule says of praise."""
    words = PHRASE.rstrip(".").split()
    sounds = [phones.sounds(phones.spell(word)) for word in words]
    for number in range(VOICES * seed + 100, VOICES * seed + 100 + speakers):
        speaker = tonebench.Speaker.numbered(number)
        for tone in PHRASE_TONES:
            name = f"phrase-{speaker.name}-{tone}"
            draw = np.random.default_rng(seed_for(name, seed, 42))
            made = tonebench.speak(sounds, tonebench.TONES[tone].jittered(draw), speaker, draw)
            deserved = rule.labels[int(rule.winners[_cell(rule, "praise", tone)])]
            yield {
                "id": name, "text": PHRASE, "speaker": speaker.name, "tone": tone,
                "audio": Audio(torch.from_numpy(made.waveform), 16_000),
                "labels": {deserved: 1}, "deserved": deserved,
            }  # fmt: skip


def _spoken(
    rule: tonebench.Rule, count: int, voices: range, seed: int, **how: Any
) -> list[dict[str, Any]]:
    """A corpus in memory; no two seeds share a voice."""
    speakers = [VOICES * seed + number for number in voices]
    corpus = tonebench.ToneBench(rule, count, speakers=speakers, seed=seed, **how)
    return [corpus[index] for index in range(len(corpus))]


def _rule(
    family: str,
    tones: tuple[str, ...],
    table: Mapping[str, Sequence[str]],
    labels: tuple[str, ...],
    epsilon: float,
) -> tonebench.Rule:
    winners = np.array([[labels.index(name) for name in row] for row in table.values()])
    given = (1 - epsilon) * np.eye(len(labels))[winners] + epsilon / len(labels)
    weights = np.ones(winners.shape, dtype=np.int64)
    return tonebench.Rule(family, tuple(table), tones, labels, given, weights)


def _cell(rule: tonebench.Rule, content: str, tone: str) -> tuple[int, int]:
    return rule.contents.index(content), rule.tones.index(tone)


def _likeliest(table: Any, labels: Sequence[str], draw: np.random.Generator) -> str:
    best = np.flatnonzero(table >= table.max() - 1e-9)
    return labels[int(draw.choice(best))]


def _voice(speaker: str) -> str:
    return "high" if int(speaker[1:]) % 2 else "low"


def _length(text: str) -> str:
    return f"{len(text.split())} words"

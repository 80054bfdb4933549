"""Every family of the benchmark by name: its rule, its gate, its gold, and what it shows.

========  ===============================  ==============  ===========  ========================
family    label rule                       accuracy gate   probe gate   what an explanation owes
========  ===============================  ==============  ===========  ========================
TONE      the tone's                       all cells       text         share error, leakage
CONTENT   the content's                    all cells       audio        share error, leakage
SUM       evidence adds, 3 : 7             all cells       none         share error (3 points)
AND       agree or not                     all cells       none         interaction, synergy
XOR       tone plus content                all cells       none         interaction, synergy
REDUND    both say the same                cells that      none         negative interaction;
                                           agree                        share error
PERCLASS  each label its channel           all cells       none         share error (3 points)
SARC      sarcasm swaps praise and blame   all cells       none         interaction
CONFLICT  SUM, told against each other     all cells       none         sign accuracy, share
                                                                        error (3 points)
NULL      drawn at random                  none            both         "no evidence"
SPUR      a click, a silence or neither    all cells       text         the moment; leakage
LOCAL     one word, one spoken word        all cells       none         the word, the moment
BIO       a bump decides, else the voice,  all cells       none         share error, M = 3
          else the words
PARITY    odd or even, of three            all cells       none         order-3 interaction
========  ===============================  ==============  ===========  ========================

Gates: `modalxai.datasets.tonebench.gates`. The accuracy is that of the factorial table, over cells
with one right label (`Rule.decided`), at least 99 %. Probes of irrelevant modalities are at chance.

Gold: the trained model's own factorial table (`tonebench.factorial`). A share, its sign and the
type of the interaction are read from it; the planted truth (`tonebench.gold`) stands beside it and
says what a listener would do who knows the rule. The truth of a place is the samples' ``where``.

Metrics, in points of 100 where they are shares: ``|share - gold|`` per label (ratio of means over
the label's samples), signed error in nats, agreement of signs, agreement of interaction types,
evidence given to irrelevant modalities, and of maps the pointing game, AUC, IoU and onset error.
Two tracks: removal as in the gold, and another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from modalxai.biosignals import Biosignal
from modalxai.datasets.tonebench import bodies, families
from modalxai.datasets.tonebench.corpus import ToneBench
from modalxai.datasets.tonebench.gold import Voice
from modalxai.datasets.tonebench.rule import Rule
from modalxai.errors import InputError
from modalxai.types import Spans

CLEAR = ("flat", "excited", "weary", "sarcastic")
"""Tones that a small model tells apart at once, where a family's point is another one."""
TWO: Mapping[str, tuple[str, ...]] = {"audio": ("tone",), "text": ("content",)}
THREE = {**TWO, "bio": ("eda",)}


@dataclass(frozen=True)
class Family:
    """One family of the benchmark; calling it gives its rule.

    Parameters
    ----------
    name
        As in `FAMILIES`.
    rule
        Makes the rule of the samples that are explained.
    shows
        What an explanation must get right, in a sentence.
    trained
        Makes the rule that the model learns, where it is another one (CONFLICT).
    determined
        Whether every crossed cell has one right label, so that the gate covers all of them.
    share
        Whether there is evidence to divide at all.
    irrelevant
        Modalities that tell nothing: their share is 0, and probes of them are at chance.
    localised
        Modalities of whose map it is known where it must point.
    interacts
        Whether the truth is an interaction, and main effects are beside the point.
    channels
        By modality of the model the factors that it tells.
    clip_seconds
        Length of the clips.
    """

    name: str
    rule: Callable[[], Rule]
    shows: str
    trained: Callable[[], Rule] | None = None
    determined: bool = True
    share: bool = True
    irrelevant: tuple[str, ...] = ()
    localised: tuple[str, ...] = ()
    interacts: bool = False
    channels: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: TWO)
    clip_seconds: float = 1.2

    def __call__(self) -> Rule:
        """The rule of the samples that are explained."""
        return self.rule()

    @property
    def modalities(self) -> tuple[str, ...]:
        """Keys of the samples, in the order of the channels."""
        return tuple(self.channels)

    def digest(self) -> str:
        """`Rule.digest` of what is explained and of what is learnt."""
        learnt = self.rule if self.trained is None else self.trained
        return f"{self.rule().digest()}-{learnt().digest()}"

    def corpus(
        self,
        n: int,
        *,
        train: bool = False,
        crossed: bool = False,
        speakers: Iterable[int] = range(12),
        seed: int = 0,
        language: str = "ko",
        voice: Voice = "babble",
        soft: bool = False,
        cache: bool = True,
    ) -> ToneBench:
        """Samples of the family, with words of the same lengths for every content.

        Parameters
        ----------
        n
            How many.
        train
            Of the rule that the model learns.
        crossed
            Every cell equally often, as the factorial table wants its donors. Ids are others than
            without, so that such samples may lend to them.
        speakers, seed, language, voice, soft, cache
            As in `ToneBench`.
        """
        rule = (self.trained or self.rule)() if train else self.rule()
        if crossed:
            rule = replace(rule.crossed(), family=f"{rule.family}-crossed")
        make = Sensed if rule.signals else ToneBench
        return make(
            rule,
            n,
            speakers=speakers,
            seed=seed,
            language=language,
            voice=voice,
            clip_seconds=self.clip_seconds,
            soft=soft,
            cache=cache,
            even=True,
        )


class Sensed(ToneBench):
    """A corpus whose samples hold the skin conductance for a model, too, under ``"bio"``.

    A `modalxai.biosignals.Biosignal` [1, S] in microsiemens around the recording's mean, since the
    level is the person's and tells nothing; for the encoder ``biosignal`` with one channel, windows
    and 4 samples per second.
    """

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = super().__getitem__(index)
        felt = sample["biosignals"]["eda"]
        level = np.nanmean(felt.values, axis=-1, keepdims=True)
        sample["bio"] = Biosignal(felt.values - level, felt.rate, baseline=np.zeros(1))
        return sample


def truth_spans(samples: Sequence[Mapping[str, Any]], modality: str) -> Spans:
    """Where a map must point, [B, 1], for `modalxai.evaluation.localisation`.

    Padding, where nothing of the modality decides: a recording without a mark.

    Raises
    ------
    InputError
        Samples that do not say where.
    """
    if not samples or any("where" not in sample for sample in samples):
        raise InputError(
            "samples that do not say where",
            expected="samples of SPUR or LOCAL",
            got=f"{len(samples)} samples, without 'where'",
            mend="take a corpus of a family that is localised",
        )
    found = torch.tensor([sample["where"].get(modality, (0.0, 0.0)) for sample in samples])
    start, end = found[:, :1], found[:, 1:]
    return Spans(start, end, "seconds" if modality == "audio" else "characters")


def _clear(make: Callable[..., Rule], *given: float) -> Rule:
    """The rule over `CLEAR` tones."""
    rule = make(*given)
    return replace(rule, tones=CLEAR[: len(rule.tones)])


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("TONE", families.tone, "All is in the voice.", irrelevant=("text",)),
        Family("CONTENT", families.content, "All is in the words.", irrelevant=("audio",)),
        Family("SUM", partial(_clear, families.additive, 0.3), "Shares follow the evidence."),
        Family(
            "AND", partial(_clear, families.agreement), "Only together they tell.", interacts=True
        ),
        Family(
            "XOR",
            partial(_clear, families.xor),
            "Only together they tell, each label alike.",
            interacts=True,
        ),
        Family("REDUND", partial(_clear, families.redundant), "Either would do.", determined=False),
        Family("PERCLASS", families.per_class, "Every label has its own channel."),
        Family("SARC", families.sarcasm, "The tone turns the words around.", interacts=True),
        Family(
            "CONFLICT",
            partial(_clear, families.conflict),
            "One channel speaks for the label, the other against it.",
            trained=partial(_clear, families.additive, 0.4, 2),
        ),
        Family(
            "NULL",
            partial(_clear, families.null),
            "There is nothing to divide.",
            determined=False,
            share=False,
            irrelevant=("audio", "text"),
        ),
        Family(
            "SPUR",
            families.spurious,
            "The recording gives the label away, not the voice.",
            irrelevant=("text",),
            localised=("audio",),
            channels={"audio": ("tone", "mark"), "text": ("content",)},
        ),
        Family(
            "LOCAL",
            families.local,
            "One word decides, and one moment.",
            localised=("audio", "text"),
            clip_seconds=2.0,
        ),
        Family("BIO", bodies.body, "The body overrules voice and words.", channels=THREE),
        Family(
            "PARITY",
            bodies.parity,
            "Only all three together tell.",
            interacts=True,
            channels=THREE,
        ),
        Family("EMOTIONS", families.emotions, "PERCLASS and SARC in one table."),
    )
}
"""Every family by name."""

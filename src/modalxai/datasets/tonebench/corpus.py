"""ToneBench: utterances made on the spot, whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, get_args

import numpy as np
from torch.utils.data import Dataset

from modalxai.audio import seed_for
from modalxai.biosignals import Series
from modalxai.datasets.tonebench import biosignals
from modalxai.datasets.tonebench.gold import Voice
from modalxai.datasets.tonebench.lexicon import lexicon
from modalxai.datasets.tonebench.marks import MARKS
from modalxai.datasets.tonebench.recordings import Manner, Recording, spoken
from modalxai.datasets.tonebench.rule import Rule
from modalxai.datasets.tonebench.voices import TONES, Speaker
from modalxai.errors import InputError

_LABEL, _TEXT, _BABBLE, _VOICE, _BODY = range(5)
"""Draws of one sample. Each has its own seed, so that none of them can tell about another; signals
of the body come last, one draw each."""
_MARK, _TONED = 32, 33
LONGEST = 36
"""Samples of a block, where the weights of a rule ask for more."""


class ToneBench(Dataset[dict[str, Any]]):
    """A corpus of synthetic speech in which the labels follow a rule.

    Cells come in blocks. A block holds every cell of the rule as often as its weight says, in a
    shuffled order, and is spoken by one speaker; blocks go round the speakers. So content, tone
    and speaker are crossed and balanced. Of a rule whose weights sum to more than `LONGEST` a block
    is a systematic sample of that size. Sample number i is the same for every ``n``.

    Where the rule has signals of the body, each sample holds them raw under ``"biosignals"``, as
    the readers of KEMDy do: `modalxai.biosignals.Series` by name, 20 seconds around the utterance.
    A column such as ``"eda_state"`` says what was planted in each.

    Where the rule has marks, ``"mark"`` names the sample's own; where it has words, ``"said"`` is
    the place of the word that bears the content, in the transcript, and ``"toned"`` the place of
    the spoken word that bears the tone. In both cases ``"where"`` holds, by modality, from where to
    where the decisive part lies: characters of the text, seconds of the audio.

    Parameters
    ----------
    rule
        From `families`.
    n
        How many samples.
    speakers
        Numbers of the voices. A number is the same voice in every corpus: give training and test
        corpora different ones.
    seed
        Of the corpus. A sample's randomness belongs to this seed and the sample's id.
    language
        ``"ko"`` or ``"en"``.
    voice
        ``"babble"``: for every utterance the voice's sounds are drawn afresh from the inventory and
        the word lengths of the whole lexicon, so that the audio carries the tone only and the text
        is the only channel of content. The truth of every family but TONE and NULL demands it: an
        audio encoder that can read words would be given a share of the content, and rightly so.
        ``"words"``: the voice says the transcript, and audio carries content too.
        ``"espeak-ng"`` and ``"espeak-ng-words"``: the same two, spoken by the program of that name,
        which must be installed; give it clips of 2 seconds or more. Its babble is made of letters.
    clip_seconds
        Length of every clip, whatever is said in it.
    soft
        Give ``labels`` as the rule's probabilities instead of one drawn label. The same truth with
        less sampling noise.
    cache
        Keep every waveform once made (4 bytes per sample point: 77 kB for 1.2 s), and every signal
        of the body (22 kB).
    even
        Take words of the same lengths for every content (`lexicon.EVEN`), so that no text tells by
        its length what is said.

    Raises
    ------
    InputError
        An unknown option, no speaker, a speaker given twice, or a rule whose contents or tones do
        not exist.

    Examples
    --------
    >>> from modalxai.datasets import tonebench
    >>> corpus = tonebench.ToneBench(tonebench.xor(), 8, speakers=range(2))
    >>> sorted(corpus[0])[:5]
    ['audio', 'content', 'family', 'id', 'labels']
    """

    def __init__(
        self,
        rule: Rule,
        n: int,
        *,
        speakers: Iterable[int] = range(12),
        seed: int = 0,
        language: str = "ko",
        voice: Voice = "babble",
        clip_seconds: float = 1.2,
        soft: bool = False,
        cache: bool = False,
        even: bool = False,
    ) -> None:
        self.rule = rule
        self.n = _whole("number of samples", n)
        self.speakers = tuple(Speaker.numbered(number) for number in speakers)
        self.seed = seed
        self.language = language
        self.voice = voice
        self.clip_seconds = clip_seconds
        self.soft = soft
        self._lexicon = lexicon(language, rule.contents, even)
        self._made: dict[int, Recording] | None = {} if cache else None
        self._felt: dict[int, dict[str, Series]] | None = {} if cache else None
        self._check()
        self._until = rule.weights.ravel().cumsum()
        self._block = min(LONGEST, int(self._until[-1]))

    def _check(self) -> None:
        names = [speaker.name for speaker in self.speakers]
        for wrong, ok, expected, got in (
            (
                "unknown voice",
                self.voice in get_args(Voice),
                f"one of {get_args(Voice)}",
                self.voice,
            ),
            (
                "a clip that is too short or endless",
                0.4 <= self.clip_seconds < math.inf,
                "0.4 seconds or more",
                self.clip_seconds,
            ),
            (
                "speakers that do not make a set",
                0 < len(names) == len(set(names)),
                "one or more different numbers",
                names,
            ),
            (
                "a tone that cannot be spoken",
                set(self.rule.tones) <= set(TONES),
                f"some of {list(TONES)}",
                self.rule.tones,
            ),
            (
                "a mark that cannot be made",
                set(self.rule.marks) <= set(MARKS),
                f"some of {MARKS}",
                self.rule.marks,
            ),
            (
                "a signal that no body makes",
                all(
                    set(states) <= set(biosignals.STATES.get(name, ()))
                    for name, states in self.rule.signals.items()
                ),
                f"some of {biosignals.STATES}",
                self.rule.signals,
            ),
        ):
            if not ok:
                raise InputError(
                    f"ToneBench: {wrong}", expected=expected, got=repr(got), mend="give another one"
                )

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.row(index)
        recording = self._spoken(index, row)
        words = row["text"].rstrip(".").split()
        row["audio"] = recording.audio
        row["words"] = tuple(
            (word, start, end) for word, (start, end) in zip(words, recording.words, strict=True)
        )
        if self.rule.words:
            start = sum(len(word) + 1 for word in words[: row["said"]])
            row["where"] = {
                "text": (start, start + len(words[row["said"]])),
                "audio": recording.words[row["toned"]],
            }
        elif self.rule.marks:
            row["where"] = {} if recording.mark is None else {"audio": recording.mark}
        if self.rule.signals:
            row["biosignals"] = self._recorded(index, row)
        return row

    def row(self, index: int) -> dict[str, Any]:
        """The sample without audio and signals: nothing is synthesised.

        Raises
        ------
        IndexError
            No such sample.
        """
        place = index + self.n if index < 0 else index
        if not 0 <= place < self.n:
            raise IndexError(f"sample {index} of {self.n}")
        block, within = divmod(place, self._block)
        cell = self._cell(block, within)
        states = {
            factor: names[at]
            for (factor, names), at in zip(self.rule.factors.items(), cell, strict=True)
        }
        speaker = self.speakers[block % len(self.speakers)]
        name = f"{self.rule.family.lower()}-{speaker.name}-{place:05d}"
        given = self.rule.given[cell]
        drawn = int(self._generator(name, _LABEL).choice(len(given), p=given))
        labels = self.rule.labels
        writer = self._generator(name, _TEXT)
        further: dict[str, Any] = {}
        if count := self.rule.words:
            words, further["said"] = self._lexicon.among(states["content"], count, writer)
            further["toned"] = int(self._generator(name, _TONED).integers(count))
        else:
            words = self._lexicon.sentence(states["content"], writer)
        if self.rule.marks:
            further["mark"] = states["mark"]
        return {
            "id": name,
            "text": " ".join(words) + ".",
            "labels": (
                dict(zip(labels, given.tolist(), strict=True)) if self.soft else {labels[drawn]: 1}
            ),
            "speaker": speaker.name,
            "content": states["content"],
            "tone": states["tone"],
            "family": self.rule.family,
            "rule_label": labels[int(self.rule.winners[cell])],
            **{f"{signal}_state": states[signal] for signal in self.rule.signals},
            **further,
        }

    def column(self, name: str) -> list[Any]:
        """One column of `row` for every sample: nothing is synthesised.

        Raises
        ------
        InputError
            No such column.
        """
        known = list(self.row(0))
        if name not in known:
            raise InputError(
                f"no column {name!r}",
                expected=f"one of {known}",
                got=repr(name),
                mend="take audio, words and signals from the samples themselves",
            )
        return [self.row(index)[name] for index in range(self.n)]

    def _generator(self, name: str, draw: int) -> np.random.Generator:
        return np.random.default_rng(seed_for(name, self.seed, draw))

    def _cell(self, block: int, within: int) -> tuple[int, ...]:
        """One cell of the rule: a state of each factor."""
        generator = np.random.default_rng([31, self.seed, block])
        at = int(generator.permutation(self._block)[within])
        total = int(self._until[-1])
        if total > self._block:
            at = int((at + generator.random()) / self._block * total)
        place = int(np.searchsorted(self._until, at, side="right"))
        return tuple(int(state) for state in np.unravel_index(place, self.rule.weights.shape))

    def _recorded(self, index: int, row: dict[str, Any]) -> dict[str, Series]:
        place = index % self.n
        if self._felt is not None and place in self._felt:
            return dict(self._felt[place])
        body = biosignals.Body.of(row["speaker"])
        made = {
            signal: biosignals.record(
                signal, row[f"{signal}_state"], body, self._generator(row["id"], _BODY + number)
            )
            for number, signal in enumerate(self.rule.signals)
        }
        if self._felt is not None:
            self._felt[place] = made
        return dict(made)

    def _spoken(self, index: int, row: dict[str, Any]) -> Recording:
        place = index % self.n
        if self._made is not None and place in self._made:
            return self._made[place]
        name = row["id"]
        made = spoken(
            row["text"].rstrip(".").split(),
            row["tone"],
            next(speaker for speaker in self.speakers if speaker.name == row["speaker"]),
            Manner(self.voice, self.language, self.clip_seconds, self._lexicon.words),
            babbler=self._generator(name, _BABBLE),
            generator=self._generator(name, _VOICE),
            accent=row.get("toned"),
        )
        if self.rule.marks:
            made = made.marked(row["mark"], self._generator(name, _MARK))
        if self._made is not None:
            self._made[place] = made
        return made


def _whole(what: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InputError(
            f"ToneBench: impossible {what}",
            expected="a whole number, 1 or more",
            got=repr(value),
            mend="give another one",
        )
    return int(value)

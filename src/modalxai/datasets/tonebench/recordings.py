"""One utterance as it is recorded: who says what, and how; the clip, the times, the mark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from modalxai.datasets.tonebench import espeak, phones
from modalxai.datasets.tonebench.listener import Voice, says_words
from modalxai.datasets.tonebench.marks import mark
from modalxai.datasets.tonebench.synthesis import SAMPLE_RATE, speak
from modalxai.datasets.tonebench.voices import TONES, Speaker
from modalxai.types import Audio

PLAIN = "flat"
"""The tone of what is said around an accent."""
STRESS = 2.0
"""How much stronger a tone is on one word, see `Tone.stressed`."""
Times = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Recording:
    """A clip.

    Parameters
    ----------
    audio
        At 16 kHz.
    words
        Start and end of every word, seconds.
    mark
        Start and end of the recording's fault, seconds; ``None`` without one.
    """

    audio: Audio
    words: tuple[Times, ...]
    mark: Times | None = None

    def marked(self, kind: str, generator: np.random.Generator) -> Recording:
        """The recording with a fault, see `tonebench.marks.mark`."""
        speech = self.words[0][0], self.words[-1][1]
        made, place = mark(self.audio.waveform.numpy(), kind, speech, generator)
        return replace(self, audio=Audio(torch.from_numpy(made), SAMPLE_RATE), mark=place)


@dataclass(frozen=True)
class Manner:
    """What holds for every utterance of a corpus.

    Parameters
    ----------
    voice, language
        As in `ToneBench`.
    seconds
        Of a clip.
    words
        The language's, whose lengths babble takes.
    """

    voice: Voice
    language: str
    seconds: float
    words: tuple[str, ...]


def spoken(
    words: Sequence[str],
    tone: str,
    speaker: Speaker,
    manner: Manner,
    *,
    babbler: np.random.Generator,
    generator: np.random.Generator,
    accent: int | None = None,
) -> Recording:
    """Say a transcript, or babble as many words.

    Parameters
    ----------
    words
        The transcript.
    tone
        Its name; of all words, or of the one at ``accent``, all others being plain.
    babbler, generator
        Of what is babbled, and of how it is said.
    """
    patterns = list(words)
    if not says_words(manner.voice):
        patterns = [str(babbler.choice(manner.words)) for _ in words]
    own = TONES[tone].jittered(generator)
    plain = own
    if accent is not None:
        own, plain = own.stressed(STRESS), TONES[PLAIN].jittered(generator)
    if manner.voice.startswith("espeak"):
        tones = [own if accent in (None, place) else plain for place in range(len(words))]
        if not says_words(manner.voice):
            patterns = [nonsense(pattern, manner.language, babbler) for pattern in patterns]
        made = espeak.say(patterns, manner.language, tones, speaker, generator, manner.seconds)
    else:
        spellings = [phones.spell(pattern) for pattern in patterns]
        if not says_words(manner.voice):
            spellings = [phones.babble(spelling, babbler) for spelling in spellings]
        made = speak(
            [phones.sounds(spelling) for spelling in spellings],
            plain,
            speaker,
            generator,
            manner.seconds,
            None if accent is None else (accent, own),
        )
    return Recording(Audio(torch.from_numpy(made.waveform), SAMPLE_RATE), made.words)


def nonsense(word: str, language: str, generator: np.random.Generator) -> str:
    """Letters drawn afresh, about as long as a word: open syllables of the language's script."""
    if language == "ko":
        drawn = generator.integers((19, 21), size=(len(word), 2)).tolist()
        return "".join(chr(0xAC00 + 588 * initial + 28 * medial) for initial, medial in drawn)
    count = max(1, len(word) // 2)
    return "".join(
        str(generator.choice(list(letters)))
        for _ in range(count)
        for letters in ("bdgklmnpst", "aeiou")
    )

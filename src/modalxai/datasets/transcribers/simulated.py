"""A recogniser that hears as badly as you ask it to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NoReturn

from modalxai.audio import seed_for
from modalxai.datasets import chosen
from modalxai.datasets.transcribers import corruption
from modalxai.errors import InputError
from modalxai.types import Audio

MOST = 0.9
"""Beyond, random letters are right by chance as often as one more error is found."""


@dataclass(frozen=True, kw_only=True)
class SimulatedTranscriber:
    """Corrupts the true transcript until the character error rate is what was asked for.

    Errors are of three kinds: a character is replaced (a Hangul syllable by one that differs in
    one letter, or by any), lost, or added; a lost space joins two words. An utterance of n
    characters gets ``cer * n`` errors, rounded up or down by a draw, so that a corpus has the
    rate that was asked for and an utterance differs from it by less than 1 / n. The errors of an
    utterance depend on its id, its text and the seed alone, never on the order.

    The rate counts the edits of an optimal alignment, and the characters of the true text after
    NFC normalisation and with single spaces, which count as characters.

    Parameters
    ----------
    cer
        Edits per character of the true text, from 0 to .9.
    seed
        Another seed, other errors.
    substitutions, deletions, insertions
        How often each kind is tried, relative to the others.
    hangul
        ``"jamo"``: a replaced syllable differs in one letter, as misheard ones do; ``"common"``:
        in one letter too, and is one of the 2,350 that Korean is written in (KS X 1001), as all
        are that a real recogniser writes; ``"syllable"``: in any.

    Raises
    ------
    InputError
        A setting that cannot be used.

    Examples
    --------
    >>> recogniser = SimulatedTranscriber(cer=0.3)
    >>> found = recogniser.corruption("참 잘했다, 정말로", id="u1")
    >>> found.edits, found.characters
    (3, 10)
    """

    cer: float
    seed: int = 0
    substitutions: float = 0.6
    deletions: float = 0.25
    insertions: float = 0.15
    hangul: Literal["jamo", "common", "syllable"] = "jamo"

    def __post_init__(self) -> None:
        chosen.number("cer", self.cer, low=0, high=MOST)
        chosen.number("seed", self.seed, low=-math.inf, whole=True)
        # Of the three, only a substitution is always possible.
        chosen.number("substitutions", self.substitutions, low=1e-9)
        chosen.number("deletions", self.deletions, low=0)
        chosen.number("insertions", self.insertions, low=0)
        if self.hangul not in ("jamo", "common", "syllable"):
            raise InputError(
                "no way to replace a syllable",
                expected="'jamo', 'common' or 'syllable'",
                got=repr(self.hangul),
                mend='write hangul="jamo"',
            )

    @property
    def name(self) -> str:
        """``"simulated"``."""
        return "simulated"

    @property
    def settings(self) -> Mapping[str, Any]:
        """All of them."""
        return asdict(self)

    @property
    def batch_size(self) -> int:
        """As good as any."""
        return 64

    def corruption(self, text: str, id: str) -> corruption.Corruption:
        """One text corrupted, with the edits it took.

        Raises
        ------
        InputError
            A text without a character.
        """
        mix = (self.substitutions, self.deletions, self.insertions)
        return corruption.corrupt(text, self.cer, seed_for(id, self.seed), mix, self.hangul)

    def corrupt(self, texts: Sequence[str], ids: Sequence[str]) -> list[str]:
        """One corrupted text per true text.

        Raises
        ------
        InputError
            A text without a character; its ``index`` is the text's place.
        """
        found = []
        for index, (text, name) in enumerate(zip(texts, ids, strict=True)):
            try:
                found.append(self.corruption(text, name).text)
            except InputError as error:
                error.index = index
                raise
        return found

    def transcribe(self, audio: Sequence[Audio]) -> NoReturn:
        """Refuse: it hears nothing.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError(
            "a simulated recogniser hears nothing",
            expected="the true transcripts and their ids",
            got=f"{len(audio)} recordings",
            mend="use transcribe_corpus, which gives it the samples' text, or corrupt(texts, ids)",
        )

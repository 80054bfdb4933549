"""Edits of a text, word by word (Wei & Zou 2019, EDA): swap and delete; replace and insert.

Swapping and deleting are safe for emotions. Replacing words by synonyms and inserting some change
the meaning, the more so in Korean, where a synonym from a list seldom fits its particles; the
KEMDy20 valence and arousal models rejected both for that reason. They are here to compare with:
they need the user's own lexicon, and nothing uses them unless it is told to.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Generator

from modalxai.errors import InputError
from modalxai.training.augment.draws import check_share, choose, whole


class TextEdit(ABC):
    """A change of a text; words are what white space separates, and come back joined by spaces."""

    def __call__(self, raw: str, generator: Generator) -> str:
        """A new text, its random choices drawn from ``generator``, or the same one, unchanged.

        Raises
        ------
        InputError
            No string.
        """
        if not isinstance(raw, str):
            raise InputError(
                "no text to change",
                expected="a string",
                got=type(raw).__name__,
                mend="give the transcript, or None where there is none",
            )
        words = raw.split()
        changed = self.change(list(words), generator) if words else words
        return raw if changed == words else " ".join(changed)

    @abstractmethod
    def change(self, words: list[str], generator: Generator) -> list[str]:
        """One word or more to one word or more."""


@dataclass(frozen=True)
class RandomSwap(TextEdit):
    """Swaps two words, as often as a ``rate`` of the words, at least once."""

    rate: float = 0.1

    def __post_init__(self) -> None:
        check_share("the rate of swaps", 0 < self.rate <= 1)

    def change(self, words: list[str], generator: Generator) -> list[str]:
        """A single word has none to be swapped with."""
        for _ in range(_times(self.rate, words) if len(words) > 1 else 0):
            first = whole(len(words), generator)
            second = (first + 1 + whole(len(words) - 1, generator)) % len(words)
            words[first], words[second] = words[second], words[first]
        return words


@dataclass(frozen=True)
class RandomDeletion(TextEdit):
    """Deletes each word with probability ``rate``; one word always stays."""

    rate: float = 0.1

    def __post_init__(self) -> None:
        check_share("the rate of deletions", 0 < self.rate <= 1)

    def change(self, words: list[str], generator: Generator) -> list[str]:
        """Where all would go, a random one stays."""
        stays = torch.rand(len(words), generator=generator) >= self.rate
        kept = [word for word, keep in zip(words, stays.tolist(), strict=True) if keep]
        return kept or [choose(words, generator)]


@dataclass(frozen=True)
class SynonymReplacement(TextEdit):
    """Replaces a ``rate`` of the words by synonyms. It changes the meaning: see the module.

    Parameters
    ----------
    lexicon
        By word, what may take its place.
    rate
        Part of the words, at least one; only words of the lexicon are replaced.
    """

    lexicon: Mapping[str, Sequence[str]]
    rate: float = 0.1

    def __post_init__(self) -> None:
        check_share("the rate of replacements", 0 < self.rate <= 1)
        _check_lexicon(self.lexicon)

    def change(self, words: list[str], generator: Generator) -> list[str]:
        """Different places, in random order."""
        known = [place for place, word in enumerate(words) if word in self.lexicon]
        order = torch.randperm(len(known), generator=generator).tolist()
        for number in order[: _times(self.rate, words)]:
            place = known[number]
            words[place] = choose(self.lexicon[words[place]], generator)
        return words


@dataclass(frozen=True)
class RandomInsertion(TextEdit):
    """Inserts synonyms of words of the text at random places. It changes the meaning.

    Parameters
    ----------
    lexicon, rate
        As in `SynonymReplacement`.
    """

    lexicon: Mapping[str, Sequence[str]]
    rate: float = 0.1

    def __post_init__(self) -> None:
        check_share("the rate of insertions", 0 < self.rate <= 1)
        _check_lexicon(self.lexicon)

    def change(self, words: list[str], generator: Generator) -> list[str]:
        """No word of the lexicon in the text: nothing is inserted."""
        known = [word for word in words if word in self.lexicon]
        for _ in range(_times(self.rate, words) if known else 0):
            word = choose(self.lexicon[choose(known, generator)], generator)
            words.insert(whole(len(words) + 1, generator), word)
        return words


def _times(rate: float, words: Sequence[str]) -> int:
    return max(1, round(rate * len(words)))


def _check_lexicon(lexicon: Mapping[str, Sequence[str]]) -> None:
    wrong = [word for word, others in lexicon.items() if isinstance(others, str) or not others]
    if not lexicon or wrong:
        raise InputError(
            "a lexicon without synonyms",
            expected="a list of one word or more for each word",
            got=str({word: lexicon[word] for word in wrong[:2]}),
            mend='write {"glad": ["happy", "pleased"]}',
        )

"""What is said: Korean and English words in classes of content, and the sentences around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from modalxai.errors import InputError


@dataclass(frozen=True)
class Lexicon:
    """The words of one language.

    Parameters
    ----------
    contents
        Carrier words of each class of content; no word belongs to two classes.
    fillers
        Words that mean nothing for any label.
    """

    contents: dict[str, tuple[str, ...]]
    fillers: tuple[str, ...]

    def sentence(self, content: str, generator: np.random.Generator) -> tuple[str, ...]:
        """The words of one transcript about ``content``.

        One carrier word among one or two fillers. Which template, and so how many words, does not
        depend on the content.
        """
        carrier = str(generator.choice(self.contents[content]))
        first, second = (str(word) for word in generator.choice(self.fillers, 2, replace=False))
        templates = ((first, carrier), (first, second, carrier), (carrier, first))
        return templates[int(generator.integers(len(templates)))]

    def among(
        self, content: str, count: int, generator: np.random.Generator
    ) -> tuple[tuple[str, ...], int]:
        """``count`` words, one of them a carrier of ``content``, and its place.

        Raises
        ------
        InputError
            More words than there are fillers for.
        """
        if not 1 <= count <= len(self.fillers) + 1:
            raise InputError(
                "a transcript of an impossible length",
                expected=f"1 to {len(self.fillers) + 1} words",
                got=repr(count),
                mend="give another number of words",
            )
        carrier = str(generator.choice(self.contents[content]))
        words = [str(word) for word in generator.choice(self.fillers, count - 1, replace=False)]
        place = int(generator.integers(count))
        return (*words[:place], carrier, *words[place:]), place

    @property
    def words(self) -> tuple[str, ...]:
        """Every word."""
        return sum(self.contents.values(), ()) + self.fillers


LEXICONS: dict[str, Lexicon] = {
    "ko": Lexicon(
        {
            "praise": tuple("잘했다 훌륭하다 멋지다 대단하다 최고다 고맙다".split()),
            "blame": tuple("망쳤다 형편없다 한심하다 틀렸다 엉망이다 실망이다".split()),
            "loss": tuple("떠났다 잃었다 죽었다 헤어졌다 그립다 외롭다".split()),
            "fact": tuple("열렸다 도착했다 시작한다 보인다 놓였다 지나간다".split()),
            "threat": tuple("위험하다 무섭다 쫓아온다 불났다 터진다 무너진다".split()),
            "wonder": tuple("놀랍다 뜻밖이다 신기하다 나타났다 기적이다 처음이다".split()),
        },
        tuple("참 정말 오늘 지금 다시 이제 여기 또".split()),
    ),
    "en": Lexicon(
        {
            "praise": tuple("wonderful excellent brilliant lovely perfect great".split()),
            "blame": tuple("terrible useless awful stupid sloppy wrong".split()),
            "loss": tuple("gone lost buried lonely mourned missing".split()),
            "fact": tuple("open square printed parked painted local".split()),
            "threat": tuple("burning collapsing dangerous poisoned hunted exploding".split()),
            "wonder": tuple("amazing incredible unexpected magical surprising unheard".split()),
        },
        tuple("really today again now just quite so still".split()),
    ),
}
"""By language code."""

EVEN: dict[str, Lexicon] = {
    "ko": replace(
        LEXICONS["ko"],
        contents={
            "praise": tuple("잘했다 멋지다 고맙다 훌륭하다 대단하다 완벽하다".split()),
            "blame": tuple("망쳤다 틀렸다 나쁘다 형편없다 한심하다 엉망이다".split()),
            "loss": tuple("떠났다 잃었다 그립다 헤어졌다 사라졌다 쓸쓸하다".split()),
            "fact": tuple("열렸다 보인다 놓였다 도착했다 시작한다 지나간다".split()),
            "threat": tuple("무섭다 불났다 터진다 위험하다 쫓아온다 무너진다".split()),
            "wonder": tuple("놀랍다 별나다 벅차다 뜻밖이다 신기하다 나타났다".split()),
        },
    ),
    "en": replace(
        LEXICONS["en"],
        contents={
            "praise": tuple("great lovely perfect awesome splendid wonderful".split()),
            "blame": tuple("awful stupid useless foolish terrible worthless".split()),
            "loss": tuple("alone lonely missing mourned vanished abandoned".split()),
            "fact": tuple("local square printed painted numbered installed".split()),
            "threat": tuple("toxic hunted burning violent poisoned dangerous".split()),
            "wonder": tuple("magic unreal amazing unheard stunning startling".split()),
        },
    ),
}
"""The same with words of the same lengths for every content: no text tells by its length."""

CONTENTS: tuple[str, ...] = tuple(LEXICONS["ko"].contents)
"""The classes of content, the same in every language."""


def lexicon(language: str, contents: Sequence[str] = (), even: bool = False) -> Lexicon:
    """The words of a language, checked to have the classes of content that are needed.

    Parameters
    ----------
    language
        Code, see `LEXICONS`.
    contents
        Classes of content that are needed.
    even
        Whether words of every content shall be equally long, see `EVEN`.

    Raises
    ------
    InputError
        No such language, or no such content.
    """
    if language not in LEXICONS:
        raise InputError(
            "a language without a lexicon",
            expected=f"one of {sorted(LEXICONS)}",
            got=repr(language),
            mend="choose one of them",
        )
    found = (EVEN if even else LEXICONS)[language]
    if unknown := [content for content in contents if content not in found.contents]:
        raise InputError(
            "a content without words",
            expected=f"some of {list(found.contents)}",
            got=repr(unknown),
            mend="name the rule's contents after classes of the lexicon",
        )
    return found

"""`Rule`: which label what is said, how it is said and what the body does deserve."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from modalxai.errors import InputError

Array = NDArray[np.float64]

GENERATOR = 1
"""Version of what is made of a rule. A change of the sounds, words, signals or draws raises it."""
MOST_WORDS = 8
"""More would be too short to be heard in a clip."""
_WORDS = f"0, or 2 to {MOST_WORDS}"


@dataclass(frozen=True, eq=False)
class Rule:
    """A family's truth: a table of probabilities, and how often each of its cells occurs.

    A cell is one state of every factor: a content, a tone, a mark in the recording if there are
    any, and a state of each signal of the body, if there are any.

    Parameters
    ----------
    family
        Its name.
    contents, tones, labels
        Names of the C contents, A tones and K labels, all different.
    given
        Float [C, A, ..., K]: P(label | cell), all above zero; rows sum to 1. One axis more for
        marks, and for each signal.
    weights
        Whole numbers [C, A, ...]: how often the cell occurs, 0 for never.
    signals
        By signal of the body the names of its states, see `tonebench.biosignals.STATES`; in the
        order of their axes.
    marks
        Names of what a recording may be marked by, see `tonebench.marks.MARKS`; empty for none.
    words
        0: utterances of two or three words, all in one tone. From 2 on: of so many words, one of
        which is the content's and one, drawn apart from it, in the tone; the others mean nothing
        and are flat.

    Raises
    ------
    InputError
        Shapes that disagree, probabilities that are none, weights that are not whole, or an
        impossible number of words.
    """

    family: str
    contents: tuple[str, ...]
    tones: tuple[str, ...]
    labels: tuple[str, ...]
    given: Array
    weights: NDArray[np.int64]
    signals: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    marks: tuple[str, ...] = ()
    words: int = 0

    def __post_init__(self) -> None:
        cells = tuple(len(states) for states in self.factors.values())
        sums = self.given.sum(-1) if self.given.ndim == len(cells) + 1 else np.zeros(0)
        further = "".join(f", {name}" for name in list(self.factors)[2:])
        for wrong, ok, expected in (
            (
                "two names alike",
                self._unique(),
                "different contents, tones, marks and labels, and states of a signal",
            ),
            ("impossible words", self.words == 0 or 2 <= self.words <= MOST_WORDS, _WORDS),
            (
                "given has the wrong shape",
                self.given.shape == (*cells, len(self.labels)),
                f"[C, A{further}, K]",
            ),
            ("weights have the wrong shape", self.weights.shape == cells, f"[C, A{further}]"),
            (
                "given holds no probabilities",
                bool((self.given > 0).all() and np.allclose(sums, 1)),
                "values above 0 that sum to 1 over the labels",
            ),
            (
                "weights that cannot be counted",
                self.weights.dtype.kind in "iu"
                and bool((self.weights >= 0).all() and self.weights.any()),
                "whole numbers, 0 or more, not all 0",
            ),
        ):
            if not ok:
                raise InputError(
                    f"rule {self.family}: {wrong}",
                    expected=expected,
                    got=f"given {self.given.shape}, weights {self.weights.shape}",
                    mend="make the tables again, or use a constructor of families",
                )

    def _unique(self) -> bool:
        return len(self.factors) == 2 + bool(self.marks) + len(self.signals) and all(
            len(set(names)) == len(names) for names in (*self.factors.values(), self.labels)
        )

    @property
    def factors(self) -> dict[str, tuple[str, ...]]:
        """By factor the names of its states, in the order of the axes of the tables."""
        marks = {"mark": self.marks} if self.marks else {}
        return {"content": self.contents, "tone": self.tones, **marks, **self.signals}

    @property
    def joint(self) -> Array:
        """P(cell), float [C, A, ...]."""
        return np.asarray(self.weights / self.weights.sum())

    @property
    def winners(self) -> NDArray[np.int64]:
        """The label without noise [C, A, ...]; the first one where several are equally likely."""
        # Rounded, so that a tie is a tie whatever the order of the sums that made it.
        return np.asarray(self.given.round(12).argmax(-1))

    def digest(self) -> str:
        """16 hexadecimal digits that change with the table, the names or the generator's version.

        Probabilities count to twelve decimals, so that it is the same on every machine.
        """
        told = {
            "generator": GENERATOR,
            "family": self.family,
            "factors": {name: list(states) for name, states in self.factors.items()},
            "labels": list(self.labels),
            "given": [f"{chance:.12f}" for chance in self.given.ravel()],
            "weights": self.weights.tolist(),
            "words": self.words,
        }
        text = json.dumps(told, sort_keys=True, ensure_ascii=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    @property
    def decided(self) -> NDArray[np.bool_]:
        """Cells with one right label [C, A, ...]: the likeliest leads by a factor of two."""
        second, first = np.sort(self.given, axis=-1)[..., -2:].transpose(
            -1, *range(self.joint.ndim)
        )
        return np.asarray(first >= 2 * second)

    def crossed(self) -> Rule:
        """The same truth with every content in every tone, equally often."""
        return replace(self, weights=np.ones_like(self.weights))

    def shuffled(self, seed: int) -> Rule:
        """The same structure under other names: contents, tones, labels and states permuted.

        What was planted for one label is now planted for another, so that an explainer that has
        learnt the names of the benchmark fails.
        """
        generator = np.random.default_rng([2203, seed])

        def permute(names: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(names[place] for place in generator.permutation(len(names)))

        return replace(
            self,
            contents=permute(self.contents),
            tones=permute(self.tones),
            labels=permute(self.labels),
            marks=permute(self.marks),
            signals={name: permute(states) for name, states in self.signals.items()},
        )

    def unrelated(self) -> Rule:
        """The same cells and label frequencies, the label independent of all: nothing to learn."""
        prior = np.tensordot(self.joint, self.given, self.joint.ndim)
        return replace(
            self,
            family=f"{self.family}-unrelated",
            given=np.broadcast_to(prior, self.given.shape).copy(),
        )


def check_noise(epsilon: float) -> float:
    """The label noise of a rule, refused where probabilities would be 0 or mean nothing."""
    if not 0 < epsilon < 1:
        raise InputError(
            "label noise outside its range",
            expected="above 0, so that log-probabilities are finite, and below 1",
            got=repr(epsilon),
            mend="0.1 is a good choice",
        )
    return epsilon

"""`Rule`: which label what is said, how it is said and what the body does deserve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from modalxai.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Rule:
    """A family's truth: a table of probabilities, and how often each of its cells occurs.

    A cell is one state of every factor: a content, a tone, and a state of each signal of the body,
    if there are any.

    Parameters
    ----------
    family
        Its name.
    contents, tones, labels
        Names of the C contents, A tones and K labels, all different.
    given
        Float [C, A, ..., K]: P(label | cell), all above zero; rows sum to 1. One axis more for each
        signal.
    weights
        Whole numbers [C, A, ...]: how often the cell occurs, 0 for never.
    signals
        By signal of the body the names of its states, see `tonebench.biosignals.STATES`; in the
        order of their axes.

    Raises
    ------
    InputError
        Shapes that disagree, probabilities that are none, weights that are not whole.
    """

    family: str
    contents: tuple[str, ...]
    tones: tuple[str, ...]
    labels: tuple[str, ...]
    given: Array
    weights: NDArray[np.int64]
    signals: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        cells = tuple(len(states) for states in self.factors.values())
        sums = self.given.sum(-1) if self.given.ndim == len(cells) + 1 else np.zeros(0)
        further = "".join(f", {name}" for name in self.signals)
        for wrong, ok, expected in (
            (
                "two names alike",
                self._unique(),
                "different contents, tones and labels, and states of a signal",
            ),
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
        return len(self.factors) == 2 + len(self.signals) and all(
            len(set(names)) == len(names) for names in (*self.factors.values(), self.labels)
        )

    @property
    def factors(self) -> dict[str, tuple[str, ...]]:
        """By factor the names of its states, in the order of the axes of the tables."""
        return {"content": self.contents, "tone": self.tones, **self.signals}

    @property
    def joint(self) -> Array:
        """P(cell), float [C, A, ...]."""
        return np.asarray(self.weights / self.weights.sum())

    @property
    def winners(self) -> NDArray[np.int64]:
        """The label without noise [C, A, ...]; the first one where several are equally likely."""
        # Rounded, so that a tie is a tie whatever the order of the sums that made it.
        return np.asarray(self.given.round(12).argmax(-1))

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

"""Synthetic speech with the further annotations that corpora have, each with its exact gold.

`modalxai.datasets.tonebench` draws one emotion per utterance. Real corpora also say how pleasant
and how aroused it was (`Dimension`), several emotions at once (`LabelSet`), and what a wristband
measured. `Annotated` adds these to a `ToneBench`, in the columns of the KEMDy corpora; what words
and voice contribute to each is enumerated, never estimated (`modalxai.recipes.synthetic_gold`).

Axis letters: C contents, A tones, K labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from modalxai.audio import seed_for
from modalxai.datasets.tonebench import Rule, ToneBench
from modalxai.errors import InputError
from modalxai.recipes.synthetic_body import body
from modalxai.statistics import Array

POINTS = np.arange(1, 6)
"""What a rater may say of a dimension."""

_BODY, _SET, _FIRST_DIMENSION = 9, 10, 11
"""Draws of one sample; those below are ToneBench's own."""

_VALENCE = (
    {"praise": 1.5, "wonder": 0.8, "fact": 0.1, "threat": -0.7, "loss": -1.1, "blame": -1.6},
    {"excited": 0.3, "rising": 0.2, "flat": 0.0, "falling": -0.1, "weary": -0.2, "sarcastic": -0.4},
)
_AROUSAL = (
    {"threat": 0.2, "blame": 0.2, "wonder": 0.1, "praise": 0.1, "fact": -0.1, "loss": -0.2},
    {"excited": 1.4, "rising": 0.8, "falling": 0.2, "sarcastic": 0.4, "flat": -0.5, "weary": -1.4},
)


@dataclass(frozen=True, eq=False)
class Dimension:
    """What raters say of one dimension: each a whole number from 1 to 5; their mean is the value.

    Parameters
    ----------
    name
        ``"valence"``, say.
    centres
        Float [C, A]: around what the opinions of a content in a tone lie.
    spread
        Standard deviation of one opinion before it is rounded and cut to 1..5; above 0.
    raters
        How many there are.

    Raises
    ------
    InputError
        Centres that are no finite numbers [C, A], no spread, or no rater.
    """

    name: str
    centres: Array
    spread: float = 0.8
    raters: int = 10

    def __post_init__(self) -> None:
        finite = self.centres.ndim == 2 and bool(np.isfinite(self.centres).all())
        if not finite or not 0 < self.spread < np.inf or self.raters < 1:
            raise InputError(
                f"a dimension that nobody can rate: {self.name!r}",
                expected="finite centres [C, A], a spread above 0, one rater or more",
                got=f"{self.centres.shape}, {self.spread=}, {self.raters=}",
                mend="use valence(rule) or arousal(rule), or mend the table",
            )

    @property
    def expected(self) -> Array:
        """The exact mean of a value, float [C, A]: rounding and cutting included."""
        from scipy.special import ndtr

        below = ndtr((POINTS[:-1] + 0.5 - self.centres[..., None]) / self.spread)
        # A whole number's mean over 1..5: 1 and the chances to lie above 1, 2, 3 and 4.
        return np.asarray(1 + (1 - below).sum(-1))

    def draw(self, content: int, tone: int, generator: np.random.Generator) -> float:
        """One sample's value, the raters' mean."""
        opinions = generator.normal(self.centres[content, tone], self.spread, self.raters)
        return float(np.clip(np.rint(opinions), POINTS[0], POINTS[-1]).mean())


def valence(rule: Rule, spread: float = 0.8, raters: int = 10) -> Dimension:
    """How pleasant: mostly what is said."""
    return Dimension("valence", _sum(rule, _VALENCE), spread, raters)


def arousal(rule: Rule, spread: float = 0.8, raters: int = 10) -> Dimension:
    """How aroused: mostly how it is said."""
    return Dimension("arousal", _sum(rule, _AROUSAL), spread, raters)


@dataclass(frozen=True, eq=False)
class LabelSet:
    """Several labels at once: each is in an utterance's set or not, given what is said and how.

    Parameters
    ----------
    labels
        K different names.
    chance
        Float [C, A, K], above 0 and below 1: P(the label is in the set | content, tone). Given the
        cell, labels are drawn independently, so that a set may be empty.

    Raises
    ------
    InputError
        Names that are alike, or chances of another shape or outside their range.
    """

    labels: tuple[str, ...]
    chance: Array

    def __post_init__(self) -> None:
        inside = self.chance.ndim == 3 and bool(((self.chance > 0) & (self.chance < 1)).all())
        if not inside or self.chance.shape[2:] != (len(set(self.labels)),):
            raise InputError(
                "label sets that cannot be drawn",
                expected="different labels, and chances [C, A, K] between 0 and 1",
                got=f"{self.labels}, {self.chance.shape}",
                mend="leave some noise: 0.05 instead of 0, so that log-odds are finite",
            )

    def draw(self, content: int, tone: int, generator: np.random.Generator) -> dict[str, int]:
        """One sample's set, 0 or 1 by label."""
        drawn = generator.random(len(self.labels)) < self.chance[content, tone]
        return {name: int(held) for name, held in zip(self.labels, drawn, strict=True)}


class Annotated(Dataset[dict[str, Any]]):
    """A `ToneBench` with further columns, named as in the KEMDy corpora.

    Every dimension is a column, ``"valence"``. With ``sets``, ``"labels"`` is 0 or 1 for each label
    instead of one emotion. ``"label"`` (a column, not in samples) is the emotion's name; several,
    joined by ";". All that is drawn belongs to a sample's id and the corpus's seed.

    Parameters
    ----------
    corpus
        The speech.
    dimensions
        What is rated.
    sets
        Several labels at once; ``None`` for the corpus's own.
    dimensions_in_labels
        Whether ``"labels"`` hold the dimensions too, for a model with such labels.
    bodies
        Whether samples have ``"biosignals"`` (see `modalxai.recipes.synthetic_body.body`), which
        are unrelated to everything else.
    cache
        Keep every sample once it was made, its waveform too (77 kB for 1.2 s).

    Raises
    ------
    InputError
        Tables for other contents and tones than the corpus's rule has.
    """

    def __init__(
        self,
        corpus: ToneBench,
        dimensions: Sequence[Dimension] = (),
        sets: LabelSet | None = None,
        *,
        dimensions_in_labels: bool = False,
        bodies: bool = False,
        cache: bool = False,
    ) -> None:
        self.corpus, self.dimensions, self.sets = corpus, tuple(dimensions), sets
        self.dimensions_in_labels, self.bodies = dimensions_in_labels, bodies
        self._rows: dict[int, dict[str, Any]] = {}
        self._recorded: dict[int, dict[str, Any]] | None = {} if cache else None
        for one in self.dimensions:
            check_cells(corpus.rule, one.centres, one.name)
        if sets is not None:
            check_cells(corpus.rule, sets.chance, "label sets")

    def __len__(self) -> int:
        return len(self.corpus)

    def __getitem__(self, index: int) -> dict[str, Any]:
        made = self.row(index) | self._recordings(index)
        del made["label"]
        return made

    def _recordings(self, index: int) -> dict[str, Any]:
        if self._recorded is not None and index in self._recorded:
            return self._recorded[index]
        spoken = self.corpus[index]
        made = {"audio": spoken["audio"], "words": spoken["words"]}
        if self.bodies:
            made["biosignals"] = self.body(index)
        if self._recorded is not None:
            self._recorded[index] = made
        return made

    def row(self, index: int) -> dict[str, Any]:
        """A sample's columns, ``"label"`` too; nothing is synthesised.

        Raises
        ------
        IndexError
            No such sample.
        """
        if index not in self._rows:
            self._rows[index] = self._made(index)
        found = self._rows[index]
        return found | {"labels": dict(found["labels"])}

    def _made(self, index: int) -> dict[str, Any]:
        made = self.corpus.row(index)
        rule = self.corpus.rule
        cell = rule.contents.index(made["content"]), rule.tones.index(made["tone"])
        values = {
            one.name: one.draw(*cell, self._generator(made["id"], _FIRST_DIMENSION + place))
            for place, one in enumerate(self.dimensions)
        }
        labels: dict[str, float] = dict(made["labels"])
        if self.sets is not None:
            labels = dict(self.sets.draw(*cell, self._generator(made["id"], _SET)))
        most = max(labels.values())
        held = [name for name, share in labels.items() if share == most and share > 0]
        within = values if self.dimensions_in_labels else {}
        return made | values | {"label": ";".join(held), "labels": labels | within}

    def body(self, index: int) -> dict[str, Any]:
        """What the wristband of one sample measured."""
        return body(self._generator(self.corpus.row(index)["id"], _BODY))

    def column(self, name: str) -> list[Any]:
        """One column of every sample but what is recorded: nothing is synthesised.

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
                mend="take recordings from the samples themselves",
            )
        return [self.row(index)[name] for index in range(len(self))]

    def _generator(self, name: str, draw: int) -> np.random.Generator:
        return np.random.default_rng(seed_for(name, self.corpus.seed, draw))


def reweighted(rule: Rule, factors: Mapping[str, float]) -> Rule:
    """The rule of a corpus in which samples of a label occur ``factors[label]`` times as often.

    A factor of 0 drops the label, as KEMDy20's rare emotions are; above 1 is oversampling. Labels
    that are not named keep their samples. What a label's frequency does to the truth is then in
    `modalxai.datasets.tonebench.gold` of this rule, to six digits of a cell's weight.

    Raises
    ------
    InputError
        An unknown label, a factor below 0, or fewer than two labels left.
    """
    kept = [name for name in rule.labels if factors.get(name, 1.0) > 0]
    wrong = set(factors) - set(rule.labels) or any(one < 0 for one in factors.values())
    if wrong or len(kept) < 2:
        raise InputError(
            "factors that leave no rule",
            expected=f"0 or more for some of {list(rule.labels)}, two or more above 0",
            got=str(dict(factors)),
            mend="name labels of the rule",
        )
    times = np.array([factors.get(name, 1.0) for name in kept])
    mass = rule.given[..., [rule.labels.index(name) for name in kept]] * times
    cells = rule.weights * mass.sum(-1)
    return replace(
        rule,
        labels=tuple(kept),
        given=mass / mass.sum(-1, keepdims=True),
        weights=np.rint(cells / cells.max() * 1_000_000).astype(np.int64),
    )


def _sum(rule: Rule, parts: tuple[Mapping[str, float], Mapping[str, float]]) -> Array:
    """Float [C, A] around 3, the middle of the scale."""
    said, spoken = parts
    contents = np.array([said[name] for name in rule.contents])
    tones = np.array([spoken[name] for name in rule.tones])
    return np.asarray(3 + contents[:, None] + tones[None, :])


def check_cells(rule: Rule, table: Array, name: str) -> None:
    """Refuse a table [C, A, ...] that is not the rule's.

    Raises
    ------
    InputError
        Other contents or tones.
    """
    if table.shape[:2] != rule.weights.shape:
        raise InputError(
            f"{name}: a table for other cells than the rule's",
            expected=f"[{len(rule.contents)} contents, {len(rule.tones)} tones, ...]",
            got=str(table.shape),
            mend="make it for the rule of the corpus",
        )

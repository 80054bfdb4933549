"""What the chance gate found: how well the model, and each modality alone, predicted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Score:
    """How well one predictor did.

    Parameters
    ----------
    n
        Samples it was judged on.
    value
        The gate's metric, see `Skill`.
    low, high
        Interval of ``value`` minus chance; NaN where there is none.
    others
        Further metrics by name, which decide nothing.
    at_chance
        True where the interval reaches down to chance; None where it could not be judged.
    """

    n: int
    value: float
    low: float
    high: float
    others: Mapping[str, float]
    at_chance: bool | None


@dataclass(frozen=True)
class Skill:
    """One thing that was predicted, and whether it was predicted better than by a constant.

    Parameters
    ----------
    target
        The label, or ``"categorical labels"`` for those that share a softmax.
    labels
        Names of the labels it gates.
    metric
        ``"UAR"``: unweighted average recall over the classes that occur, because a constant
        reaches exactly 1 / C whatever the class balance; ``"balanced accuracy"``: the same for a
        binary label; ``"CCC"``: the concordance correlation, 0 for every constant.
    chance
        What a constant reaches.
    clusters
        How many clusters the interval was resampled from.
    model
        With every modality.
    alone
        By modality: with this one only, on the samples that have it, the others removed as the
        explanation removed them (not a model trained on it alone).
    constant
        Further metrics of the constant that always says the most frequent class.
    reason
        Why it was not judged; empty where it was.
    """

    target: str
    labels: tuple[str, ...]
    metric: str
    chance: float
    clusters: int
    model: Score
    alone: Mapping[str, Score]
    constant: Mapping[str, float]
    reason: str = ""

    @property
    def at_chance(self) -> bool | None:
        """Whether the model is; None where it was not judged."""
        return self.model.at_chance


@dataclass(frozen=True)
class ChanceGate:
    """Every judged `Skill`; empty, with a reason, where the truth is unknown."""

    skills: tuple[Skill, ...] = ()
    reason: str = ""
    _gates: Mapping[str, Skill] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        gates = {name: skill for skill in self.skills for name in skill.labels}
        object.__setattr__(self, "_gates", gates)

    @property
    def at_chance(self) -> bool | None:
        """True where all that was judged is at chance; None where nothing was judged."""
        judged = [skill.at_chance for skill in self.skills if skill.at_chance is not None]
        return all(judged) if judged else None

    def of(self, label: str) -> Skill | None:
        """The skill that gates a label; None where its truth is unknown."""
        return self._gates.get(label)

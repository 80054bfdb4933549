"""What decides a contest, and which part of it is run."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from modalxai.datasets import tonebench
from modalxai.errors import InputError

BENCHMARK = "1.0"
"""Version of the benchmark: of what is trained, asked and scored. Results of different versions are
no results of one benchmark."""

FAMILIES = tuple(name for name in tonebench.FAMILIES if name != "EMOTIONS")
"""All but the demo's own."""
MOST_FAILED = 3
"""Further models of a family, in place of those that do not pass its gate."""


@dataclass(frozen=True)
class Settings:
    """A run.

    Parameters
    ----------
    families
        Names of `modalxai.datasets.tonebench.FAMILIES`.
    seeds
        How many trained models a family has that pass its gate, each with speakers and weights of
        its own.
    samples
        N of each model that are explained.
    clips, texts
        Recordings of one kind from which the encoders learn, and training samples of a family.
    teacher_epochs, epochs
        Times through them. A family whose truth is an interaction has as many times more as it
        has modalities.
    dim, channels
        Width of the vectors, and of the convolutions of the voice.
    rendering
        Models of a family about which contestants that resynthesise voices are asked.

    Raises
    ------
    InputError
        An unknown family, or a number out of its range.
    """

    families: tuple[str, ...] = FAMILIES
    seeds: int = 5
    samples: int = 36
    clips: int = 6000
    texts: int = 960
    teacher_epochs: int = 14
    epochs: int = 20
    dim: int = 32
    channels: int = 64
    rendering: int = 1

    def __post_init__(self) -> None:
        unknown = [name for name in self.families if name not in FAMILIES]
        if unknown or not self.families or len(set(self.families)) < len(self.families):
            raise InputError(
                "families that are not in the benchmark",
                expected=f"some of {list(FAMILIES)}, each once",
                got=str(unknown or list(self.families)),
                mend="choose from these",
            )
        for field in fields(self):
            value, least = getattr(self, field.name), 0 if field.name == "rendering" else 1
            if field.name != "families" and (not isinstance(value, int) or value < least):
                raise InputError(
                    f"{field.name} out of range",
                    expected=f"a whole number from {least}",
                    got=repr(value),
                    mend="the defaults are the benchmark",
                )

    @classmethod
    def quick(cls) -> Settings:
        """Two families, one seed, few samples: whether everything works, and no result."""
        return cls(
            families=("SUM", "NULL"),
            seeds=1,
            samples=16,
            clips=320,
            texts=640,
            teacher_epochs=8,
            epochs=12,
            rendering=0,
        )

    def deciding(self) -> dict[str, Any]:
        """What decides the figures of one family and seed."""
        chosen = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in ("families", "seeds"):
            chosen.pop(name)
        return {"benchmark": BENCHMARK, **chosen}

"""What every recipe is asked: which data, which checkpoints, how much of it, where to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from modalxai.errors import InputError
from modalxai.recipes.workers import cores

Size = Literal["base", "small"]
OWN = {"translator": "speecht5"}
"""Options that one recipe alone takes, and which."""


@dataclass(frozen=True)
class Options:
    """Settings that all recipes share.

    Parameters
    ----------
    out
        Folder for everything that the recipe writes. A run that was killed goes on there.
    data
        The corpus, as unpacked; ``None`` for synthetic speech, made on the spot.
    checkpoints
        ``"tiny"`` (made and pre-trained on synthetic speech on the spot), ``"published"`` (by
        their published names), or a folder with one checkpoint per encoder.
    encoder_size
        ``"base"``, or ``"small"`` for distilled or truncated encoders.
    seeds
        How many seeds; the recipe's own number for ``None``.
    quick
        A small part of everything, to see it work; its figures mean little.
    device
        ``"cpu"``, ``"cuda"``, ...
    quiet
        Print nothing, show no progress.
    translator
        What Korean is translated to English by, of ``speecht5`` alone: a plugin of the group
        ``modalxai.translators`` and, after a space, its settings as one json object:
        ``openai-compatible {"model": "gpt-4o-mini", "source": "Korean", "target": "English"}``.
    workers
        Processes that train the models of a recipe with many of them (S2 to S4); of the tiny form
        the figures are the same, bit for bit. ``None`` is two where there are two cores, and one
        for the quick form and for a GPU. A script that asks for more than one needs its
        ``if __name__ == "__main__":``.

    Raises
    ------
    InputError
        A size that does not exist, no seed, no worker, or data that are not there.
    """

    out: Path
    data: Path | None = None
    checkpoints: str = "tiny"
    encoder_size: Size = "base"
    seeds: int | None = None
    quick: bool = False
    device: str = "cpu"
    quiet: bool = False
    translator: str | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        for wrong, ok, expected, got in (
            (
                "unknown size of the encoders",
                self.encoder_size in ("base", "small"),
                "'base' or 'small'",
                self.encoder_size,
            ),
            ("no seed", self.seeds is None or self.seeds >= 1, "1 or more", self.seeds),
            ("no worker", self.workers is None or self.workers >= 1, "1 or more", self.workers),
            (
                "there are no such data",
                self.data is None or self.data.exists(),
                "a folder or file that exists",
                str(self.data),
            ),
        ):
            if not ok:
                raise InputError(wrong, expected=expected, got=repr(got), mend="give another one")

    @property
    def processes(self) -> int:
        """How many processes train; see ``workers``."""
        if self.workers is not None:
            return self.workers
        return 1 if self.quick or self.device != "cpu" else min(2, cores())

    def deciding(self) -> dict[str, object]:
        """What decides the figures: a run with other values is another run."""
        return {
            "data": None if self.data is None else str(self.data.resolve()),
            "checkpoints": self.checkpoints,
            "encoder_size": self.encoder_size,
            "seeds": self.seeds,
            "quick": self.quick,
            "translator": self.translator,
        }

    def require_for(self, recipe: str) -> None:
        """Refuse what a recipe does not take, rather than leave it unused.

        Raises
        ------
        InputError
            An option that only another recipe takes.
        """
        for name, taker in OWN.items():
            if taker != recipe and (got := getattr(self, name)) is not None:
                raise InputError(
                    f"the recipe {recipe} takes no {name}",
                    expected=f"no {name}, or the recipe {taker}",
                    got=repr(got),
                    mend=f"leave {name} out: only {taker} takes one",
                )

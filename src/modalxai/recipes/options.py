"""What every recipe is asked: which data, which checkpoints, how much of it, where to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from modalxai.errors import InputError

Size = Literal["base", "small"]


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

    Raises
    ------
    InputError
        A size that does not exist, no seed, or data that are not there.
    """

    out: Path
    data: Path | None = None
    checkpoints: str = "tiny"
    encoder_size: Size = "base"
    seeds: int | None = None
    quick: bool = False
    device: str = "cpu"
    quiet: bool = False

    def __post_init__(self) -> None:
        for wrong, ok, expected, got in (
            (
                "unknown size of the encoders",
                self.encoder_size in ("base", "small"),
                "'base' or 'small'",
                self.encoder_size,
            ),
            ("no seed", self.seeds is None or self.seeds >= 1, "1 or more", self.seeds),
            (
                "there are no such data",
                self.data is None or self.data.exists(),
                "a folder or file that exists",
                str(self.data),
            ),
        ):
            if not ok:
                raise InputError(wrong, expected=expected, got=repr(got), mend="give another one")

    def deciding(self) -> dict[str, object]:
        """What decides the figures: a run with other values is another run."""
        return {
            "data": None if self.data is None else str(self.data.resolve()),
            "checkpoints": self.checkpoints,
            "encoder_size": self.encoder_size,
            "seeds": self.seeds,
            "quick": self.quick,
        }

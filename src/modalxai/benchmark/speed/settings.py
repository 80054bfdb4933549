"""How large the speed table is."""

from __future__ import annotations

from dataclasses import dataclass

from modalxai.errors import InputError


@dataclass(frozen=True)
class Settings:
    """What is measured, and how often.

    Parameters
    ----------
    quick
        A look at everything in about a minute: small encoders only, few sizes, one pair of each
        timing. Its figures prove nothing.
    device
        Where the models lie, ``"cpu"`` or ``"cuda"``. Counts do not hang on it.
    pairs
        How often a timing is repeated beside what it is compared with.
    clips
        Clips in the corpus whose references are shared.
    seed
        Of weights, inputs and draws.

    Raises
    ------
    InputError
        No pair, or no clip.
    """

    quick: bool = False
    device: str = "cpu"
    pairs: int = 3
    clips: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("pairs", "clips"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(
                    f"{name} out of range",
                    expected="a whole number from 1",
                    got=repr(value),
                    mend="leave the default",
                )

    @property
    def repeats(self) -> int:
        """Pairs of one timing in this form."""
        return 1 if self.quick else self.pairs

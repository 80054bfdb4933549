"""Known answers: games whose every score is set by hand."""

from modalxai.testing.games import (
    TableGame,
    and_,
    conflict,
    or_,
    tone_only,
    xor,
    xor_marginal,
)

__all__ = ["TableGame", "and_", "conflict", "or_", "tone_only", "xor", "xor_marginal"]

"""`check_attributor`: whether an attributor keeps its promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modalxai.protocols import Attributor, Game
from modalxai.testing.attributor_axioms import CLAIMS, MEANING
from modalxai.testing.attributor_case import AttributorCase
from modalxai.testing.attributor_results import (
    RESULTS,
    it_returns_an_attribution,
    numbers_are_finite,
)
from modalxai.testing.attributor_traces import INDEPENDENCE, TRACES, asking_again_gives_the_same
from modalxai.testing.compare import CLOSE
from modalxai.testing.conformance import Conformance, NamedCheck, Promise, after, run

PROMISES: tuple[Promise[AttributorCase], ...] = (
    it_returns_an_attribution,
    *after(
        [it_returns_an_attribution],
        [
            numbers_are_finite,
            *TRACES,
            *after(
                [numbers_are_finite, asking_again_gives_the_same],
                [*RESULTS, *INDEPENDENCE, *MEANING, *CLAIMS],
            ),
        ],
    ),
)
"""Every check of an attributor, each after those it needs."""


def check_attributor(
    attributor: Attributor,
    game: Game | None = None,
    *,
    axioms: Sequence[str] | None = None,
    expected: Mapping[str, str] | None = None,
    tolerance: float = CLOSE,
) -> Conformance:
    """Check an attributor against every promise of `modalxai.protocols.Attributor`.

    It is asked about games that the kit makes up, of which the answers to some questions are known:
    coalitions of modalities from a table, of words and moments, or a fusion with gradients and
    time-frequency maps, whichever it takes first. The attributor, the game and every random
    generator stay as they are.

    Parameters
    ----------
    attributor
        With its settings; never a class.
    game
        For an attributor that takes none of the kit's (one that edits recordings, say): of three or
        more samples, one of which lacks a modality if possible.
    axioms
        Which of `modalxai.protocols.AXIOMS` it keeps; what its class says in ``axioms`` for
        ``None``. Only what is claimed is checked.
    expected
        By the name of a check that will fail, the reason. If it passes, that is a failure.
    tolerance
        How far two numbers that should be one may differ, relative to the largest.

    Returns
    -------
    Conformance

    Raises
    ------
    InputError
        No attributor, no game that it takes, an unknown axiom, or an expected failure that is no
        check.

    Examples
    --------
    >>> from modalxai.attribution import ModalityShapley
    >>> report = check_attributor(ModalityShapley())
    >>> report.passed, len(report) > 20
    (True, True)
    """
    case = AttributorCase.make(attributor, game, axioms=axioms, tolerance=tolerance)
    return run(type(attributor).__name__, PROMISES, case, expected)


def attributor_checks() -> tuple[NamedCheck[AttributorCase], ...]:
    """Each check of `check_attributor` by itself; called with ``(attributor, game=None)``."""
    return tuple(NamedCheck(one, AttributorCase.make) for one in PROMISES)

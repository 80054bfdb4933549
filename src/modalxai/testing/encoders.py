"""`check_encoder`: whether an encoder keeps its promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modalxai.protocols import Encoder
from modalxai.testing.collates import COLLATE, a_collated_row_is_what_it_is_alone
from modalxai.testing.compare import CLOSE
from modalxai.testing.conformance import Conformance, NamedCheck, Promise, after, run
from modalxai.testing.encoder_case import EncoderCase
from modalxai.testing.features import (
    INDEPENDENCE,
    SHAPES,
    a_row_alone_is_its_row_of_a_batch,
    spans_lie_in_the_input,
)
from modalxai.testing.parts import (
    BEHAVIOUR,
    FILES,
    PRECISION,
    eval_is_deterministic,
    gradients_are_finite,
    it_can_be_copied,
)
from modalxai.testing.removals import REMOVALS
from modalxai.testing.stages import STAGES

_MEANING = after(
    [*SHAPES[:5], eval_is_deterministic],
    [
        *after([a_collated_row_is_what_it_is_alone], INDEPENDENCE),
        gradients_are_finite,
        *PRECISION,
        *FILES,
        *after([a_row_alone_is_its_row_of_a_batch], STAGES),
        *after([a_row_alone_is_its_row_of_a_batch, spans_lie_in_the_input], REMOVALS),
    ],
)
PROMISES: tuple[Promise[EncoderCase], ...] = (
    it_can_be_copied,
    *after(
        [it_can_be_copied],
        [COLLATE[0], *after(COLLATE[:1], [*COLLATE[1:], *SHAPES, *BEHAVIOUR, *_MEANING])],
    ),
)
"""Every check of an encoder, each after those it needs."""


def check_encoder(
    encoder: Encoder[Any],
    raws: Sequence[Any] | None = None,
    *,
    expected: Mapping[str, str] | None = None,
    tolerance: float = CLOSE,
) -> Conformance:
    """Check an encoder against every promise of `modalxai.protocols.Encoder`.

    What it offers of `Removable` and `Staged` is checked too. All of it is done to a copy whose
    weights are a little off, on the CPU; CUDA is tried where there is one. The encoder, its raw
    values and every random generator stay as they are.

    Parameters
    ----------
    encoder
        Small: it runs some two hundred times.
    raws
        Two or more raw values of different lengths, none of them ``None``; missing ones are added.
        By default what ``encoder.examples()`` returns, if it has such a method; else a kind that
        its collate takes, of `modalxai.testing.examples`.
    expected
        By the name of a check that will fail, the reason. If it passes, that is a failure.
    tolerance
        How far a row in a batch may be from the row alone, relative to the largest number.

    Returns
    -------
    Conformance

    Raises
    ------
    InputError
        Too few raw values, no example that fits, or an expected failure that is no check.

    Examples
    --------
    >>> from modalxai.encoders import ByteTextEncoder
    >>> report = check_encoder(ByteTextEncoder(dim=8, layers=1, heads=2))
    >>> report.raise_for_failures()
    >>> len(report) > 30
    True
    """
    case = EncoderCase.make(encoder, raws, tolerance=tolerance)
    return run(type(encoder).__name__, PROMISES, case, expected)


def encoder_checks() -> tuple[NamedCheck[EncoderCase], ...]:
    """Each check of `check_encoder` by itself, called with ``(encoder, raws=None)``.

    Examples
    --------
    ::

        @pytest.mark.parametrize("check", testing.encoder_checks(), ids=str)
        def test_my_encoder(check):
            check(MyEncoder(), raws=[...])
    """
    return tuple(NamedCheck(one, EncoderCase.make) for one in PROMISES)

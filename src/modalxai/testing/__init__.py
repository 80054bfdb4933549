"""For tests: does a part keep its promises, games with known answers, strategies, examples.

Names are imported where they are first used (PEP 562); `modalxai.testing.strategies` alone needs
hypothesis, and nothing here needs pytest.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modalxai.testing import examples, oracle_models, oracles, strategies
    from modalxai.testing.conformance import Check, Conformance, ConformanceError, NamedCheck
    from modalxai.testing.encoders import check_encoder, encoder_checks
    from modalxai.testing.fusions import check_fusion, fusion_checks
    from modalxai.testing.games import (
        TableGame,
        and_,
        conflict,
        or_,
        tone_only,
        xor,
        xor_marginal,
    )
    from modalxai.testing.pairs import check_pair, pair_checks
    from modalxai.testing.unit_table import UnitTableGame

_MODULES = ("examples", "oracle_models", "oracles", "strategies")
_NAMES = {
    **dict.fromkeys(
        ("Check", "Conformance", "ConformanceError", "NamedCheck"), "modalxai.testing.conformance"
    ),
    **dict.fromkeys(("check_encoder", "encoder_checks"), "modalxai.testing.encoders"),
    **dict.fromkeys(("check_fusion", "fusion_checks"), "modalxai.testing.fusions"),
    **dict.fromkeys(("check_pair", "pair_checks"), "modalxai.testing.pairs"),
    **dict.fromkeys(
        ("TableGame", "and_", "conflict", "or_", "tone_only", "xor", "xor_marginal"),
        "modalxai.testing.games",
    ),
    "UnitTableGame": "modalxai.testing.unit_table",
}

__all__ = [
    "Check",
    "Conformance",
    "ConformanceError",
    "NamedCheck",
    "TableGame",
    "UnitTableGame",
    "and_",
    "check_encoder",
    "check_fusion",
    "check_pair",
    "conflict",
    "encoder_checks",
    "examples",
    "fusion_checks",
    "or_",
    "oracle_models",
    "oracles",
    "pair_checks",
    "strategies",
    "tone_only",
    "xor",
    "xor_marginal",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"modalxai.testing.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'modalxai.testing' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

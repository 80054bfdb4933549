"""For tests: does a part keep its promises, games with known answers, strategies, examples.

Names are imported where they are first used (PEP 562); `modalxai.testing.strategies` alone needs
hypothesis, and nothing here needs pytest.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modalxai.testing import examples, oracle_models, oracles, strategies
    from modalxai.testing.attributors import attributor_checks, check_attributor
    from modalxai.testing.conformance import (
        Check,
        Conformance,
        ConformanceError,
        NamedCheck,
        watched,
    )
    from modalxai.testing.corpora import check_dataset, dataset_checks
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
    from modalxai.testing.plugin import check_plugin
    from modalxai.testing.unit_table import UnitTableGame
    from modalxai.testing.vector_game import VectorGame, random_vectors

_MODULES = ("examples", "oracle_models", "oracles", "strategies")
_NAMES = {
    **dict.fromkeys(
        ("Check", "Conformance", "ConformanceError", "NamedCheck", "watched"),
        "modalxai.testing.conformance",
    ),
    **dict.fromkeys(("attributor_checks", "check_attributor"), "modalxai.testing.attributors"),
    **dict.fromkeys(("check_dataset", "dataset_checks"), "modalxai.testing.corpora"),
    **dict.fromkeys(("check_encoder", "encoder_checks"), "modalxai.testing.encoders"),
    **dict.fromkeys(("check_fusion", "fusion_checks"), "modalxai.testing.fusions"),
    **dict.fromkeys(("check_pair", "pair_checks"), "modalxai.testing.pairs"),
    "check_plugin": "modalxai.testing.plugin",
    **dict.fromkeys(
        ("TableGame", "and_", "conflict", "or_", "tone_only", "xor", "xor_marginal"),
        "modalxai.testing.games",
    ),
    "UnitTableGame": "modalxai.testing.unit_table",
    **dict.fromkeys(("VectorGame", "random_vectors"), "modalxai.testing.vector_game"),
}

__all__ = [
    "Check",
    "Conformance",
    "ConformanceError",
    "NamedCheck",
    "TableGame",
    "UnitTableGame",
    "VectorGame",
    "and_",
    "attributor_checks",
    "check_attributor",
    "check_dataset",
    "check_encoder",
    "check_fusion",
    "check_pair",
    "check_plugin",
    "conflict",
    "dataset_checks",
    "encoder_checks",
    "examples",
    "fusion_checks",
    "or_",
    "oracle_models",
    "oracles",
    "pair_checks",
    "random_vectors",
    "strategies",
    "tone_only",
    "watched",
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

"""Every built-in encoder keeps every promise that a third party's must keep."""

from __future__ import annotations

from typing import Any

import pytest
import tiny
import torch
from tests.support.counting import Conforms

from modalxai import plugins, testing

LEAST = 35
FEWER = {"vectors": 28}
"""It removes no units, so that checks of removals are skipped."""
ANALYSER = "its analyser is code of its user's, and never saved: give it to from_pretrained again"
EXPECTED: dict[str, dict[str, str]] = {
    "hanbert: morphemes": {
        "it comes back from a folder": ANALYSER,
        "loading draws nothing": ANALYSER,
    },
}


def test_every_built_in_is_among_them() -> None:
    assert {name.split(":")[0] for name in tiny.ENCODERS} == set(plugins.available("encoders"))


@pytest.mark.parametrize("name", tiny.ENCODERS)
def test_it_conforms(name: str, conforms: Conforms) -> None:
    report = testing.check_encoder(tiny.encoder(name), tiny.raws(name), expected=EXPECTED.get(name))
    conforms(report, FEWER.get(name, LEAST))


@pytest.mark.parametrize("check", testing.encoder_checks(), ids=str)
def test_it_conforms_check_by_check(check: Any) -> None:
    check(tiny.encoder("byte-text"), tiny.raws("byte-text"))


@pytest.mark.parametrize("name", plugins.available("encoders"))
@torch.no_grad()
def test_every_encoder_is_made_from_its_name_alone(name: str) -> None:
    encoder = plugins.create("encoders", name)
    assert encoder.dim > 0
    features = encoder.eval()(encoder.collate([None, None]))
    assert features.values.shape[::2] == (2, encoder.dim)
    assert features.values.eq(0).all()
    assert not features.mask.any()

# ruff: noqa: D103
"""The parts keep every promise of modalxai's protocols; one test for each promise."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from modalxai_faces.gated import GatedFusion
from modalxai_faces.permutation import PermutationShapley
from modalxai_faces.video_gru import VideoGruEncoder

import modalxai as mx
from modalxai import testing
from modalxai.testing import oracles


@pytest.mark.parametrize("check", testing.encoder_checks(), ids=str)
def test_the_encoder_keeps_its_promise(check: Any) -> None:
    check(VideoGruEncoder.small())


@pytest.mark.parametrize("check", testing.fusion_checks(), ids=str)
def test_the_fusion_keeps_its_promise(check: Any) -> None:
    check(lambda dims, labels: GatedFusion(dims, labels, width=5))


@pytest.mark.parametrize("check", testing.attributor_checks(), ids=str)
def test_the_attributor_keeps_its_promise(check: Any) -> None:
    check(PermutationShapley())


def test_the_number_of_checks() -> None:
    assert len(testing.check_encoder(VideoGruEncoder.small())) >= 40
    assert len(testing.check_fusion(GatedFusion)) >= 28
    assert len(testing.check_attributor(PermutationShapley())) >= 22


def test_every_order_gives_the_exact_values() -> None:
    game = oracles.random_sum(4, 9, seed=1).game(dict.fromkeys("abcd", 1))
    expected = oracles.random_sum(4, 9, seed=1).shapley().T[None]
    found = PermutationShapley(orders=24).attribute(game)
    torch.testing.assert_close(found.totals.double(), expected)
    assert found.se.eq(0).all()


def test_drawn_orders_come_near_and_know_how_near() -> None:
    oracle = oracles.random_sum(5, 12, seed=2)
    found = PermutationShapley(orders=100).attribute(oracle.game(dict.fromkeys("abcde", 1)))
    away = (found.totals.double() - oracle.shapley().T[None]).abs()
    assert (away < 5 * found.se).all()
    assert found.se.max() < 0.3
    assert found.residual().abs().max() < 1e-6


def test_a_wrong_clip_is_named() -> None:
    encoder = VideoGruEncoder.small()
    with pytest.raises(mx.ModalxaiError, match="no action units") as caught:
        encoder.collate([None, torch.zeros(3, 9)])
    assert caught.value.index == 1

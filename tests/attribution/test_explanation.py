from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
import torch
from torch import Tensor
from toys import MIXED

from modalxai.attribution import Explanation, ModalityAblation, ModalityShapley
from modalxai.attribution.scales import SCALES
from modalxai.errors import InputError
from modalxai.testing import TableGame, and_, conflict, or_, tone_only, xor, xor_marginal
from modalxai.types import labels

# science.md 2.4: Shapley values of text and audio, their interaction, leave-one-out, solo.
KNOWN = {
    "tone only": (tone_only, (0, 1), 0, (0, 1), (0, 1)),
    "and": (and_, (0.5, 0.5), 1, (1, 1), (0, 0)),
    "or": (or_, (0.5, 0.5), -1, (0, 0), (1, 1)),
    "xor": (xor, (0, 0), -2, (-1, -1), (1, 1)),
    "xor, marginal": (xor_marginal, (0.25, 0.25), 0.5, (0.5, 0.5), (0, 0)),
    "conflict": (conflict, (2, -3), 0, (2, -3), (2, -3)),
}


def random_game(
    count: int = 3,
    samples: int = 5,
    draws: int = 1,
    present: Tensor | None = None,
    dtype: torch.dtype = torch.float64,
) -> TableGame:
    values = torch.randn(draws, 1 << count, samples, len(MIXED), dtype=dtype) * 2
    return TableGame(values, MIXED, "abcdef"[:count], present)


@pytest.mark.parametrize("name", KNOWN)
def test_the_known_games_come_out_as_known(name: str) -> None:
    make, shapley, interaction, ablation, solo = KNOWN[name]
    explanation = Explanation.of(make())
    assert explanation.shapley().totals[0, 0].tolist() == pytest.approx(shapley)
    assert explanation.ablation().totals[0, 0].tolist() == pytest.approx(ablation)
    assert explanation.sufficiency().totals[0, 0].tolist() == pytest.approx(solo)
    found = explanation.interactions()
    assert found.pairs["text", "audio"].shape == (1, 1, 1, 1)
    assert found.pairs["text", "audio"].item() == pytest.approx(interaction)
    assert found.totals[0, 0].tolist() == pytest.approx(
        [value - interaction / 2 for value in shapley]
    )
    assert found.residual().item() == pytest.approx(interaction)
    assert explanation.shapley().residual().item() == pytest.approx(0)
    assert explanation.ablation().residual().item() == pytest.approx(-interaction)


def test_rows_are_ordered_by_the_binary_number_of_what_is_present() -> None:
    values = torch.arange(8.0)[:, None, None]
    game = TableGame(values, labels("v", kind="dimensional"), ("a", "b", "c"))
    explanation = Explanation.of(game)
    assert explanation.scores[:, 0, 0].tolist() == list(range(8))
    assert explanation.coalitions == (
        (),
        ("a",),
        ("b",),
        ("a", "b"),
        ("c",),
        ("a", "c"),
        ("b", "c"),
        ("a", "b", "c"),
    )
    assert explanation.shapley().totals[0, 0].tolist() == [1, 2, 4]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_shapley_sums_to_prediction_minus_reference(scale: str, count: int) -> None:
    found = Explanation.of(random_game(count)).shapley(scale)
    assert found.residual().abs().max() < 1e-9
    assert (found.totals.sum(-1) - (found.prediction - found.reference)).abs().max() < 1e-9


@pytest.mark.parametrize("scale", SCALES)
def test_totals_and_pairs_together_sum_to_prediction_minus_reference(scale: str) -> None:
    found = Explanation.of(random_game(4)).interactions(scale)
    pairs = sum(pair[..., 0, 0] for pair in found.pairs.values())
    torch.testing.assert_close(
        found.totals.sum(-1) + pairs, found.prediction - found.reference, rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("scale", ["clr", "probability"])
def test_contributions_to_all_classes_sum_to_zero(scale: str) -> None:
    totals = Explanation.of(random_game()).shapley(scale).totals[:, :3]
    assert totals.sum(1).abs().max() < 1e-9


def test_attributors_read_the_same_table() -> None:
    game = random_game()
    explanation = Explanation.of(game)
    for scale in SCALES:
        ours = ModalityShapley(scale).attribute(game, ["joy", "valence"])
        torch.testing.assert_close(
            ours.totals, explanation.shapley(scale, ["joy", "valence"]).totals
        )
        assert ours.provenance.scale == scale
        assert ours.provenance.attributor == "modality-shapley"
        other = ModalityAblation(scale).attribute(game)
        torch.testing.assert_close(other.totals, explanation.ablation(scale).totals)
        assert other.provenance.attributor == "modality-ablation"


def test_asking_for_labels_gives_these_columns_in_that_order() -> None:
    explanation = Explanation.of(random_game())
    every, some = explanation.shapley(), explanation.shapley(labels=["valence", "anger"])
    assert [label.name for label in some.labels] == ["valence", "anger"]
    assert torch.equal(some.totals, every.totals[:, [4, 0]])
    pairs = explanation.interactions(labels=["valence", "anger"]).pairs["a", "c"]
    assert torch.equal(pairs, explanation.interactions().pairs["a", "c"][:, [4, 0]])


def test_the_rival_is_that_of_the_whole_prediction_in_every_coalition() -> None:
    found = labels("a", "b", "c")
    # With everything the order is a > b > c; with nothing, or the first alone, c leads.
    values = torch.tensor([[0.0, 1, 4], [1, 0, 3], [2, 5, 0], [9, 6, 1]])[:, None]
    totals = Explanation.of(TableGame(values, found, ("x", "y"))).shapley("contrast").totals[0]
    contrast = torch.stack(
        [values[:, 0, 0] - values[:, 0, 1], values[:, 0, 1] - values[:, 0, 0],
         values[:, 0, 2] - values[:, 0, 0]], dim=1
    )  # fmt: skip
    single = contrast[1] - contrast[0], contrast[3] - contrast[2]
    torch.testing.assert_close(totals[:, 0], (single[0] + single[1]) / 2)
    torch.testing.assert_close(totals.sum(-1), contrast[3] - contrast[0])


@pytest.mark.parametrize("scale", SCALES)
def test_missing_modalities_get_exactly_zero_and_means_skip_them(scale: str) -> None:
    present = torch.tensor([[True, True, True], [True, False, True], [False, False, True]])
    explanation = Explanation.of(random_game(3, 3, draws=3, present=present))
    for found in (
        explanation.shapley(scale),
        explanation.ablation(scale),
        explanation.sufficiency(scale),
        explanation.interactions(scale),
    ):
        gone = ~present[:, None].expand(found.totals.shape)
        assert (found.totals[gone] == 0).all()
        assert (found.se[gone] == 0).all()
        assert (found.totals[~gone] != 0).all()
    pairs = explanation.interactions(scale).pairs
    assert (pairs["a", "b"][1:] == 0).all()
    assert (pairs["a", "c"][2] == 0).all()
    assert (pairs["a", "c"][:2] != 0).any()
    assert explanation.shapley(scale).residual().abs().max() < 1e-9


@pytest.mark.parametrize("scale", SCALES)
def test_missing_modalities_get_exactly_zero_whatever_rounding_says(scale: str) -> None:
    """A table whose rows differ by rounding where a modality is missing, as chunks may."""
    explanation = Explanation.of(random_game(2, 5, draws=3))
    noisy = explanation.draws.clone()
    noisy[:, 2:] = noisy[:, :2] + 1e-6 * torch.rand_like(noisy[:, :2])
    present = torch.tensor([[True, False]]).expand(5, 2)
    one = replace(explanation, draws=noisy, present=present)
    for found in (one.shapley(scale), one.ablation(scale), one.sufficiency(scale)):
        assert (found.totals[..., 1] == 0).all()
        assert (found.se[..., 1] == 0).all()
        assert (found.totals[..., 0] != 0).all()
    found = one.interactions(scale)
    assert (found.totals[..., 1] == 0).all()
    assert (found.pairs["a", "b"] == 0).all()


def test_a_missing_modality_leaves_the_game_of_the_others() -> None:
    values = torch.randn(8, 1, len(MIXED), dtype=torch.float64)
    present = torch.tensor([[True, False, True]])
    three = Explanation.of(TableGame(values, MIXED, "abc", present))
    two = Explanation.of(TableGame(values[[0, 1, 4, 5]], MIXED, "ac"))
    torch.testing.assert_close(three.shapley().totals[..., [0, 2]], two.shapley().totals)
    torch.testing.assert_close(
        three.interactions().pairs["a", "c"], two.interactions().pairs["a", "c"]
    )


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_permuting_modalities_permutes_everything(order: tuple[int, ...]) -> None:
    game = random_game(3)
    rows = [sum((row >> new & 1) << old for new, old in enumerate(order)) for row in range(8)]
    names = tuple(game.modalities[old] for old in order)
    other = TableGame(game._table[:, rows], MIXED, names)
    one, two = Explanation.of(game), Explanation.of(other)
    torch.testing.assert_close(two.shapley().totals, one.shapley().totals[..., list(order)])
    torch.testing.assert_close(two.ablation().totals, one.ablation().totals[..., list(order)])
    pairs = one.interactions().pairs
    for (a, b), value in two.interactions().pairs.items():
        torch.testing.assert_close(value, pairs[(a, b) if (a, b) in pairs else (b, a)])


@pytest.mark.parametrize("scale", SCALES)
def test_permuting_labels_permutes_totals(scale: str) -> None:
    game, order = random_game(2), [3, 2, 4, 0, 1]
    other = TableGame(game._table[..., order], [MIXED[k] for k in order], game.modalities)
    torch.testing.assert_close(
        Explanation.of(other).shapley(scale).totals,
        Explanation.of(game).shapley(scale).totals[:, order],
    )


def test_draws_are_averaged_after_the_scale_and_not_before() -> None:
    explanation = Explanation.of(random_game(2, draws=4))
    for scale in SCALES:
        each = [
            Explanation.of(TableGame(draw, MIXED, "ab")).shapley(scale, against="joy")
            for draw in explanation.draws
        ]
        totals = torch.stack([one.totals for one in each])
        found = explanation.shapley(scale, against="joy")
        torch.testing.assert_close(found.totals, totals.mean(0))
        torch.testing.assert_close(found.se, totals.std(0) / 2)
        torch.testing.assert_close(
            found.reference, torch.stack([one.reference for one in each]).mean(0)
        )
        assert found.residual().abs().max() < 1e-9
    averaged = Explanation.of(TableGame(explanation.scores, MIXED, "ab"))
    assert not torch.allclose(
        averaged.shapley("probability").totals, explanation.shapley("probability").totals
    )
    torch.testing.assert_close(averaged.shapley("clr").totals, explanation.shapley("clr").totals)


def test_a_single_draw_has_no_standard_error() -> None:
    assert (Explanation.of(random_game()).shapley().se == 0).all()


def test_identical_draws_have_a_standard_error_of_zero() -> None:
    values = torch.randn(4, 3, len(MIXED)).expand(5, 4, 3, len(MIXED))
    assert (Explanation.of(TableGame(values, MIXED, "ab")).shapley().se == 0).all()


def test_standard_errors_are_those_of_the_mean_over_draws() -> None:
    values = torch.randn(400, 4, 50, 5, dtype=torch.float64)
    explanation = Explanation.of(TableGame(values, labels(*"abcde", kind="dimensional"), "xy"))
    found = explanation.shapley()
    # phi is half of four independent standard normals: its variance is 1.
    assert found.totals.std().item() == pytest.approx(1 / 20, rel=0.15)
    assert found.se.mean().item() == pytest.approx(1 / 20, rel=0.05)


def test_bfloat16_tables_are_cast_up_before_differences() -> None:
    values = (torch.randn(4, 3, len(MIXED)) + 100).bfloat16()
    half = Explanation.of(TableGame(values, MIXED, "ab")).shapley()
    full = Explanation.of(TableGame(values.double(), MIXED, "ab")).shapley()
    assert half.totals.dtype == torch.float32
    torch.testing.assert_close(half.totals.double(), full.totals, rtol=0, atol=2e-4)


def test_single_and_double_precision_agree() -> None:
    values = torch.randn(8, 6, len(MIXED), dtype=torch.float64)
    for scale in SCALES:
        one, two = (
            Explanation.of(TableGame(v, MIXED, "abc")).shapley(scale).totals.double()
            for v in (values, values.float())
        )
        torch.testing.assert_close(one, two, rtol=0, atol=1e-5)


def test_additive_logits_do_not_interact_on_clr_and_do_on_probability() -> None:
    """science.md 2.1: b_T = b_A = 3 gives a probability interaction of -0.408."""
    logits = torch.zeros(4, 1, 2, dtype=torch.float64)
    logits[:, 0, 0] = torch.tensor([0.0, 3, 3, 6])
    explanation = Explanation.of(TableGame(logits, labels("a", "b"), ("text", "audio")))
    assert explanation.interactions("clr").pairs["text", "audio"].abs().max() < 1e-12
    pair = explanation.interactions("probability").pairs["text", "audio"]
    assert pair[0, 0].item() == pytest.approx(-0.408, abs=5e-4)
    logits[:, 0, 0] = torch.tensor([-3.0, -2, -2, -1])
    other = Explanation.of(TableGame(logits, labels("a", "b"), ("text", "audio")))
    pair = other.interactions("probability").pairs["text", "audio"]
    assert pair[0, 0].item() == pytest.approx(0.078, abs=5e-4)


def test_too_many_modalities_are_refused_before_anything_is_asked() -> None:
    values = torch.zeros(1 << 13, 1, 1)
    game = TableGame(values, labels("v", kind="dimensional"), [f"m{i}" for i in range(13)])
    with pytest.raises(InputError, match="too many modalities"):
        Explanation.of(game)


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda e: e.shapley("logit"), "unknown scale"),
        (lambda e: e.shapley(labels=["sorrow"]), "unknown label"),
        (lambda e: e.shapley(labels=[]), "no label"),
        (lambda e: e.shapley("contrast", against="valence"), "contrast against an unknown label"),
        (lambda e: e.ablation("logit"), "unknown scale"),
        (lambda e: e.interactions(labels=["sorrow"]), "unknown label"),
    ],
)
def test_mistakes_are_named(call, names: str) -> None:
    with pytest.raises(InputError, match=names):
        call(Explanation.of(random_game()))


@pytest.mark.parametrize(
    ("values", "present"),
    [
        (torch.zeros(3, 2, 5), None),
        (torch.zeros(4, 2, 4), None),
        (torch.zeros(4, 5), None),
        (torch.zeros(4, 2, 5), torch.ones(2, 3).bool()),
        (torch.zeros(4, 2, 5).long(), None),
    ],
)
def test_a_table_of_the_wrong_shape_is_refused(values: Tensor, present: Tensor | None) -> None:
    with pytest.raises(InputError, match="does not fit"):
        TableGame(values, MIXED, "ab", present)


def test_a_table_game_refuses_masks_that_do_not_fit() -> None:
    game = random_game(2, 3)
    right = torch.ones(3, 1).bool()
    assert game.value({"a": right, "b": right}).shape == (1, 3, len(MIXED))
    assert game.value({"a": right.expand(2, 1, 3, 1), "b": right.expand(1, 4, 3, 1)}).shape == (
        1,
        2,
        4,
        3,
        len(MIXED),
    )
    for wrong in ({"a": right}, {"a": right, "b": right.int()}, {"a": right, "b": right[:2]}):
        with pytest.raises(InputError, match="do not fit"):
            game.value(wrong)
    with pytest.raises(InputError, match="cannot be divided"):
        game.divide({"a": "word"})

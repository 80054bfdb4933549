from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from toys import MIXED

from modalxai.attribution.scales import SCALES, on_scale, rivals_of
from modalxai.errors import InputError
from modalxai.types import Label, labels

SETS = {
    "categorical": labels("a", "b", "c"),
    "two": labels("a", "b"),
    "mixed": MIXED,
    # Kinds in no order, so that columns of one kind are not neighbours.
    "woven": (Label("v", "dimensional"), Label("a"), Label("t", "binary"), Label("b"), Label("c")),
    "none categorical": labels("t", kind="binary") + labels("v", kind="dimensional"),
}


def slow(row: list[float], found: tuple[Label, ...], scale: str, rivals: list[int]) -> list[float]:
    """One sample's scores on a scale, one column at a time, as science.md writes it."""
    classes = [k for k, label in enumerate(found) if label.kind == "categorical"]
    result = []
    for k, label in enumerate(found):
        z = row[k]
        if label.kind == "categorical":
            others = [row[j] for j in classes if j != k]
            result.append(
                {
                    "clr": lambda z=z: z - sum(row[j] for j in classes) / len(classes),
                    "contrast": lambda z=z, k=k: z - row[rivals[k]],
                    "log-odds": lambda z=z, o=others: z - math.log(sum(math.exp(j) for j in o)),
                    "probability": lambda z=z: math.exp(z) / sum(math.exp(row[j]) for j in classes),
                    "raw": lambda z=z: z,
                }[scale]()
            )
        elif label.kind == "binary" and scale == "probability":
            result.append(1 / (1 + math.exp(-z)))
        else:
            result.append(z)
    return result


def slow_rivals(row: list[float], found: tuple[Label, ...]) -> list[int]:
    classes = [k for k, label in enumerate(found) if label.kind == "categorical"]
    return [
        max((j for j in classes if j != k), key=lambda j: row[j]) if k in classes else k
        for k in range(len(found))
    ]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("found", SETS.values(), ids=list(SETS))
def test_every_scale_is_its_formula(scale: str, found: tuple[Label, ...]) -> None:
    scores = torch.randn(2, 3, 5, len(found), dtype=torch.float64) * 3
    whole = scores[0, 0]
    rivals = rivals_of(whole, found, "rival")
    values = on_scale(scores, found, scale, rivals)
    assert values.dtype == torch.float64
    for r in range(2):
        for s in range(3):
            for b in range(5):
                expected = slow(
                    scores[r, s, b].tolist(), found, scale, slow_rivals(whole[b].tolist(), found)
                )
                torch.testing.assert_close(
                    values[r, s, b], torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12
                )


def test_scores_are_not_modified() -> None:
    scores = torch.randn(4, len(MIXED))
    before = scores.clone()
    for scale in SCALES:
        on_scale(scores, MIXED, scale, rivals_of(scores, MIXED, "rival"))
    assert torch.equal(scores, before)


def test_bfloat16_is_cast_up_before_any_difference() -> None:
    scores = torch.tensor([[100.0, 100.5, 99.0]]).bfloat16()
    values = on_scale(scores, labels("a", "b", "c"), "clr")
    assert values.dtype == torch.float32
    expected = scores.double() - scores.double().mean()
    torch.testing.assert_close(values.double(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("scale", ["clr", "contrast", "log-odds", "probability"])
def test_a_shift_of_all_logits_changes_nothing(scale: str) -> None:
    found = MIXED
    scores = torch.randn(3, 6, len(found), dtype=torch.float64)
    shift = torch.zeros_like(scores)
    shift[..., :3] = torch.randn(3, 6, 1, dtype=torch.float64) * 5  # the categorical columns
    first, second = (
        on_scale(s, found, scale, rivals_of(s[-1], found, "rival"))
        for s in (scores, scores + shift)
    )
    torch.testing.assert_close(first, second, rtol=0, atol=1e-12)


def test_a_shift_of_all_logits_does_change_raw() -> None:
    scores = torch.randn(3, 6, 3)
    assert not torch.allclose(
        *(on_scale(s, labels("a", "b", "c"), "raw") for s in (scores, scores + 1))
    )


def test_temperature_scales_clr_and_not_probability() -> None:
    found, scores = labels("a", "b", "c"), torch.randn(6, 3, dtype=torch.float64) * 3
    warm = scores / 2.5
    torch.testing.assert_close(on_scale(warm, found, "clr") * 2.5, on_scale(scores, found, "clr"))
    hot, cold = (on_scale(s, found, "probability") for s in (warm, scores))
    assert (hot - cold).abs().max() > 0.05


@pytest.mark.parametrize("scale", ["clr", "probability"])
def test_the_classes_sum_to_a_constant(scale: str) -> None:
    values = on_scale(torch.randn(9, len(MIXED), dtype=torch.float64), MIXED, scale)
    total = values[:, :3].sum(-1)
    torch.testing.assert_close(total, torch.full_like(total, scale == "probability"))


def test_with_two_classes_clr_is_half_the_log_odds_and_contrast_is_the_log_odds() -> None:
    found, scores = labels("a", "b"), torch.randn(5, 2, dtype=torch.float64)
    clr, contrast, odds = (
        on_scale(scores, found, s, rivals_of(scores, found, "rival"))
        for s in ("clr", "contrast", "log-odds")
    )
    torch.testing.assert_close(2 * clr, odds)
    torch.testing.assert_close(contrast, odds)


def test_log_odds_of_a_certain_class_stay_finite() -> None:
    scores = torch.tensor([[400.0, 0.0, -400.0]])
    values = on_scale(scores, labels("a", "b", "c"), "log-odds")
    torch.testing.assert_close(values, torch.tensor([[400.0, -400.0, -800.0]]))


@pytest.mark.parametrize("order", [[2, 0, 1, 4, 3], [4, 3, 2, 1, 0]])
@pytest.mark.parametrize("scale", SCALES)
def test_permuting_labels_permutes_values(scale: str, order: list[int]) -> None:
    scores = torch.randn(4, len(MIXED), dtype=torch.float64)
    permuted = tuple(MIXED[k] for k in order)
    one = on_scale(scores, MIXED, scale, rivals_of(scores, MIXED, "rival"))[:, order]
    other = on_scale(
        scores[:, order], permuted, scale, rivals_of(scores[:, order], permuted, "rival")
    )
    torch.testing.assert_close(one, other)


def test_a_contrast_against_a_named_label_subtracts_that_label() -> None:
    scores = torch.randn(4, len(MIXED))
    values = on_scale(scores, MIXED, "contrast", rivals_of(scores, MIXED, "joy"))
    torch.testing.assert_close(values[:, :3], scores[:, :3] - scores[:, 1:2])
    torch.testing.assert_close(values[:, 3:], scores[:, 3:])


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda z: on_scale(z, MIXED, "logit"), "logit"),
        (lambda z: on_scale(z, MIXED, "contrast"), "rivals"),
        (lambda z: rivals_of(z, MIXED, "sorrow"), "sorrow"),
        (lambda z: rivals_of(z, MIXED, "valence"), "valence"),
    ],
)
def test_mistakes_are_named(call, names: str) -> None:
    with pytest.raises(InputError, match=names):
        call(torch.zeros(2, len(MIXED)))


def test_gradients_pass_every_scale() -> None:
    for scale in SCALES:
        scores = torch.randn(2, len(MIXED), dtype=torch.float64, requires_grad=True)
        rivals = rivals_of(scores.detach(), MIXED, "rival")

        def values(z: Tensor, scale: str = scale, rivals: Tensor = rivals) -> Tensor:
            return on_scale(z, MIXED, scale, rivals)

        assert torch.autograd.gradcheck(values, scores)

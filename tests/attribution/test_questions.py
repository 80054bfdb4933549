"""What an Explanation answers beside Shapley values: types, shares, projections, fits."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from toys import MIXED

from modalxai.attribution import Explanation, indices
from modalxai.attribution.interaction_types import CONTEXTS, KINDS
from modalxai.attribution.scales import SCALES
from modalxai.errors import InputError, RemovalError
from modalxai.testing import (
    TableGame,
    and_,
    conflict,
    or_,
    oracles,
    tone_only,
    xor,
    xor_marginal,
)
from modalxai.types import Attribution, labels

VALUE = labels("v", kind="dimensional")
CLASSES = 3


def explained(
    count: int = 3,
    samples: int = 6,
    draws: int = 1,
    present: Tensor | None = None,
    size: float = 2.0,
) -> Explanation:
    values = torch.randn(draws, 1 << count, samples, len(MIXED), dtype=torch.float64) * size
    return Explanation.of(TableGame(values, MIXED, "abcd"[:count], present))


def scores(*rows: float) -> Explanation:
    """One sample, one dimensional label, two modalities."""
    values = torch.tensor(rows, dtype=torch.float64)[:, None, None]
    names = ("text", "audio", "face")[: len(rows).bit_length() - 1]
    return Explanation.of(TableGame(values, VALUE, names))


# Types of interaction


@pytest.mark.parametrize(
    ("make", "kind", "opposed"),
    [
        (tone_only, "additive", False),
        (and_, "synergy", False),
        (or_, "redundancy", False),
        (xor, "suppression", False),
        (xor_marginal, "synergy", False),
        (conflict, "additive", True),
    ],
)
def test_the_known_games_have_known_types(make, kind: str, opposed: bool) -> None:
    found = Explanation.of(make()).interaction_types()
    for context in CONTEXTS:
        assert found.named(("text", "audio"), "score", context) == (kind,)
    assert (found.opposed == opposed).all()


@pytest.mark.parametrize(
    ("a", "b", "j", "kind"),
    [
        (2.0, 3.0, 5.04, "additive"),
        (2, -3, -0.97, "additive"),
        (2, -3, 2, "conflict"),
        (2, -3, -4, "conflict"),
        (2, 3, 5.06, "synergy"),
        (-2, -3, -6, "synergy"),
        (0, 0, -2, "synergy"),
        (2, 3, 4.9, "redundancy"),
        (2, 3, 2.96, "redundancy"),
        (-2, -3, -3, "redundancy"),
        (2, 3, 2.94, "suppression"),
        (2, 3, -1, "suppression"),
        (2, 3, -9, "suppression"),  # louder than both, on the other side
        (-2, -3, 4, "suppression"),
        (0, 3, 2, "suppression"),
        (0, 3, 4, "synergy"),
    ],
)
def test_types_follow_science(a: float, b: float, j: float, kind: str) -> None:
    found = scores(1, 1 + a, 1 + b, 1 + j).interaction_types(tolerance=0.05)
    assert found.named(("text", "audio"), "v") == (kind,)
    assert bool(found.opposed.all()) == (a * b < 0)
    expected = {"first": a, "second": b, "joint": j, "interaction": j - a - b, "tolerance": 0.05}
    for name, value in expected.items():
        assert getattr(found, name).flatten().tolist() == pytest.approx([value] * 2)


def test_every_pair_plays_with_the_others_absent_and_with_the_others_present() -> None:
    # Text and audio agree without the face, and are redundant once it is there.
    explanation = scores(0, 1, 1, 2, 0, 1, 1, 1)
    found = explanation.interaction_types(tolerance=0.1)
    assert found.pairs == (("text", "audio"), ("text", "face"), ("audio", "face"))
    assert found.named(("text", "audio"), "v", "others absent") == ("additive",)
    assert found.named(("text", "audio"), "v", "others present") == ("redundancy",)
    random = explained(3)
    found, v = random.interaction_types(), random.values().mean(0)
    for p, (i, j) in enumerate(combinations(range(3), 2)):
        for q, rest in enumerate((0, 7 - (1 << i) - (1 << j))):
            game = [v[rest], v[rest + (1 << i)], v[rest + (1 << j)], v[rest + (1 << i) + (1 << j)]]
            torch.testing.assert_close(found.first[..., p, q], game[1] - game[0])
            torch.testing.assert_close(found.joint[..., p, q], game[3] - game[0])
            torch.testing.assert_close(
                found.interaction[..., p, q], game[3] - game[1] - game[2] + game[0]
            )


def test_every_type_is_its_rule_in_science() -> None:
    found = explained(2, 200).interaction_types(tolerance=0.3)
    seen = set()
    a, b, j, m = found.first, found.second, found.joint, found.interaction
    for place in np.ndindex(*found.kinds.shape):
        kind = KINDS[int(found.kinds[place])]
        seen.add(kind)
        x, y, both, tau = a[place].item(), b[place].item(), j[place].item(), 0.3
        flips = both * (x + y) < 0
        rules = {
            "additive": abs(m[place]) <= tau,
            "conflict": x * y < 0,
            "synergy": x * y >= 0 and abs(both) > abs(x + y) + tau,
            "redundancy": x * y >= 0
            and max(abs(x), abs(y)) - tau <= abs(both) < abs(x + y) - tau
            and not flips,
            "suppression": x * y >= 0 and (abs(both) < max(abs(x), abs(y)) - tau or flips),
        }
        assert rules[kind], (kind, x, y, both)
        assert not rules["additive"] or kind == "additive"
    assert seen == set(KINDS)


def test_the_tolerance_is_nats_or_rounding_or_three_standard_errors() -> None:
    found = explained(2).interaction_types()
    assert found.tolerance[:, :4].flatten().tolist() == pytest.approx([0.05] * 6 * 4 * 2)
    assert (found.tolerance[:, 4] < 1e-3).all()
    explanation = explained(2, draws=9)
    found = explanation.interaction_types()
    values = explanation.values()
    m = values[:, 3] - values[:, 1] - values[:, 2] + values[:, 0]
    torch.testing.assert_close(found.tolerance[..., 0, 0], (3 * m.std(0) / 3).clamp(min=0.05))


def test_rounding_is_no_conflict() -> None:
    found = scores(0, 1e-8, -1e-8, 1).interaction_types()
    assert found.named(("text", "audio"), "v") == ("synergy",)
    assert not found.opposed.any()


def test_pairs_with_a_missing_modality_have_no_type() -> None:
    present = torch.tensor([[True, True, True], [True, False, True], [False, False, True]])
    found = explained(3, 3, present=present).interaction_types()
    assert (found.kinds[0] >= 0).all()
    assert (found.kinds[1:, :, 0] == -1).all()
    assert (found.kinds[1, :, 1] >= 0).all()
    assert (found.kinds[2] == -1).all()
    assert not found.opposed[2].any()
    assert found.named(("a", "b"), "joy")[1:] == ("", "")
    # The one that is missing is in neither context.
    assert torch.equal(found.kinds[1, :, 1, 0], found.kinds[1, :, 1, 1])


def test_one_modality_has_no_pair_to_be_of_a_type() -> None:
    found = explained(1).interaction_types()
    assert found.pairs == ()
    assert found.kinds.shape == (6, 5, 0, 2)


# Shares


def test_shares_are_those_of_science() -> None:
    """science.md 2.5: tone +2.1, words -1.3, interaction -0.2 in two halves, net +0.6."""
    found = scores(0, -1.2, 2.2, 0.8).magnitude_shares()
    phi = [-1.3, 2.1]
    assert found.magnitude[0, 0].tolist() == pytest.approx([1.3 / 3.4, 2.1 / 3.4])
    assert found.evidence.item() == pytest.approx(3.4)
    assert found.cancellation.item() == pytest.approx(1 - abs(sum(phi)) / 3.4)
    assert found.mixed.item()
    assert found.net.isnan().all()
    assert found.reasons == (("",),)
    same = scores(0, -1, -3, -4).magnitude_shares()
    assert same.magnitude[0, 0].tolist() == pytest.approx([0.25, 0.75])
    assert same.net[0, 0].tolist() == pytest.approx([0.25, 0.75])
    assert same.cancellation.item() == pytest.approx(0)
    assert not same.mixed.item()


def test_without_evidence_there_is_no_share_and_a_reason() -> None:
    weak = torch.tensor([0.0, 0.02, 0.02, 0.04, 0, 0.04, 0.04, 0.08]).reshape(2, 4).T
    game = TableGame(weak[..., None], labels("tired", kind="binary"), ("text", "audio"))
    explanation = Explanation.of(game)
    found = explanation.magnitude_shares()
    assert found.magnitude[0].isnan().all()
    assert found.net[0].isnan().all()
    assert found.cancellation[0].isnan().all()
    assert found.reasons == (("no modality evidence for this label",), ("",))
    assert found.magnitude[1, 0].tolist() == pytest.approx([0.5, 0.5])
    assert explanation.cancellation()[0].isnan().all()
    nothing = scores(3, 3, 3, 3)
    assert nothing.magnitude_shares().magnitude.isnan().all()
    for side in nothing.for_against():
        assert side.isnan().all()


def test_evidence_must_exceed_three_standard_errors() -> None:
    explanation = explained(2, 50, draws=4, size=0.3)
    values, found = explanation.shapley(), explanation.magnitude_shares()
    floor = (3 * values.se.sum(-1)).clamp(min=0.05)
    nats = [0, 1, 2, 3]
    torch.testing.assert_close(found.floor[:, nats], floor[:, nats])
    enough = values.totals.abs().sum(-1) > floor
    assert enough[:, nats].any()
    assert not enough[:, nats].all()
    assert torch.equal(~found.magnitude[:, nats].isnan().all(-1), enough[:, nats])
    shares = found.magnitude.sum(-1)
    assert shares[~shares.isnan()].allclose(torch.ones(()).double())


def test_for_and_against_divide_each_side() -> None:
    explanation = Explanation.of(
        oracles.additive([3.0, -1.0, 1.0, -4.0]).game(dict.fromkeys("abcd", 1))
    )
    sides = explanation.for_against()
    assert sides.speaking_for[0, 0].tolist() == pytest.approx([0.75, 0, 0.25, 0])
    assert sides.speaking_against[0, 0].tolist() == pytest.approx([0, 0.2, 0, 0.8])
    only = Explanation.of(oracles.additive([3.0, 1.0]).game({"a": 1, "b": 1})).for_against()
    assert only.speaking_for[0, 0].tolist() == pytest.approx([0.75, 0.25])
    assert only.speaking_against.isnan().all()


def test_a_side_below_the_least_evidence_is_nobodys() -> None:
    values = torch.tensor([0.0, 1, -0.02, 0.98])[:, None, None]
    game = TableGame(values, labels("tired", kind="binary"), ("text", "audio"))
    sides = Explanation.of(game).for_against()
    assert sides.speaking_for[0, 0].tolist() == [1, 0]
    assert sides.speaking_against.isnan().all()


def test_cancellation_of_classes_is_that_of_conflict() -> None:
    explanation = explained(3, 20)
    torch.testing.assert_close(
        explanation.cancellation()[:, :CLASSES], explanation.conflict().cancellation
    )


# EMAP


def crossed(n: int = 5) -> tuple[Tensor, Explanation]:
    """Logits [n, n, K] of every text with every audio, and the game with independent donors."""
    f = torch.randn(n, n, len(MIXED), dtype=torch.float64)
    whole = f.diagonal(dim1=0, dim2=1).T
    nothing = f.mean((0, 1)).expand(n, -1)
    table = torch.stack([nothing, f.mean(1), f.mean(0), whole])
    explanation = Explanation.of(TableGame(table, MIXED, ("text", "audio")))
    removal = dict.fromkeys(("text", "audio"), "marginal-independent")
    return f, replace(explanation, provenance=replace(explanation.provenance, removal=removal))


def test_emap_is_the_additive_projection_over_all_pairs() -> None:
    f, explanation = crossed()
    n = len(f)
    found = explanation.emap("raw")
    # Hessel & Lee 2020: least squares over all functions g(text) + h(audio).
    rows = [(i, j) for i in range(n) for j in range(n)]
    X = np.array([[*(i == k for k in range(n)), *(j == k for k in range(n))] for i, j in rows])
    coefficients, *_ = np.linalg.lstsq(X.astype(float), f.reshape(n * n, -1).numpy(), rcond=None)
    projected = (X @ coefficients).reshape(n, n, -1)
    expected = torch.from_numpy(np.stack([projected[i, i] for i in range(n)]))
    torch.testing.assert_close(found.reference + found.totals.sum(-1), expected)
    assert found.provenance.attributor == "emap"


@pytest.mark.parametrize("scale", ["clr", "contrast", "raw"])
def test_the_residual_of_emap_is_the_moebius_coefficient(scale: str) -> None:
    _, explanation = crossed()
    residual = explanation.emap(scale).residual()
    torch.testing.assert_close(residual, explanation.moebius(scale).of("text", "audio"))
    pair = explanation.interactions(scale).pairs["text", "audio"][..., 0, 0]
    torch.testing.assert_close(residual, pair)
    assert residual.abs().max() > 0.1


@pytest.mark.parametrize("other", ["marginal", "absent", "table"])
def test_emap_is_refused_where_it_is_no_projection(other: str) -> None:
    _, explanation = crossed()
    for removal in (
        {"text": other, "audio": other},
        {"text": "marginal-independent", "audio": other},
    ):
        wrong = replace(explanation, provenance=replace(explanation.provenance, removal=removal))
        with pytest.raises(RemovalError, match="independent donors"):
            wrong.emap()


# InterSHAP


def slow_intershap(v: np.ndarray, count: int) -> float:
    """The ratio as its authors' code has it, from their matrix of interaction values."""
    phi, matrix = np.zeros(count), np.zeros((count, count))
    for i in range(count):
        for row in (row for row in range(1 << count) if not row >> i & 1):
            s = row.bit_count()
            weight = factorial(s) * factorial(count - s - 1) / factorial(count)
            phi[i] += weight * (v[row | 1 << i] - v[row])
        for j in (j for j in range(count) if j != i):
            others = [row for row in range(1 << count) if not row >> i & 1 and not row >> j & 1]
            for row in others:
                s, one, two = row.bit_count(), 1 << i, 1 << j
                weight = factorial(s) * factorial(count - s - 2) / (2 * factorial(count - 1))
                change = v[row | one | two] + v[row] - v[row | one] - v[row | two]
                matrix[i, j] += weight * change
    for i in range(count):
        matrix[i, i] = phi[i] - matrix[i].sum()
    off = np.abs(matrix).sum() - np.abs(np.diag(matrix)).sum()
    return float(off / np.abs(matrix).sum())


@pytest.mark.parametrize("count", [2, 3, 4])
def test_intershap_is_its_authors_ratio(count: int) -> None:
    explanation = explained(count)
    found = explanation.intershap()
    v = explanation.values("probability")[0].numpy()
    for n in range(6):
        for k in range(5):
            assert found.score[n, k].item() == pytest.approx(slow_intershap(v[:, n, k], count))
    assert found.provenance.scale == "probability"
    torch.testing.assert_close(found.matrix.sum((-1, -2)), torch.from_numpy(v[-1] - v[0]))
    magnitudes = found.matrix.abs().sum((-1, -2))
    expected = (found.score * magnitudes).sum(0) / magnitudes.sum(0)
    torch.testing.assert_close(found.overall, expected)


@pytest.mark.parametrize(
    ("make", "score"), [(tone_only, 0), (and_, 1), (or_, 1 / 3), (xor, 0.5), (conflict, 0)]
)
def test_intershap_of_the_known_games(make, score: float) -> None:
    assert Explanation.of(make()).intershap().score.item() == pytest.approx(score)


def test_additive_logits_have_an_intershap_of_zero_on_clr_only() -> None:
    game = oracles.softmax([[3.0, 0], [3, 0]], [0.0, 0]).game({"text": 1, "audio": 1})
    explanation = Explanation.of(game)
    assert explanation.intershap("clr").score.abs().max() < 1e-12
    assert explanation.intershap().score.min() > 0.1
    assert scores(2, 2, 2, 2).intershap().score.isnan().all()
    assert scores(2, 2, 2, 2).intershap().overall.isnan().all()


# Interactions of any index and order


@pytest.mark.parametrize("scale", SCALES)
def test_for_two_modalities_all_efficient_indices_agree(scale: str) -> None:
    explanation = explained(2, draws=3)
    first = explanation.interactions(scale)
    for index in ("k-SII", "FSII"):
        other = explanation.interactions(scale, index=index)
        torch.testing.assert_close(other.pairs["a", "b"], first.pairs["a", "b"])
        torch.testing.assert_close(
            other.totals, explanation.sufficiency(scale).totals if index == "FSII" else first.totals
        )
    taylor = explanation.interactions(scale, index="STII")
    torch.testing.assert_close(taylor.pairs["a", "b"], first.pairs["a", "b"])
    torch.testing.assert_close(taylor.totals, explanation.sufficiency(scale).totals)
    plain = explanation.interactions(scale, index="SII")
    torch.testing.assert_close(plain.totals, explanation.shapley(scale).totals)


@pytest.mark.parametrize("index", ["2-SII", "STII", "FSII"])
def test_efficient_indices_of_order_two_sum_to_the_whole(index: str) -> None:
    found = explained(4, draws=2).interactions(index=index)
    pairs = sum(pair[..., 0, 0] for pair in found.pairs.values())
    torch.testing.assert_close(found.residual(), pairs)
    assert found.provenance.params["index"] == index


def test_terms_of_every_order_sum_to_the_prediction() -> None:
    explanation = explained(4, draws=3)
    whole = explanation.shapley()
    for order in (2, 3, 4):
        terms = explanation.interaction_terms(order=order)
        assert len(terms.coalitions) == {2: 10, 3: 14, 4: 15}[order]
        torch.testing.assert_close(terms.values.sum(-1), whole.prediction - whole.reference)
    dividends = explanation.moebius()
    assert dividends.coalitions == explanation.coalitions
    torch.testing.assert_close(dividends.values.sum(-1), whole.prediction)
    torch.testing.assert_close(dividends.of(), whole.reference)
    # Of the highest order every interaction is a dividend.
    torch.testing.assert_close(terms.of("c", "a"), dividends.of("a", "c"))
    each = [Explanation.of(TableGame(draw, MIXED, "abcd")) for draw in explanation.draws]
    drawn = torch.stack([one.moebius().values for one in each])
    torch.testing.assert_close(dividends.values, drawn.mean(0))
    torch.testing.assert_close(dividends.se, drawn.std(0) / 3**0.5)


def test_interaction_shares_are_of_the_dividends() -> None:
    terms = scores(5, 6, 3, 7).moebius()  # dividends 1, -2, 3
    assert terms.interaction_share().item() == pytest.approx(3 / 6)
    assert terms.order_shares()[0, 0].tolist() == pytest.approx([0.5, 0.5])
    triple = Explanation.of(oracles.all_of(3).game(dict.fromkeys("abc", 1))).moebius()
    assert triple.order_shares()[0, 0].tolist() == [0, 0, 1]
    assert triple.interaction_share().item() == 1
    assert scores(2, 2, 2, 2).moebius().interaction_share().isnan().all()


def test_banzhaf_of_three_modalities() -> None:
    explanation = explained(3)
    v = explanation.values().mean(0)
    for m in range(3):
        rows = [row for row in range(8) if not row >> m & 1]
        gains = torch.stack([v[row | 1 << m] - v[row] for row in rows])
        torch.testing.assert_close(explanation.banzhaf().totals[..., m], gains.mean(0))
    assert explanation.banzhaf(p=0.25).provenance.params == {"p": 0.25}
    torch.testing.assert_close(explanation.banzhaf(p=1).totals, explanation.ablation().totals)
    two = explained(2)
    torch.testing.assert_close(two.banzhaf().totals, two.shapley().totals)


def test_a_missing_modality_is_no_player_in_any_answer() -> None:
    present = torch.tensor([[True, False, True]]).expand(4, 3)
    three = explained(3, 4, present=present)
    two = Explanation.of(TableGame(three.draws[:, [0, 1, 4, 5]], MIXED, "ac"))
    for index in ("2-SII", "SII", "STII", "FSII", "FBII"):
        one, other = three.interactions(index=index), two.interactions(index=index)
        torch.testing.assert_close(one.totals[..., [0, 2]], other.totals)
        torch.testing.assert_close(one.pairs["a", "c"], other.pairs["a", "c"])
        assert (one.pairs["a", "b"] == 0).all()
    torch.testing.assert_close(three.banzhaf().totals[..., [0, 2]], two.banzhaf().totals)
    torch.testing.assert_close(three.moebius().of("a", "c"), two.moebius().of("a", "c"))
    assert (three.moebius().of("a", "b", "c") == 0).all()
    torch.testing.assert_close(three.cancellation(), two.cancellation())
    torch.testing.assert_close(three.intershap().score, two.intershap().score)
    torch.testing.assert_close(three.model_fit(order=1), two.model_fit(order=1), equal_nan=True)
    assert torch.equal(three.flips()[:, [0, 2]], two.flips())
    assert not three.flips()[:, 1].any()


def test_a_missing_modality_is_no_player_whatever_rounding_says() -> None:
    """A table whose rows differ where a modality is missing, as chunks of a batch may."""
    explanation = explained(3, 40)
    noisy = explanation.draws.clone()
    noisy[:, 4:] = noisy[:, :4] + torch.randn_like(noisy[:, :4])
    present = torch.tensor([[True, True, False]]).expand(40, 3)
    one = replace(explanation, draws=noisy, present=present)
    for terms in (one.moebius(), one.interaction_terms()):
        for c, names in enumerate(terms.coalitions):
            assert ("c" in names) == bool((terms.values[..., c] == 0).all())
    assert not one.flips()[:, 2].any()
    assert one.flips()[:, 0].any()


def test_the_fit_says_how_far_pairs_go() -> None:
    explanation = explained(4)
    v = explanation.values().mean(0)
    torch.testing.assert_close(explanation.model_fit(), indices.model_fit(v, 2))
    torch.testing.assert_close(explained(2).model_fit(), torch.ones(6, 5).double())
    additive = Explanation.of(oracles.additive([1.0, 2, -1]).game(dict.fromkeys("abc", 1)))
    assert additive.model_fit(order=1).item() == pytest.approx(1)


# Flips


def test_a_flip_is_a_change_of_the_predicted_class() -> None:
    explanation = explained(3, 40)
    z = explanation.scores[..., :CLASSES]
    expected = torch.stack([z[7].argmax(-1) != z[7 - (1 << m)].argmax(-1) for m in range(3)], dim=1)
    assert torch.equal(explanation.flips(), expected)
    assert 0 < expected.double().mean() < 1
    shifted = replace(explanation, draws=explanation.draws + torch.tensor([5.0, 5, 5, 0, 0]))
    assert torch.equal(shifted.flips(), expected)


def test_rounding_flips_nothing() -> None:
    values = torch.tensor([[1.0, 1], [1, 1 + 1e-7], [1 + 1e-7, 1], [1 + 1e-7, 1]])[:, None]
    found = Explanation.of(TableGame(values.float(), labels("a", "b"), "xy")).flips()
    assert not found.any()


# All of them


ANSWERS = {
    "banzhaf": lambda e: e.banzhaf(),
    "interactions": lambda e: e.interactions(index="FSII"),
    "moebius": lambda e: e.moebius(),
    "types": lambda e: e.interaction_types(),
    "shares": lambda e: e.magnitude_shares(),
    "cancellation": lambda e: e.cancellation(),
    "sides": lambda e: e.for_against(),
    "flips": lambda e: e.flips(),
    "fit": lambda e: e.model_fit(order=1),
    "conflict": lambda e: e.conflict(),
}


def tensors(answer: Any) -> list[Tensor]:
    if isinstance(answer, Tensor):
        return [answer]
    if isinstance(answer, tuple):
        return list(answer)
    found = [getattr(answer, field.name) for field in fields(answer)]
    pairs = list(answer.pairs.values()) if isinstance(answer, Attribution) else []
    return [one for one in [*found, *pairs] if isinstance(one, Tensor)]


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_does_not_depend_on_the_samples_beside_it(name: str) -> None:
    present = torch.tensor([[True, True, True], [True, False, True], [False, True, True]])
    together = explained(3, 3, draws=2, present=present)
    loud = together.draws.clone()
    loud[:, :, 2] *= 1e6  # a neighbour whose rounding is everybody else's signal
    together = replace(together, draws=loud)
    for n in range(2):
        alone = Explanation.of(TableGame(loud[:, :, [n]], MIXED, "abc", present[[n]]))
        pairs = zip(tensors(ANSWERS[name](alone)), tensors(ANSWERS[name](together)), strict=True)
        for one, other in pairs:
            torch.testing.assert_close(one[0], other[n], equal_nan=True)


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda e: e.banzhaf(p=1.5), "p out of range"),
        (lambda e: e.banzhaf(p="half"), "p out of range"),
        (lambda e: e.banzhaf("logit"), "unknown scale"),
        (lambda e: e.interactions(index="BII"), "unknown interaction index"),
        (lambda e: e.interactions(index="sii"), "unknown interaction index"),
        (lambda e: e.interactions(order=3), "2-SII is of order 2"),
        (lambda e: e.interactions(index="FSII", order=1), "an order that is none"),
        (lambda e: e.interaction_terms(order=2.0), "an order that is none"),
        (lambda e: e.model_fit(order=0), "an order that is none"),
        (lambda e: e.interaction_types(tolerance=-1), "negative tolerance"),
        (lambda e: e.interaction_types(tolerance=float("nan")), "negative tolerance"),
        (lambda e: e.interaction_types(labels=["sorrow"]), "unknown label"),
        (lambda e: e.interaction_types().named(("b", "a"), "joy"), "no such pair"),
        (lambda e: e.interaction_types().named(("a", "b"), "joy", "alone"), "no such pair"),
        (lambda e: e.moebius().of("a", "z"), "no such coalition"),
        (lambda e: e.interaction_terms().of("a", "b", "c"), "no such coalition"),
        (lambda e: e.magnitude_shares("logit"), "unknown scale"),
        (lambda e: e.intershap("logit"), "unknown scale"),
    ],
)
def test_mistakes_are_named(call, names: str) -> None:
    with pytest.raises(InputError, match=names):
        call(explained())


def test_flips_need_classes() -> None:
    with pytest.raises(InputError, match="no class"):
        scores(0, 1, 2, 3).flips()

"""Invariants of science.md 3 on random games: any M up to 4, labels of any kinds, any presence."""

from __future__ import annotations

from itertools import permutations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from modalxai.attribution import Explanation
from modalxai.attribution.scales import SCALES, on_scale
from modalxai.testing import TableGame
from modalxai.types import Label, Labels, columns

NAMES = "abcd"
TIGHT = 1e-9


@st.composite
def label_sets(draw: st.DrawFn) -> Labels:
    kinds = draw(
        st.lists(st.sampled_from(["categorical", "binary", "dimensional"]), min_size=1, max_size=5)
    )
    if kinds.count("categorical") == 1:
        kinds.append("categorical")
    return tuple(Label(f"l{index}", kind) for index, kind in enumerate(kinds))


@st.composite
def games(draw: st.DrawFn, most_draws: int = 3) -> TableGame:
    count, samples = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    labels = draw(label_sets())
    seed = draw(st.integers(0, 2**31))
    size = draw(st.sampled_from([0.01, 1.0, 30.0]))
    generator = torch.Generator().manual_seed(seed)
    shape = (draw(st.integers(1, most_draws)), 1 << count, samples, len(labels))
    values = torch.randn(shape, generator=generator, dtype=torch.float64) * size
    bits = [[draw(st.booleans()) for _ in range(count)] for _ in range(samples)]
    present = torch.tensor(bits)
    present[:, 0] |= ~present.any(1)  # at least one modality, as the collate sees to
    return TableGame(values, labels, NAMES[:count], present)


def tolerance(explanation: Explanation) -> float:
    return TIGHT * max(1.0, float(explanation.draws.abs().max()))


scales = st.sampled_from(SCALES)


@settings(deadline=None, max_examples=80)
@given(games(), scales)
def test_efficiency(game: TableGame, scale: str) -> None:
    explanation = Explanation.of(game)
    found = explanation.shapley(scale)
    assert found.residual().abs().max() < tolerance(explanation)
    pairs = explanation.interactions(scale)
    total = pairs.totals.sum(-1) + sum(value[..., 0, 0] for value in pairs.pairs.values())
    gap = total - (found.prediction - found.reference)
    # Exact up to order two only; above it 2-SII still sums to the whole.
    assert gap.abs().max() < tolerance(explanation)


@settings(deadline=None, max_examples=80)
@given(games(), scales)
def test_the_mean_gain_over_all_orders(game: TableGame, scale: str) -> None:
    explanation = Explanation.of(game)
    values, count = explanation.values(scale).mean(0), len(game.modalities)
    totals = torch.zeros(*values.shape[1:], count, dtype=torch.float64)
    orders = list(permutations(range(count)))
    for order in orders:
        row = 0
        for player in order:
            totals[..., player] += (values[row | 1 << player] - values[row]) / len(orders)
            row |= 1 << player
    gap = explanation.shapley(scale).totals - totals
    assert gap.abs().max() < tolerance(explanation)


@settings(deadline=None, max_examples=60)
@given(games(), scales)
def test_missing_modalities_are_exactly_zero_and_nothing_is_nan(
    game: TableGame, scale: str
) -> None:
    explanation = Explanation.of(game)
    for found in (
        explanation.shapley(scale),
        explanation.ablation(scale),
        explanation.sufficiency(scale),
        explanation.interactions(scale),
    ):
        gone = ~game.present[:, None].expand(found.totals.shape)
        assert (found.totals[gone] == 0).all()
        assert (found.se[gone] == 0).all()
        for tensor in (found.totals, found.se, found.prediction, found.reference):
            assert tensor.isfinite().all()
        assert (found.se >= 0).all()


@settings(deadline=None, max_examples=60)
@given(games(), st.sampled_from(["clr", "contrast", "log-odds", "probability"]), st.integers(0, 99))
def test_a_shift_of_all_logits_changes_nothing(game: TableGame, scale: str, seed: int) -> None:
    classes = columns(game.labels, "categorical")
    generator = torch.Generator().manual_seed(seed)
    moved = game._table.clone()
    moved[..., classes] += torch.randn(*moved.shape[:-1], 1, generator=generator).double() * 5
    # The rival is chosen by the mean over draws, and every draw shifts by as much.
    moved[:, -1][..., classes] = game._table[:, -1][..., classes] + 3
    other = TableGame(moved, game.labels, game.modalities, game.present)
    one, two = Explanation.of(game), Explanation.of(other)
    gap = one.shapley(scale).totals - two.shapley(scale).totals
    assert gap.abs().max() < 10 * tolerance(two)


@settings(deadline=None, max_examples=60)
@given(games(), scales, st.randoms())
def test_permuting_labels_modalities_and_samples(game: TableGame, scale: str, random) -> None:
    count, samples, kinds = len(game.modalities), len(game.sample_ids), len(game.labels)
    label_order, order, rows = list(range(kinds)), list(range(count)), list(range(samples))
    for each in (label_order, order, rows):
        random.shuffle(each)
    bits = [
        sum((row >> new & 1) << old for new, old in enumerate(order)) for row in range(1 << count)
    ]
    values = game._table[:, bits][:, :, rows][..., label_order]
    other = TableGame(
        values,
        [game.labels[k] for k in label_order],
        [game.modalities[m] for m in order],
        game.present[rows][:, order],
        [game.sample_ids[b] for b in rows],
    )
    one, two = Explanation.of(game), Explanation.of(other)
    expected = one.shapley(scale).totals[rows][:, label_order][..., order]
    assert (two.shapley(scale).totals - expected).abs().max() < tolerance(one)


@settings(deadline=None, max_examples=60)
@given(games(most_draws=1), st.integers(0, 99), st.floats(-2, 2), st.floats(-2, 2))
def test_linearity_on_linear_scales(
    game: TableGame, seed: int, first: float, second: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(game._table.shape, generator=generator).double()

    def totals(table: Tensor) -> Tensor:
        game_of = TableGame(table, game.labels, game.modalities, game.present)
        return Explanation.of(game_of).shapley("clr").totals

    mixed = totals(first * game._table + second * values)
    gap = mixed - (first * totals(game._table) + second * totals(values))
    assert gap.abs().max() < 1e-7


@settings(deadline=None, max_examples=60)
@given(games(), scales, st.integers(0, 3))
def test_a_modality_that_changes_nothing_gets_exactly_nothing(
    game: TableGame, scale: str, player: int
) -> None:
    player %= len(game.modalities)
    rows = torch.arange(1 << len(game.modalities)) & ~(1 << player)
    deaf = TableGame(game._table[:, rows], game.labels, game.modalities, game.present)
    explanation = Explanation.of(deaf)
    # Vector units may round the exponentials of equal rows differently, by their place in memory.
    most = 1e-14 if scale in ("probability", "log-odds") else 0.0
    most *= float(explanation.draws.abs().max())
    assert explanation.shapley(scale).totals[..., player].abs().max() <= most
    assert explanation.ablation(scale).totals[..., player].abs().max() <= most
    for pair, value in explanation.interactions(scale).pairs.items():
        if game.modalities[player] in pair:
            assert value.abs().max() <= 4 * most


@settings(deadline=None, max_examples=60)
@given(games())
def test_conflict_stays_in_its_ranges(game: TableGame) -> None:
    explanation = Explanation.of(game)
    if not columns(game.labels, "categorical"):
        return
    found = explanation.conflict()
    divergence = found.divergence.nan_to_num(0.5)
    assert ((divergence >= 0) & (divergence <= 1)).all()
    cancellation = found.cancellation.nan_to_num(0.5)
    assert ((cancellation > -TIGHT) & (cancellation <= 1)).all()
    assert (found.leading[~game.present] == -1).all()
    clr = on_scale(explanation.draws, explanation.labels, "clr")[
        ..., columns(game.labels, "categorical")
    ]
    for n, m in ((found.leading == -1) & game.present).nonzero().tolist():  # two labels tie
        gains = (clr[:, 1 << m, n] - clr[:, 0, n]).mean(0).sort().values
        assert gains[-1] - gains[-2] < tolerance(explanation)
    assert (found.decision.isnan() == ~found.disagree).all()
    for p, (first, second) in enumerate(found.pairs):
        both = game.present[:, game.modalities.index(first)]
        both = both & game.present[:, game.modalities.index(second)]
        assert (found.divergence[:, p].isnan() == ~both).all()
    raw = explanation.draws[..., columns(game.labels, "categorical")].mean(0)
    for n, p in found.disagree.nonzero().tolist():
        i, j = (game.modalities.index(name) for name in found.pairs[p])
        contrast = raw[:, n, found.leading[n, i]] - raw[:, n, found.leading[n, j]]
        gap = found.evidence[n, p].sum() - (contrast[-1] - contrast[0])
        assert abs(gap) < tolerance(explanation)


@settings(deadline=None, max_examples=30)
@given(games(), scales)
def test_parts_merge_to_the_whole(game: TableGame, scale: str) -> None:
    whole = Explanation.of(game)
    parts = [
        Explanation.of(
            TableGame(
                game._table[:, :, [row]],
                game.labels,
                game.modalities,
                game.present[[row]],
                [game.sample_ids[row]],
            )
        )
        for row in range(len(game.sample_ids))
    ]
    merged = Explanation.merge(parts)
    assert torch.equal(merged.draws, whole.draws)
    gap = merged.shapley(scale).totals - whole.shapley(scale).totals
    assert gap.abs().max() < tolerance(whole)

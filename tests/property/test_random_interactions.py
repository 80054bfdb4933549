"""Invariants of science.md 3 for interactions, dividends, Banzhaf values and shares."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.property.test_random_games import games, scales, tolerance
from torch import Tensor

from modalxai.attribution import Explanation, indices
from modalxai.attribution.interaction_types import KINDS
from modalxai.testing import TableGame, oracles
from modalxai.types import columns

EFFICIENT = ("2-SII", "STII", "FSII")
indices_of_order_two = st.sampled_from((*EFFICIENT, "SII", "FBII"))


@st.composite
def tables(draw: st.DrawFn, most: int = 6) -> Tensor:
    count, seed = draw(st.integers(1, most)), draw(st.integers(0, 2**31))
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1 << count, 2, generator=generator, dtype=torch.float64)


@settings(deadline=None, max_examples=60)
@given(tables(), st.sampled_from(indices.INDICES), st.integers(1, 4))
def test_every_index_is_linear_in_the_dividends_above_a_set(
    v: Tensor, index: str, order: int
) -> None:
    """What a set gets depends on the dividends of its supersets alone."""
    m = indices.moebius(v)
    for players, value in indices.interaction_terms(v, index, order).items():
        own = sum(1 << player for player in players)
        above = torch.tensor([row & own == own for row in range(len(v))])
        other = indices.zeta(m * above[:, None])
        again = indices.interaction_terms(other, index, order)[players]
        torch.testing.assert_close(value, again, rtol=0, atol=1e-9)


@settings(deadline=None, max_examples=60)
@given(tables(5), st.sampled_from(indices.INDICES), st.integers(1, 3), st.integers(0, 5))
def test_one_more_player_who_changes_nothing_changes_nothing(
    v: Tensor, index: str, order: int, place: int
) -> None:
    place %= indices.players_of(v) + 1
    rows = torch.arange(2 * len(v))
    low = (1 << place) - 1
    more = v[(rows >> 1 & ~low) | (rows & low)]
    before = indices.interaction_terms(v, index, order)
    for players, value in indices.interaction_terms(more, index, order).items():
        if place in players:
            assert (value == 0).all()
        else:
            same = tuple(player - (player > place) for player in players)
            torch.testing.assert_close(value, before[same], rtol=0, atol=1e-9)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 7), st.integers(0, 999), st.data())
def test_random_sums_have_their_known_values(count: int, seed: int, data: st.DataObject) -> None:
    oracle = oracles.random_sum(count, 2 * count, seed)
    v = oracle.values
    torch.testing.assert_close(indices.shapley(v).T, oracle.shapley(), rtol=0, atol=1e-9)
    for (i, j), value in indices.pair_interactions(v).items():
        torch.testing.assert_close(value, oracle.interaction(i, j), rtol=0, atol=1e-9)
    first = data.draw(st.integers(1, count))
    units = {"text": first, "audio": count - first} if first < count else {"text": count}
    sums = torch.stack(
        [part.sum() for part in oracle.owen([*units.values()]).split([*units.values()])]
    )
    totals = Explanation.of(oracle.game(units)).shapley().totals[0, 0]
    torch.testing.assert_close(totals, sums, rtol=0, atol=1e-9)


@settings(deadline=None, max_examples=60)
@given(games(), scales, indices_of_order_two)
def test_interactions_keep_their_promises(game: TableGame, scale: str, index: str) -> None:
    explanation = Explanation.of(game)
    close = tolerance(explanation)
    found = explanation.interactions(scale, index=index)
    pairs = sum(found.pairs.values(), torch.zeros(1, 1, 1, 1))[..., 0, 0]
    if index in EFFICIENT:
        assert (found.residual() - pairs).abs().max() < close
    gone = ~game.present[:, None].expand(found.totals.shape)
    assert (found.totals[gone] == 0).all()
    for (first, second), value in found.pairs.items():
        both = [game.modalities.index(name) for name in (first, second)]
        assert (value[~game.present[:, both].all(1)] == 0).all()
    classes = columns(game.labels, "categorical")
    if classes and scale in ("clr", "probability"):
        for tensor in (found.totals, *found.pairs.values()):
            assert tensor[:, classes].sum(1).abs().max() < close


@settings(deadline=None, max_examples=60)
@given(games(most_draws=1), scales, indices_of_order_two, st.randoms())
def test_permuting_modalities_permutes_interactions(
    game: TableGame, scale: str, index: str, random
) -> None:
    count = len(game.modalities)
    order = list(range(count))
    random.shuffle(order)
    bits = [
        sum((row >> new & 1) << old for new, old in enumerate(order)) for row in range(1 << count)
    ]
    other = TableGame(
        game._table[:, bits],
        game.labels,
        [game.modalities[m] for m in order],
        game.present[:, order],
    )
    one = Explanation.of(game).interactions(scale, index=index)
    two = Explanation.of(other).interactions(scale, index=index)
    close = tolerance(Explanation.of(game))
    assert (two.totals - one.totals[..., order]).abs().max() < close
    for (first, second), value in two.pairs.items():
        same = one.pairs.get((first, second), one.pairs.get((second, first)))
        assert (value - same).abs().max() < close


@settings(deadline=None, max_examples=60)
@given(games(), scales)
def test_dividends_sum_to_the_prediction(game: TableGame, scale: str) -> None:
    explanation = Explanation.of(game)
    found, whole = explanation.moebius(scale), explanation.shapley(scale)
    gap = found.values.sum(-1) - whole.prediction
    assert gap.abs().max() < tolerance(explanation)
    # Shapley values share each dividend equally (science.md 2.4).
    for m, name in enumerate(game.modalities):
        shared = sum(
            found.values[..., c] / len(names)
            for c, names in enumerate(found.coalitions)
            if name in names
        )
        gap = (shared - whole.totals[..., m]) * game.present[:, [m]]
        assert gap.abs().max() < tolerance(explanation)
    shares = found.interaction_share()
    assert ((shares >= 0) & (shares <= 1) | shares.isnan()).all()


@settings(deadline=None, max_examples=60)
@given(games(), st.sampled_from(["clr", "contrast", "log-odds", "probability"]))
def test_a_shift_of_all_logits_moves_no_answer(game: TableGame, scale: str) -> None:
    classes = columns(game.labels, "categorical")
    moved = game._table.clone()
    moved[..., classes] += 3.0
    other = TableGame(moved, game.labels, game.modalities, game.present)
    one, two = Explanation.of(game), Explanation.of(other)
    close = 10 * tolerance(two)
    assert (one.banzhaf(scale).totals - two.banzhaf(scale).totals).abs().max() < close
    gap = one.moebius(scale).values - two.moebius(scale).values
    assert gap.abs().max() < close
    if classes:
        assert torch.equal(one.flips(), two.flips())


@settings(deadline=None, max_examples=60)
@given(games(), scales)
def test_shares_stay_in_their_ranges(game: TableGame, scale: str) -> None:
    explanation = Explanation.of(game)
    found = explanation.magnitude_shares(scale)
    nowhere = found.magnitude.isnan()
    assert torch.equal(nowhere.any(-1), nowhere.all(-1))
    reasons = torch.tensor([[bool(reason) for reason in row] for row in found.reasons])
    assert torch.equal(reasons, nowhere.all(-1))
    assert torch.equal(reasons, ~(found.evidence > found.floor))
    kept = found.magnitude[~reasons]
    assert ((kept >= 0) & (kept <= 1)).all()
    assert (kept.sum(-1) - 1).abs().sum() < 1e-9 * max(1, len(kept))
    cancelled = found.cancellation[~reasons]
    assert ((cancelled >= 0) & (cancelled <= 1)).all()
    assert found.cancellation[reasons].isnan().all()
    # Where a net share exists it is the share of the magnitudes.
    both = ~found.net.isnan()
    assert (found.net[both] - found.magnitude[both]).abs().sum() < 1e-6
    for side in explanation.for_against(scale):
        sums = side.sum(-1)
        assert (sums.isnan() | ((sums - 1).abs() < 1e-9)).all()


@settings(deadline=None, max_examples=40)
@given(games(), scales)
def test_types_are_types_and_modalities_may_be_swapped(game: TableGame, scale: str) -> None:
    found = Explanation.of(game).interaction_types(scale)
    order = list(reversed(range(len(game.modalities))))
    bits = [
        sum((row >> new & 1) << old for new, old in enumerate(order))
        for row in range(1 << len(order))
    ]
    other = TableGame(
        game._table[:, bits], game.labels, [*reversed(game.modalities)], game.present.flip(1)
    )
    swapped = Explanation.of(other).interaction_types(scale)
    assert ((found.kinds >= -1) & (found.kinds < len(KINDS))).all()
    for p, (first, second) in enumerate(found.pairs):
        q = swapped.pairs.index((second, first))
        clear = ((found.interaction.abs() - found.tolerance).abs() > 1e-6)[..., p, :]
        same = found.kinds[..., p, :] == swapped.kinds[..., q, :]
        assert (same | ~clear).float().mean() > 0.99

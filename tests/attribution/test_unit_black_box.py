"""Words of a black box: its budget counts rows of the function, whose answer is known here."""

from __future__ import annotations

import itertools
from math import factorial
from typing import Any

import pytest
import torch
from torch import Tensor

import modalxai as mx
from modalxai.attribution import UnitShapley
from modalxai.errors import InputError

LABELS = mx.labels("valence", kind="dimensional")
PLAYERS = {"a": "word", "b": "word"}


class Function:
    """A sum over sets of words, wherever they stand: v(S) = sum of the weights of sets in S."""

    def __init__(self, sizes: tuple[int, int], seed: int, sets: int = 30) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.words = [f"{name}{i}" for name, n in zip("ab", sizes, strict=True) for i in range(n)]
        weights = torch.randn(sets, generator=draw)
        self.terms = {}
        for weight in weights.tolist():
            size = int(torch.randint(1, 4, (), generator=draw))
            chosen = torch.randperm(len(self.words), generator=draw)[:size].tolist()
            self.terms[frozenset(self.words[i] for i in chosen)] = weight
        self.rows = 0

    def __call__(self, samples: list[dict[str, Any]]) -> list[list[float]]:
        self.rows += len(samples)
        return [[self.score(sample)] for sample in samples]

    def score(self, sample: dict[str, Any]) -> float:
        there = set(f"{sample.get('a') or ''} {sample.get('b') or ''}".split())
        return sum(weight for chosen, weight in self.terms.items() if chosen <= there)

    def shapley(self) -> Tensor:
        """A set's weight is divided among its words."""
        shares = dict.fromkeys(self.words, 0.0)
        for chosen, weight in self.terms.items():
            for word in chosen:
                shares[word] += weight / len(chosen)
        return torch.tensor([shares[word] for word in self.words], dtype=torch.float64)

    def game(self) -> mx.CallableGame:
        sample = {name: " ".join(w for w in self.words if w[0] == name) for name in "ab"}
        return mx.CallableGame(self, [{"id": "u", **sample}], labels=LABELS, modalities=("a", "b"))


def flat(found: Any) -> Tensor:
    return torch.cat([found.units["a"][0, 0], found.units["b"][0, 0]])


def test_all_coalitions_give_the_permutation_mean_and_cost_a_row_each():
    function = Function((3, 4), 0)
    found = UnitShapley(PLAYERS).attribute(function.game())
    assert function.rows <= 2**7 + 2
    by_hand = torch.zeros(7, dtype=torch.float64)
    for order in itertools.permutations(range(7)):
        before = 0.0
        for place in range(7):
            kept = {function.words[i] for i in order[: place + 1]}
            after = sum(w for chosen, w in function.terms.items() if chosen <= kept)
            by_hand[order[place]] += (after - before) / factorial(7)
            before = after
    torch.testing.assert_close(flat(found), by_hand, atol=1e-4, rtol=0)
    torch.testing.assert_close(by_hand, function.shapley(), atol=1e-4, rtol=0)
    assert (found.unit_se["a"] == 0).all()


@pytest.mark.parametrize("budget", [100, 500])
def test_a_sample_keeps_to_the_budget_and_is_honest_about_its_error(budget: int):
    inside, total, gaps = 0, 0, []
    for seed in range(12):
        function = Function((9, 11), seed)
        found = UnitShapley(PLAYERS, budget=budget, seed=seed).attribute(function.game())
        assert function.rows <= budget + 4  # the corners of the modalities
        error = (flat(found) - function.shapley()).abs()
        se = torch.cat([found.unit_se["a"][0, 0], found.unit_se["b"][0, 0]])
        inside += int((error <= 1.96 * se + 1e-6).sum())
        total += len(error)
        gaps.append(float(error.norm() / function.shapley().norm()))
        assert found.residual().abs().max() < 1e-4
        sums = torch.stack([found.units[name][0, 0].sum() for name in "ab"])
        torch.testing.assert_close(found.totals[0, 0], sums, atol=1e-5, rtol=1e-5)
        assert (found.se > 0).all()
    assert inside / total > 0.9
    assert sorted(gaps)[6] < {100: 0.6, 500: 0.2}[budget]


def test_too_small_a_budget_is_refused():
    with pytest.raises(InputError, match="at least 82 encoder rows"):
        UnitShapley(PLAYERS, budget=60).attribute(Function((9, 11), 0).game())


def test_a_missing_modality_has_no_players():
    function = Function((4, 3), 3)
    sample = {"id": "u", "a": " ".join(function.words[:4])}
    game = mx.CallableGame(function, [sample], labels=LABELS, modalities=("a", "b"))
    found = UnitShapley(PLAYERS).attribute(game)
    alone = {c: w for c, w in function.terms.items() if all(word[0] == "a" for word in c)}
    expected = [sum(w / len(c) for c, w in alone.items() if word in c) for word in function.words]
    torch.testing.assert_close(
        found.units["a"][0, 0], torch.tensor(expected[:4], dtype=torch.float64), atol=1e-5, rtol=0
    )
    assert found.totals[0, 0, 1] == 0

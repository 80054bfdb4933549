from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax
from toys import MIXED

from modalxai.attribution import Explanation
from modalxai.errors import InputError
from modalxai.testing import TableGame
from modalxai.types import labels

CLASSES = 3


def explained(
    count: int = 2, samples: int = 40, draws: int = 1, present: torch.Tensor | None = None
) -> Explanation:
    values = torch.randn(draws, 1 << count, samples, len(MIXED), dtype=torch.float64) * 2
    return Explanation.of(TableGame(values, MIXED, "abc"[:count], present))


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("draws", [1, 3])
def test_every_number_is_its_slow_formula(count: int, draws: int) -> None:
    explanation = explained(count, draws=draws)
    found = explanation.conflict()
    raw = explanation.draws[..., :CLASSES].numpy()
    clr = raw - raw.mean(-1, keepdims=True)
    shapley = explanation.shapley().totals[:, :CLASSES].numpy()
    assert found.pairs == tuple(combinations(explanation.modalities, 2))
    assert found.labels == MIXED[:CLASSES]
    opposed_anywhere = agreed_anywhere = False
    for n in range(len(found.sample_ids)):
        gain = [(clr[:, 1 << m, n] - clr[:, 0, n]).mean(0) for m in range(count)]
        leading = [int(np.argmax(one)) for one in gain]
        assert found.leading[n].tolist() == leading
        rest = [1 - abs(shapley[n, c].sum()) / np.abs(shapley[n, c]).sum() for c in range(CLASSES)]
        np.testing.assert_allclose(found.cancellation[n], rest, atol=1e-12)
        for p, (i, j) in enumerate(combinations(range(count), 2)):
            distance = np.mean(
                [
                    jensenshannon(softmax(raw[r, 1 << i, n]), softmax(raw[r, 1 << j, n]), base=2)
                    ** 2
                    for r in range(draws)
                ]
            )
            assert found.divergence[n, p].item() == pytest.approx(distance, abs=1e-9)
            opposite = shapley[n, :, i] * shapley[n, :, j] < 0
            assert found.opposed[n, :, p].tolist() == opposite.tolist()
            differ = leading[i] != leading[j]
            assert bool(found.disagree[n, p]) == differ
            opposed_anywhere |= differ
            agreed_anywhere |= not differ
            if not differ:
                assert found.decision[n, p].isnan()
                assert found.evidence[n, p].isnan().all()
                continue
            contrast = (raw[:, :, n, leading[i]] - raw[:, :, n, leading[j]]).mean(0)
            assert found.decision[n, p].item() == pytest.approx(contrast[-1])
            assert found.evidence[n, p].sum().item() == pytest.approx(contrast[-1] - contrast[0])
    assert opposed_anywhere
    assert agreed_anywhere


def test_two_answers_from_the_prior_alone_do_not_count_as_agreement() -> None:
    """The prior says neutral by far; each modality moves towards its own label, a little."""
    found = labels("neutral", "anger", "joy")
    values = torch.tensor([[5.0, 0, 0], [5, 1, 0], [5, 0, 1], [5, 1, 1]])[:, None]
    conflict = Explanation.of(TableGame(values, found, ("text", "audio"))).conflict()
    assert values[1:3, 0].argmax(-1).tolist() == [0, 0]  # both say neutral
    assert conflict.leading.tolist() == [[1, 2]]
    assert conflict.disagree.tolist() == [[True]]


def test_the_sign_of_the_decision_names_the_winner() -> None:
    found = labels("anger", "joy")
    # Text adds 2 to anger, audio adds 3 to joy.
    values = torch.tensor([[0.0, 0], [2, 0], [0, 3], [2, 3]])[:, None]
    conflict = Explanation.of(TableGame(values, found, ("text", "audio"))).conflict()
    assert conflict.decision.item() == pytest.approx(-1)
    assert conflict.evidence[0, 0].tolist() == pytest.approx([2, -3])
    assert conflict.opposed.all()
    assert conflict.cancellation[0].tolist() == pytest.approx([1 - 1 / 5] * 2)


def test_cancellation_is_zero_when_aligned_and_one_at_a_stalemate() -> None:
    found = labels("anger", "joy")
    same = torch.tensor([[0.0, 0], [2, 0], [3, 0], [5, 0]])
    against = torch.tensor([[0.0, 0], [2, 0], [0, 2], [2, 2]])
    nothing = torch.zeros(4, 2)
    values = torch.stack([same, against, nothing], dim=1)
    cancellation = Explanation.of(TableGame(values, found, "ab")).conflict().cancellation
    assert cancellation[0].tolist() == pytest.approx([0, 0])
    assert cancellation[1].tolist() == pytest.approx([1, 1])
    assert cancellation[2].isnan().all()


def test_divergence_reaches_both_ends() -> None:
    found = labels("anger", "joy")
    values = torch.zeros(4, 2, 2)
    values[1, 0], values[2, 0] = torch.tensor([400.0, 0]), torch.tensor([0.0, 400])
    divergence = Explanation.of(TableGame(values, found, "ab")).conflict().divergence
    assert divergence[:, 0].tolist() == pytest.approx([1, 0])


def test_a_missing_modality_takes_part_in_nothing() -> None:
    present = torch.tensor([[True, True, False], [True, False, True], [False, True, True]])
    present = present.repeat(20, 1)
    explanation = explained(3, 60, present=present)
    found = explanation.conflict()
    assert ((found.leading == -1) == ~present).all()
    for p, (i, j) in enumerate(combinations(range(3), 2)):
        both = present[:, i] & present[:, j]
        assert (found.divergence[:, p].isnan() == ~both).all()
        assert not found.disagree[~both, p].any()
        assert found.disagree[both, p].any()
        assert not found.opposed[~both, :, p].any()
        assert found.decision[~both, p].isnan().all()
        third = ({0, 1, 2} - {i, j}).pop()
        assert (found.evidence[found.disagree[:, p], p, third] == 0).all()


def test_a_missing_modality_has_exactly_no_evidence_whatever_rounding_says() -> None:
    """A game whose rows differ by rounding where a modality is missing, as chunks may."""
    game = TableGame(torch.randn(8, 30, len(MIXED)), MIXED, "abc")
    present = torch.tensor([[True, True, False]]).expand(30, 3)
    explanation = Explanation.of(game)
    noisy = explanation.draws.clone()
    noisy[:, 4:] = noisy[:, :4] + 1e-6
    found = type(explanation)(
        explanation.sample_ids, MIXED, explanation.modalities, present, noisy,
        explanation.targets, {}, explanation.provenance,
    ).conflict()  # fmt: skip
    differ = found.disagree[:, 0]
    assert differ.any()
    assert (found.evidence[differ, 0, 2] == 0).all()


def test_one_modality_has_no_pairs() -> None:
    values = torch.randn(2, 3, 2)
    found = Explanation.of(TableGame(values, labels("a", "b"), "x")).conflict()
    assert found.pairs == ()
    assert found.divergence.shape == (3, 0)
    assert found.opposed.shape == (3, 2, 0)
    assert found.evidence.shape == (3, 0, 1)


def test_without_classes_there_is_no_conflict_to_find() -> None:
    values = torch.randn(4, 3, 1)
    with pytest.raises(InputError, match="there are none"):
        Explanation.of(TableGame(values, labels("v", kind="dimensional"), "xy")).conflict()

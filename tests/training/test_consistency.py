from __future__ import annotations

import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader
from toys import Rows, speech_model, speech_samples

from modalxai.errors import InputError
from modalxai.training import (
    ConsistencyCollate,
    ConsistencyLoss,
    ConsistencyObjective,
    EmotionLoss,
    Objective,
)
from modalxai.types import Prediction, labels

CLASSES = labels("anger", "joy", "neutral")
TAGS = labels("sarcasm", "crying", kind="binary")
NUMBERS = labels("valence", kind="dimensional")
MIXED = (TAGS[0], CLASSES[0], NUMBERS[0], CLASSES[1], TAGS[1], CLASSES[2])
LABELS = {"anger": 1, "tired": 0, "valence": 0.3}


def kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def oracle(gold, other, direction) -> float:
    """Row by row from the definition, with Python numbers."""
    if direction == "symmetric":
        both = ("gold||recognised", "recognised||gold")
        return sum(oracle(gold, other, one) for one in both) / 2
    if direction == "recognised||gold":
        gold, other = other, gold
    classes, tags = 0.0, 0.0
    for s, t in zip(gold.tolist(), other.tolist(), strict=True):
        softmax = []
        for row in (s, t):
            e = [math.exp(row[k]) for k in (1, 3, 5)]
            softmax.append([each / sum(e) for each in e])
        classes += kl(*softmax) / len(gold)
        for k in (0, 4):
            p, q = (1 / (1 + math.exp(-row[k])) for row in (s, t))
            tags += kl([p, 1 - p], [q, 1 - q]) / (2 * len(gold))
    return classes + tags


@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 4),
    direction=st.sampled_from(["gold||recognised", "recognised||gold", "symmetric"]),
)
@settings(max_examples=40, deadline=None)
def test_the_divergence_equals_its_definition(seed, rows, direction):
    draw = torch.Generator().manual_seed(seed)
    gold, other = (2 * torch.randn(rows, 6, generator=draw) for _ in range(2))
    found = ConsistencyLoss(direction)(Prediction(gold, MIXED), Prediction(other, MIXED))
    assert found.item() == pytest.approx(oracle(gold, other, direction), rel=1e-4, abs=1e-6)


def test_equal_predictions_diverge_by_nothing_and_pull_nothing():
    scores = torch.randn(4, 6, requires_grad=True)
    loss = ConsistencyLoss()(Prediction(scores, MIXED), Prediction(scores.detach(), MIXED))
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-7)
    assert scores.grad.abs().max() < 1e-6


@pytest.mark.parametrize("stop", [None, "gold", "recognised"])
def test_stop_gradient_moves_the_other_path_only(stop):
    gold, other = (torch.randn(4, 6, requires_grad=True) for _ in range(2))
    loss = ConsistencyLoss(stop_gradient=stop)(Prediction(gold, MIXED), Prediction(other, MIXED))
    loss.backward()
    assert (gold.grad is None) == (stop == "gold")
    assert (other.grad is None) == (stop == "recognised")


def test_sure_scores_stay_finite():
    gold = torch.tensor([[300.0, -300.0, 0.0, 300.0, -300.0, 0.0]], requires_grad=True)
    loss = ConsistencyLoss()(Prediction(gold, MIXED), Prediction(-gold, MIXED))
    loss.backward()
    assert loss.isfinite()
    assert gold.grad.isfinite().all()


def test_what_cannot_be_compared_is_refused():
    one = Prediction(torch.zeros(2, 1), NUMBERS)
    with pytest.raises(InputError, match="distribution"):
        ConsistencyLoss()(one, one)
    with pytest.raises(InputError, match="compared"):
        ConsistencyLoss()(
            Prediction(torch.zeros(2, 3), CLASSES), Prediction(torch.zeros(3, 3), CLASSES)
        )
    for wrong in ({"direction": "both"}, {"stop_gradient": "text"}):
        with pytest.raises(InputError, match="one of"):
            ConsistencyLoss(**wrong)


def samples(count: int = 4) -> list[dict]:
    heard = ["so fat", "참 자랬다", None, "what a lonely day"]
    return [
        sample | {"labels": LABELS, "recognised": text}
        for sample, text in zip(speech_samples(count), heard, strict=False)
    ]


def make(weight: float = 1.0, dropout: float = 0.0, **settings):
    model = speech_model()
    model.modality_dropout = dropout
    step = ConsistencyObjective(model, EmotionLoss(model.labels), weight, **settings)
    return step, ConsistencyCollate(model.collate)


def test_the_audio_is_encoded_once_per_step_and_the_text_twice():
    step, collate = make()
    batch = collate(samples())
    calls = []
    step.model.encoders["audio"].register_forward_hook(lambda *_: calls.append("audio"))
    with Rows(step.model) as rows:
        step(**batch)["loss"].backward()
    assert rows.encoded == {"audio": 4, "text": 8}
    assert calls == ["audio"]


@pytest.mark.parametrize("weight", [0.0, 1.0, 2.5])
def test_the_loss_is_the_golden_one_plus_the_weighted_divergence_of_two_whole_runs(weight):
    step, collate = make(weight)
    step.eval()
    batch = collate(samples())
    said = step.model(batch)
    heard = step.model(type(batch)(batch | {"text": batch["recognised"]}))
    expected = EmotionLoss()(said, batch.targets) + weight * ConsistencyLoss()(said, heard)
    found = step(**batch)
    torch.testing.assert_close(found["loss"], expected)
    torch.testing.assert_close(found["scores"], said.scores)
    assert set(found) == {"loss", "scores"}


def test_both_paths_draw_the_same_modality_dropout_and_dropout():
    step, collate = make(dropout=0.5)
    same = [sample | {"recognised": sample["text"]} for sample in samples(4)]
    step.train()
    step.model.encoders.eval()  # their dropout is their own, once per text
    batch = collate(same)
    seen = []
    step.divergence.register_forward_pre_hook(lambda _, args: seen.append(args))
    for _ in range(3):
        step(**batch)
    for gold, recognised in seen:
        assert torch.equal(gold.scores, recognised.scores)
    assert not torch.equal(seen[0][0].scores, seen[1][0].scores)  # and others in the next step


def test_gradients_reach_every_weight_of_the_encoders():
    step, collate = make()
    step(**collate(samples()))["loss"].backward()
    assert all(weight.grad is not None for weight in step.model.encoders.parameters())


def test_recognised_text_is_collated_as_a_text_and_comes_before_the_ids():
    step, collate = make()
    batch = collate(samples())
    assert list(batch)[:3] == ["audio", "text", "recognised"]
    assert list(batch)[-1] == "ids"
    alone = step.model.encoder("text").collate([sample["recognised"] for sample in samples()])
    assert all(torch.equal(batch["recognised"][key], value) for key, value in alone.items())
    assert not batch["recognised"]["attention_mask"][2].any()
    assert torch.equal(
        batch["text"]["input_ids"], step.model.collate(samples())["text"]["input_ids"]
    )


def test_the_collate_works_in_loader_workers():
    step, collate = make()
    step.eval()
    again = pickle.loads(pickle.dumps(collate))
    losses = [
        [
            step(**batch)["loss"].item()
            for batch in DataLoader(samples(), 2, collate_fn=one, num_workers=count)
        ]
        for one, count in ((collate, 0), (again, 2))
    ]
    assert losses[0] == losses[1]


def test_mistakes_are_named():
    step, collate = make()
    with pytest.raises(InputError, match=r"sample 'u1', recognised"):
        collate([samples()[0], samples()[1] | {"recognised": "  "}])
    with pytest.raises(InputError, match=r"without \['recognised'\]"):
        step(**step.model.collate(samples()))
    with pytest.raises(InputError, match="no targets"):
        step(**{key: value for key, value in collate(samples()).items() if key != "targets"})
    batch = collate(samples())
    batch["targets"][0][1, 0] = 7
    with pytest.raises(InputError, match="sample 'u1'"):
        step(**batch)
    model = step.model
    for wrong in ({"text": "words"}, {"recognised": "audio"}, {"recognised": "ids"}):
        with pytest.raises(InputError, match="does not fit"):
            ConsistencyObjective(model, EmotionLoss(), **wrong)
        with pytest.raises(InputError, match="does not fit"):
            ConsistencyCollate(model.collate, **wrong)
    for weight in (-1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="weight"):
            ConsistencyObjective(model, EmotionLoss(), weight)


def test_training_draws_the_paths_together():
    torch.manual_seed(0)
    step, collate = make(weight=20.0)
    step.model.encoders.requires_grad_(False)
    batch = collate(samples())
    gap = step.divergence(*_paths(step, batch)).item()
    optimizer = torch.optim.Adam(step.model.fusion.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        step(**batch)["loss"].backward()
        optimizer.step()
    assert step.divergence(*_paths(step, batch)).item() < gap / 2


def _paths(step, batch):
    with torch.no_grad():
        step.eval()
        gold = step.model(batch)
        heard = step.model(type(batch)(batch | {"text": batch["recognised"]}))
        step.train()
    return gold, heard


def test_it_is_an_objective_for_whoever_wraps_one():
    step, _ = make()
    assert isinstance(step, Objective)
    assert step.accepts_loss_kwargs is False

"""A planted shortcut, found by a report, trained against, and seen to be gone."""

from __future__ import annotations

import math

import pytest
import torch
from toys import MIXED, VectorEncoder, vector_model, vector_samples

import modalxai as mx
from modalxai.errors import InputError
from modalxai.fusion import ShallowFusion
from modalxai.report import Report, compare, find_bias
from modalxai.training import BalancedEvidence, ClassModalityDropout, EmotionLoss, Objective
from modalxai.types import Targets

NAMES = ("anger", "joy", "fear")
EVEN = {"anger": {"text": 0.5, "audio": 0.5}}


def _samples(count: int, seed: int) -> list[dict]:
    """Both modalities tell every label; anger is shouted, which is far easier to hear than read."""
    draw = torch.Generator().manual_seed(seed)
    samples = []
    for index in range(count):
        label = int(torch.randint(3, (), generator=draw))
        one = torch.zeros(1, 4)
        one[0, label] = 1.0
        audio, text = (one * 6, one / 2) if label == 0 else (one, one)
        samples.append(
            {
                "id": f"{seed}-{index}",
                "audio": audio + 0.3 * torch.randn(1, 4, generator=draw),
                "text": text + 0.3 * torch.randn(1, 4, generator=draw),
                "labels": {NAMES[label]: 1},
                "speaker": f"s{seed}-{index % 30}",
            }
        )
    return samples


class _Linear(VectorEncoder):
    def forward(self, inputs):
        found = super().forward(inputs)
        return mx.Features(
            self.layer(inputs["values"]) * found.mask[..., None], found.mask, found.spans
        )


def _trained(objective=Objective, *settings, steps: int = 150, **options) -> mx.EmotionModel:
    torch.manual_seed(0)
    encoders = {"text": _Linear(4, 8), "audio": _Linear(4, 8)}
    fusion = ShallowFusion({"text": 8, "audio": 8}, mx.labels(*NAMES), hidden=16, dropout=0.0)
    model = mx.EmotionModel(encoders, fusion, modality_dropout=0.1)
    batch = model.collate(_samples(240, seed=1))
    step = objective(model, EmotionLoss(), *settings, **options)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        step(**batch)["loss"].backward()
        optimizer.step()
    return model.eval()


def _report(model: mx.EmotionModel) -> Report:
    return Report(mx.explain(model, _samples(240, seed=2), batch_size=240), by="true", repeats=300)


@pytest.fixture(scope="module")
def before() -> Report:
    with torch.random.fork_rng(devices=[]):
        return _report(_trained())


def _accuracy(report: Report) -> float:
    return report.chance().skills[0].model.others["accuracy"]


def test_the_planted_bias_is_found(before):
    found = {(one.label, one.modality): one for one in find_bias(before, EVEN)}
    assert found["anger", "audio"].differs
    assert found["anger", "audio"].difference > 0.1
    assert {one.label for one in find_bias(before) if one.differs} >= {"anger"}


def test_balanced_evidence_removes_it_and_keeps_the_skill(before):
    after = _report(_trained(BalancedEvidence, EVEN, weight=5.0))
    share = after.shares()[0].share["audio"]
    assert abs(share - 0.5) < 0.05
    change = compare(before, after)[1]
    assert (change.label, change.modality) == ("anger", "audio")
    assert change.differs
    assert change.high < -0.1
    assert _accuracy(after) > _accuracy(before) - 0.03
    page = after.html(before=before)
    assert "Before and after" in page
    assert "anger" in page


def test_class_dropout_moves_the_share_the_same_way(before):
    after = _report(_trained(ClassModalityDropout, {"anger": {"audio": 0.7}}))
    change = compare(before, after)[1]
    assert change.differs
    assert change.high < 0
    assert _accuracy(after) > _accuracy(before) - 0.03


def test_the_penalty_is_the_distance_of_the_reports_shares():
    model = _trained(steps=20)
    samples = _samples(60, seed=5)
    batch = model.collate(samples)
    wanted = {"anger": {"text": 0.3, "audio": 0.7}, "fear": {"text": 1.0, "audio": 0.0}}
    step = BalancedEvidence(model, EmotionLoss(), wanted, weight=3.0).eval()
    found = step(**batch)
    report = Report(mx.explain(model, samples), by="true", cluster=None, repeats=10)
    shares = {row.label: row.share for row in report.shares()}
    expected = sum(
        (shares[label][name] - part) ** 2
        for label, parts in wanted.items()
        for name, part in parts.items()
    )
    assert float(found["imbalance"]) == pytest.approx(expected, rel=1e-4)
    plain = Objective(model, EmotionLoss()).eval()(**batch)
    assert found["loss"].item() == pytest.approx(plain["loss"].item() + 3 * expected, rel=1e-4)
    torch.testing.assert_close(found["scores"], plain["scores"])


def test_the_gradient_of_the_penalty_is_that_of_finite_differences():
    torch.manual_seed(0)
    model = vector_model(2, dropout=0.0).double().eval()
    samples = [
        sample | {"labels": {"anger": 1, "tired": 1, "valence": 0.5}}
        for sample in vector_samples(4, missing=True)
    ]
    batch = model.collate(samples)
    batch = type(batch)({name: _double(part) for name, part in batch.items()})
    shares = {name: {"a": 0.5, "b": 0.5} for name in ("anger", "tired", "valence")}
    step = BalancedEvidence(model, EmotionLoss(), shares).double()
    features, targets = model.encode(batch), Targets(*batch["targets"])
    weight = next(model.fusion.parameters())
    (gradient,) = torch.autograd.grad(step.imbalance(features, targets), weight)
    entry = int(gradient.abs().argmax())
    with torch.no_grad():
        ends = []
        for side in (1e-6, -1e-6):
            weight.view(-1)[entry] += side
            ends.append(float(step.imbalance(features, targets)))
            weight.view(-1)[entry] -= side
    assert float(gradient.view(-1)[entry]) == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-3)
    assert float(gradient.abs().max()) > 1e-6


def _double(part):
    if isinstance(part, torch.Tensor):
        return part.double() if part.is_floating_point() else part
    if isinstance(part, dict):
        return {name: _double(value) for name, value in part.items()}
    return type(part)(*(_double(value) for value in part)) if isinstance(part, Targets) else part


def test_labels_that_the_batch_lacks_or_nobody_speaks_of_add_nothing():
    model = vector_model(2, dropout=0.0).eval()
    samples = [sample | {"labels": {"joy": 1}} for sample in vector_samples(3)]
    step = BalancedEvidence(model, EmotionLoss(), {"anger": {"a": 0.5, "b": 0.5}})
    assert float(step(**model.collate(samples))["imbalance"]) == 0
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    silent = BalancedEvidence(model, EmotionLoss(), {"joy": {"a": 0.5, "b": 0.5}})
    found = silent(**model.collate(samples))
    assert float(found["imbalance"]) == 0
    found["loss"].backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_class_dropout_drops_as_often_as_asked_and_never_everything():
    model = vector_model(2, dropout=0.0)
    samples = [
        sample | {"labels": {"anger": 1} if index % 2 else {"joy": 1}}
        for index, sample in enumerate(vector_samples(2000))
    ]
    samples[1]["a"] = None
    batch = model.collate(samples)
    step = ClassModalityDropout(model, EmotionLoss(), {"anger": {"a": 0.6, "b": 1.0}})
    features = model.encode(batch)
    torch.manual_seed(1)
    kept = step._drop(features, Targets(*batch["targets"]))
    a, b = (kept[name].mask.any(1) for name in "ab")
    angry = torch.arange(2000) % 2 == 1
    assert bool((a | b).all())
    assert bool(a[~angry].all() and b[~angry].all())
    assert bool(b[1])  # all it has
    # b is always asked to go, and stays where a went too and the draw chose b.
    assert float(b[angry].double().mean()) == pytest.approx(0.6 * 0.5, abs=0.05)
    assert float(a[angry].double().mean()) == pytest.approx(0.4 + 0.6 * 0.5, abs=0.05)
    assert bool((kept["a"].values[~a] == 0).all())


def test_class_dropout_leaves_evaluation_alone():
    model = vector_model(2, dropout=0.0)
    samples = [sample | {"labels": {"anger": 1}} for sample in vector_samples(6)]
    batch = model.collate(samples)
    step = ClassModalityDropout(model, EmotionLoss(), {"anger": {"a": 1.0}}).eval()
    torch.testing.assert_close(step(**batch)["scores"], model(batch).scores)
    assert not torch.allclose(step.train()(**batch)["scores"], model(batch).scores)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m: BalancedEvidence(m, EmotionLoss(), {"rage": {"a": 1, "b": 0}}), "label"),
        (lambda m: BalancedEvidence(m, EmotionLoss(), {"anger": {"a": 1.0}}), "whole"),
        (lambda m: BalancedEvidence(m, EmotionLoss(), {"anger": {"a": 0.9, "b": 0.3}}), "whole"),
        (lambda m: BalancedEvidence(m, EmotionLoss(), {"anger": {"a": 2, "b": -1}}), "whole"),
        (
            lambda m: BalancedEvidence(m, EmotionLoss(), {"joy": {"a": 1, "b": 0}}, math.inf),
            "weight",
        ),
        (lambda m: ClassModalityDropout(m, EmotionLoss(), {"rage": {"a": 0.5}}), "label"),
        (lambda m: ClassModalityDropout(m, EmotionLoss(), {"anger": {"c": 0.5}}), "per class"),
        (lambda m: ClassModalityDropout(m, EmotionLoss(), {"anger": {"a": 1.5}}), "per class"),
        (lambda m: ClassModalityDropout(m, EmotionLoss(), {"valence": {"a": 0.5}}), "per class"),
    ],
)
def test_settings_that_cannot_be_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make(vector_model(2, found=MIXED))

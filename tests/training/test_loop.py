"""A loop that can be killed ends where one that was never stopped ends."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import chain

import pytest
import torch
from torch import nn

import modalxai as mx
from modalxai.errors import CheckpointError, InputError
from modalxai.training import FitSettings, Objective, fit
from modalxai.training.loop import OPTIMIZERS


class Line(nn.Module):
    """Scores and loss of a line with dropout: what a step of the user's own may look like."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Linear(3, 1)
        self.frozen = nn.Linear(3, 3).requires_grad_(False)
        self.norm = nn.BatchNorm1d(3)
        self.drop = nn.Dropout(0.2)
        self.seen: list[list[str]] = []

    def forward(self, **batch):
        self.seen.append(list(batch["ids"]))
        x, y = batch["x"]["values"], batch["y"]["values"]
        scores = self.inner(self.drop(self.norm(self.frozen(x))))[:, 0]
        return {"loss": ((scores - y) ** 2).mean(), "scores": scores}


def collate(rows):
    return mx.Batch(
        {
            "x": {"values": torch.stack([x for _, x, _ in rows])},
            "y": {"values": torch.stack([y for _, _, y in rows])},
            "ids": [name for name, _, _ in rows],
        }
    )


def rows(count=11):
    draw = torch.Generator().manual_seed(1)
    xs = torch.randn(count, 3, generator=draw)
    return [(f"r{i}", x, x.sum()) for i, x in enumerate(xs)]


SETTINGS = FitSettings(epochs=6, lr=0.05, batch_size=4)


def state(step):
    return {name: one.clone() for name, one in step.state_dict().items()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def test_it_learns_and_every_sample_is_seen_once_an_epoch_in_another_order():
    step = Line()
    history = fit(step, rows(), collate, replace(SETTINGS, epochs=40))
    assert min(history.losses[-5:]) < history.losses[0] / 2
    epochs = [list(chain.from_iterable(step.seen[3 * e : 3 * e + 3])) for e in range(40)]
    assert all(sorted(one) == sorted(f"r{i}" for i in range(11)) for one in epochs)
    assert len({tuple(one) for one in epochs}) > 30


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("stop", [1, 3, 5])
def test_a_killed_run_ends_bit_for_bit_where_an_unbroken_one_ends(tmp_path, stop, schedule):
    settings = replace(SETTINGS, schedule=schedule)
    scores = [0.1, 0.5, 0.3, 0.5, 0.2, 0.4]
    whole = Line()
    called = iter(scores)
    expected = fit(whole, rows(), collate, settings, validate=lambda: next(called))
    assert expected.best == 1

    class KilledError(Exception):
        pass

    def killed_after(calls):
        for place, score in enumerate(scores):
            if place == calls:
                raise KilledError
            yield score

    broken, called = Line(), killed_after(stop)
    with pytest.raises(KilledError):
        fit(broken, rows(), collate, settings, validate=lambda: next(called), folder=tmp_path)
    resumed, rest = Line(), iter(scores[stop:])
    found = fit(resumed, rows(), collate, settings, validate=lambda: next(rest), folder=tmp_path)
    assert found == expected
    assert same(state(whole), state(resumed))
    # Once more: nothing is left to do.
    again = Line()
    assert fit(again, rows(), collate, settings, validate=None, folder=tmp_path) == expected
    assert same(state(again), state(whole))
    assert again.seen == []


def test_a_run_killed_while_writing_goes_on_from_the_epoch_before(tmp_path):
    whole = Line()
    fit(whole, rows(), collate, SETTINGS)
    fit(Line(), rows(), collate, SETTINGS, folder=tmp_path / "one")
    # What an interrupted write leaves: newer weights that no record names.
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    (tmp_path / "two" / "epoch-6.safetensors").write_bytes(b"half")
    resumed = Line()
    fit(resumed, rows(), collate, SETTINGS, folder=tmp_path / "two")
    assert same(state(whole), state(resumed))


def test_the_best_epoch_is_kept_and_frozen_weights_are_not_written(tmp_path):
    step, kept = Line(), []

    def validate():
        kept.append(state(step))
        return [1.0, 3.0, float("nan"), 3.0, 2.0, 0.0][len(kept) - 1]

    history = fit(step, rows(), collate, SETTINGS, validate=validate, folder=tmp_path)
    assert history.best == 1
    assert same(kept[1], state(step))
    assert same(step.frozen.state_dict(), Line().frozen.state_dict())
    from safetensors.torch import load_file

    (best,) = tmp_path.glob("best-*.safetensors")
    (last,) = tmp_path.glob("epoch-*.safetensors")
    assert not [name for name in load_file(last) | load_file(best) if "frozen" in name]


@pytest.mark.parametrize("micro", [1, 2, 3])
def test_accumulated_gradients_are_those_of_the_whole_batch(micro):
    def plain():
        step = Line()
        step.norm, step.drop = nn.Identity(), nn.Identity()  # neither is a sum over samples
        return step

    one, other = plain(), plain()
    fit(one, rows(), collate, SETTINGS)
    fit(other, rows(), collate, replace(SETTINGS, micro_batch=micro))
    for name, value in one.state_dict().items():
        torch.testing.assert_close(value, other.state_dict()[name], atol=1e-6, rtol=1e-5)


def test_the_callers_generator_and_modes_are_as_before():
    step = Line()
    step.norm.eval()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    fit(step, rows(), collate, replace(SETTINGS, epochs=1))
    assert torch.equal(before, torch.get_rng_state())
    assert step.training
    assert not step.norm.training


def test_the_rate_rises_and_falls_to_nothing(monkeypatch):
    rates = []

    class Watched(torch.optim.Adam):
        def step(self, *args, **kwargs):
            rates.append(self.param_groups[0]["lr"])
            return super().step(*args, **kwargs)

    monkeypatch.setitem(OPTIMIZERS, "adam", Watched)
    fit(Line(), rows(40), collate, replace(SETTINGS, schedule="cosine", epochs=4))
    assert len(rates) == 40
    assert rates[:4] == pytest.approx([0.0125, 0.025, 0.0375, 0.05])
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[-1] < 0.001


def test_other_settings_or_another_model_are_refused(tmp_path):
    fit(Line(), rows(), collate, replace(SETTINGS, epochs=1), folder=tmp_path)
    with pytest.raises(CheckpointError, match="epochs: 1, now 2"):
        fit(Line(), rows(), collate, replace(SETTINGS, epochs=2), folder=tmp_path)
    with pytest.raises(CheckpointError, match="samples: 11, now 12"):
        fit(Line(), rows(12), collate, replace(SETTINGS, epochs=1), folder=tmp_path)
    other = Line()
    other.inner = nn.Linear(3, 2)
    with pytest.raises(CheckpointError, match="inner"):
        fit(other, rows(), collate, replace(SETTINGS, epochs=1), folder=tmp_path)


def test_a_loss_that_is_no_number_names_the_samples():
    broken = rows()
    broken[7] = ("r7", broken[7][1], torch.tensor(float("nan")))
    with pytest.raises(InputError, match="r7"):
        fit(Line(), broken, collate, SETTINGS)


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": 0}, {"lr": 0.0}, {"batch_size": 0}, {"micro_batch": 9}, {"optimizer": "sgd"},
     {"schedule": "steps"}, {"clip": 0.0}, {"workers": -1}, {"precision": "float16"},
     {"weight_decay": -1.0}],
)  # fmt: skip
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        replace(FitSettings(batch_size=4), **wrong)


def test_nothing_to_learn_or_no_sample_is_refused():
    step = Line().requires_grad_(False)
    with pytest.raises(InputError, match="0 learning parameters"):
        fit(step, rows(), collate, SETTINGS)
    with pytest.raises(InputError, match="0 samples"):
        fit(Line(), [], collate, SETTINGS)


def test_an_emotion_model_is_trained():
    labels = mx.labels("anger", "joy")
    text = mx.plugins.create("encoders", "byte-text", dim=16)
    fusion = mx.plugins.create("fusion", "shallow", dims={"text": 16}, labels=labels)
    model = mx.EmotionModel({"text": text}, fusion)
    samples = [
        {"id": str(i), "text": word, "labels": {name: 1}}
        for i, (word, name) in enumerate([("so bad", "anger"), ("so nice", "joy")] * 4)
    ]
    fit(
        Objective(model, mx.training.EmotionLoss()),
        samples,
        model.collate,
        FitSettings(epochs=15, lr=0.01, batch_size=4, optimizer="adamw"),
    )
    winners = model.predict(samples).scores.argmax(1).tolist()
    assert winners == [0, 1] * 4

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from modalxai import biosignals, masking
from modalxai.biosignals import FEATURES, Biosignal
from modalxai.encoders.biosignal import BiosignalEncoder
from modalxai.errors import CheckpointError, InputError, RemovalError
from modalxai.types import Spans

NAN = math.nan
WINDOWS: dict[str, Any] = {"dim": 8, "channels": 2, "window": 2.0, "sample_rate": 4.0}


def make(**settings: Any) -> BiosignalEncoder:
    torch.manual_seed(0)
    return BiosignalEncoder(**WINDOWS | settings).eval()


def features_encoder(**settings: Any) -> BiosignalEncoder:
    torch.manual_seed(0)
    return BiosignalEncoder(dim=8, **settings).eval()


def signal(samples: int, seed: int = 0, **more: Any) -> Biosignal:
    walk = np.random.default_rng(seed).standard_normal((2, samples)).cumsum(1)
    return Biosignal(walk, 4.0, **more)


def vector(seed: int = 0) -> Biosignal:
    return Biosignal(np.random.default_rng(seed).standard_normal(len(FEATURES)))


def batches() -> dict[str, tuple[BiosignalEncoder, list[Biosignal | None]]]:
    gappy = signal(60, 3)
    gappy.values[:, 20:37] = NAN
    gappy.values[0, :3] = NAN
    part = vector(2)
    part.values[4:9] = NAN
    return {
        "windows": (make(), [signal(21, 1), None, signal(96, 2), signal(1, 4), gappy]),
        "features": (features_encoder(), [vector(1), None, part]),
    }


@pytest.mark.parametrize("name", ["windows", "features"])
@torch.no_grad()
def test_a_signal_alone_is_its_row_of_a_batch(name: str) -> None:
    encoder, raws = batches()[name]
    together = encoder(encoder.collate(raws))
    assert bool(together.values.isfinite().all())
    for row, raw in enumerate(raws):
        alone = encoder(encoder.collate([raw]))
        count = int(alone.mask.sum())
        assert int(together.mask[row].sum()) == count
        assert together.values[row, count:].abs().sum() == 0
        assert (count == 0) == (raw is None)
        torch.testing.assert_close(
            together.values[row, :count], alone.values[0, :count], rtol=1e-5, atol=1e-6
        )
        assert torch.equal(together.spans.end[row, :count], alone.spans.end[0, :count])


def test_rows_of_different_batches_can_be_joined() -> None:
    encoder, raws = batches()["windows"]
    one, two = encoder.collate(raws[:2]), encoder.collate(raws[2:])
    joined = {key: masking.concatenate([one[key], two[key]]) for key in one}
    whole = encoder.collate(raws)
    assert all(torch.equal(joined[key], whole[key]) for key in whole)


def test_nothing_flows_to_padding_gaps_or_missing_rows() -> None:
    encoder, raws = batches()["windows"]
    inputs = encoder.collate(raws)
    values = inputs["values"].requires_grad_()
    encoder({**inputs, "values": values}).values.square().sum().backward()
    assert values.grad is not None
    assert values.grad[inputs["known"]].abs().max() > 0
    assert values.grad[~inputs["known"]].abs().max() == 0
    assert values.grad[1].abs().max() == 0


def test_windows_have_their_seconds_and_gaps_are_left_out() -> None:
    encoder = make()
    raw = signal(37)
    raw.values[:, 8:24] = NAN  # windows 1 and 2
    inputs = encoder.collate([raw])
    spans = encoder.units(inputs, "window")
    assert spans.unit == "seconds"
    assert spans.start[0].tolist() == [0, 6, 8]
    assert spans.end[0].tolist() == [2, 8, 9.25]  # the last has five samples of eight
    assert inputs["known"][0, 2].sum(-1).tolist() == [5, 5]
    np.testing.assert_allclose(inputs["values"][0, 1].numpy(), raw.values[:, 24:32], rtol=1e-6)
    all_gap = encoder.collate([Biosignal(np.full((2, 20), NAN), 4.0)])
    assert not all_gap["mask"].any()


@torch.no_grad()
def test_missing_is_told_apart_from_zero_and_from_the_mean() -> None:
    encoder = features_encoder(centre=[5.0] * 14, spread=[2.0] * 14)
    full = np.full(14, 5.0)
    gap, zero = full.copy(), full.copy()
    gap[3], zero[3] = NAN, 0.0
    values = encoder(encoder.collate([Biosignal(row) for row in (full, gap, zero)])).values
    assert (values[0] - values[1]).abs().max() > 1e-3
    assert (values[1] - values[2]).abs().max() > 1e-3
    inputs = encoder.collate([Biosignal(zero)])
    assert inputs["values"][0, 0, 3, 0] == -2.5


def test_the_summary_of_a_recording_goes_in_as_it_is() -> None:
    encoder = features_encoder()
    measured = biosignals.summary(skin=30 + 0.1 * np.arange(40))
    inputs = encoder.collate([Biosignal(measured.vector())])
    assert inputs["known"][0, 0, :, 0].tolist() == [False] * 10 + [True] * 4
    spans = encoder(inputs).spans
    assert (spans.unit, spans.start.tolist(), spans.end.tolist()) == ("index", [[0]], [[1]])


def test_baseline_puts_resting_values_where_the_unit_was() -> None:
    encoder = make(centre=[1.0, 0.0], spread=[2.0, 1.0])
    raws = [signal(40, 1, baseline=[3.0, NAN]), None, signal(16, 2)]
    inputs = encoder.collate(raws)
    before = {key: value.clone() for key, value in inputs.items()}
    units = encoder.units(inputs, "window")
    keep = torch.ones_like(units.mask)
    same = encoder.remove(inputs, units, keep, "baseline", 0)
    assert all(torch.equal(same[key], before[key]) for key in before)
    keep[0, 1] = False
    found = encoder.remove(inputs, units, keep, "baseline", 0)
    assert found["values"][0, 1, 0].tolist() == [1.0] * 8  # (3 - 1) / 2
    assert not found["known"][0, 1, 1].any()  # not known at rest, so missing, not zero
    assert torch.equal(found["values"][0, [0, 2]], before["values"][0, [0, 2]])
    assert torch.equal(found["values"][1:], before["values"][1:])
    assert all(torch.equal(inputs[key], before[key]) for key in before)
    keep[2] = False
    with pytest.raises(RemovalError, match="without one"):
        encoder.remove(inputs, units, keep, "baseline", 0)


def test_spans_that_are_not_windows_remove_the_samples_they_cover() -> None:
    encoder = make()
    inputs = encoder.collate([signal(40, 1, baseline=[9.0, 9.0]), None])
    start, end = torch.tensor([[1.0, 3.0], [0.0, 0.0]]), torch.tensor([[2.5, 3.0], [5.0, 0.0]])
    keep = torch.zeros(2, 2, dtype=torch.bool)
    found = encoder.remove(inputs, Spans(start, end, "seconds"), keep, "baseline", 0)
    resting = (found["values"][0] == 9).transpose(0, 1).flatten(1)
    assert resting[0].nonzero().flatten().tolist() == list(range(4, 10))
    assert torch.equal(found["values"][1], inputs["values"][1])
    short = encoder.collate(
        [signal(13, 1, baseline=[9.0, 9.0])]
    )  # the last window has five samples
    everything = Spans(torch.tensor([[0.0]]), torch.tensor([[99.0]]), "seconds")
    found = encoder.remove(short, everything, torch.zeros(1, 1, dtype=torch.bool), "baseline", 0)
    assert torch.equal(found["known"], short["known"])


def test_noise_has_the_spectrum_and_mean_of_the_recording() -> None:
    encoder = make()
    raw = signal(40, 5)
    inputs = encoder.collate([raw])
    units = encoder.units(inputs, "window")
    found = encoder.remove(inputs, units, torch.zeros_like(units.mask), "noise", [3])
    flat = found["values"][0].transpose(0, 1).flatten(1).double().numpy()
    np.testing.assert_allclose(
        np.abs(np.fft.rfft(flat)), np.abs(np.fft.rfft(raw.values)), rtol=1e-3, atol=1e-4
    )
    np.testing.assert_allclose(flat.mean(1), raw.values.mean(1), atol=1e-5)
    cross = np.fft.rfft(flat[0]) * np.fft.rfft(flat[1]).conj()
    expected = np.fft.rfft(raw.values[0]) * np.fft.rfft(raw.values[1]).conj()
    np.testing.assert_allclose(cross, expected, rtol=1e-3, atol=1e-3)
    assert np.abs(flat - raw.values).mean() > 0.5
    short = encoder.collate([signal(7)])
    one = encoder.units(short, "window")
    with pytest.raises(RemovalError, match="too short"):
        encoder.remove(short, one, torch.zeros_like(one.mask), "noise", 0)


def test_noise_depends_on_the_row_and_its_seed_alone() -> None:
    encoder = make()
    raws = [signal(40, 1), signal(97, 2)]
    raws[0].values[1, 3:6] = NAN

    def noisy(raws: list[Biosignal], seeds: list[int]) -> Tensor:
        inputs = encoder.collate(raws)
        units = encoder.units(inputs, "window")
        return encoder.remove(inputs, units, torch.zeros_like(units.mask), "noise", seeds)["values"]

    both = noisy(raws, [4, 5])
    assert torch.equal(noisy(raws[::-1], [5, 4]), both.flip(0))
    assert torch.equal(noisy(raws[:1], [4])[0], both[0, :5])
    assert not torch.equal(noisy(raws[:1], [6])[0], both[0, :5])
    assert both[0, 0, 1, 3:6].tolist() == [0, 0, 0]  # a gap stays a gap


def test_features_offer_no_noise_and_wrong_removals_are_refused() -> None:
    encoder = features_encoder()
    inputs = encoder.collate([Biosignal(vector().values, baseline=np.zeros(14))])
    units = encoder.units(inputs, "window")
    keep = torch.zeros_like(units.mask)
    assert encoder.remove(inputs, units, keep, "baseline", 0)["values"].abs().max() == 0
    with pytest.raises(RemovalError, match="unknown removal"):
        encoder.remove(inputs, units, keep, "noise", 0)
    with pytest.raises(RemovalError, match="unknown kind"):
        encoder.units(inputs, "word")
    seconds = Spans(units.start, units.end, "seconds")
    for wrong_units, wrong_keep, seed in [
        (units, keep.float(), 0),
        (units, keep[:, 1:], 0),
        (units, keep.expand(2, -1), 0),
        (units, None, 0),
        (units, keep, [1, 2]),
        (seconds, keep, 0),
    ]:
        with pytest.raises(InputError):
            encoder.remove(inputs, wrong_units, wrong_keep, "baseline", seed)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["windows", "features"])
@torch.no_grad()
def test_saving_and_loading_is_exact(name: str, tmp_path: Path) -> None:
    encoder, raws = batches()[name]
    encoder.save_pretrained(tmp_path)
    loaded = BiosignalEncoder.from_pretrained(tmp_path).eval()
    assert loaded.settings() == encoder.settings()
    assert loaded.removals == encoder.removals
    assert pickle.loads(pickle.dumps(loaded.collate)) == encoder.collate
    inputs = encoder.collate(raws)
    assert torch.equal(loaded(inputs).values, encoder(inputs).values)


def test_weights_for_other_channels_are_refused(tmp_path: Path) -> None:
    make().save_pretrained(tmp_path / "a")
    make(channels=3).save_pretrained(tmp_path / "b")
    (tmp_path / "a/model.safetensors").replace(tmp_path / "b/model.safetensors")
    with pytest.raises(CheckpointError, match="do not fit"):
        BiosignalEncoder.from_pretrained(tmp_path / "b")


def test_every_weight_learns_and_frozen_ones_do_not() -> None:
    encoder, raws = batches()["windows"]
    values = encoder.train()(encoder.collate(raws)).values
    (values * torch.randn_like(values)).sum().backward()
    assert len(encoder.layers) == 3
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())
    frozen = make(trainable=1)
    learning = {name for name, weight in frozen.named_parameters() if weight.requires_grad}
    assert learning == {"layers.2.weight", "layers.2.bias"}


@pytest.mark.parametrize(
    ("raw", "match"),
    [
        (np.zeros((2, 8)), "wrong type"),
        (Biosignal(np.zeros((2, 8))), "another rate"),
        (Biosignal(np.zeros((2, 8)), 64.0), "another rate"),
        (Biosignal(np.zeros((3, 8)), 4.0), "wrong shape"),
        (Biosignal(np.zeros(8), 4.0), "wrong shape"),
        (Biosignal(np.full((2, 8), math.inf), 4.0), "infinite"),
        (Biosignal(np.zeros((2, 8)), 4.0, baseline=[1.0]), "wrong shape"),
        (Biosignal([["a"], ["b"]], 4.0), "no array"),
    ],
)
def test_signals_that_cannot_be_used_are_named(raw: Any, match: str) -> None:
    with pytest.raises(InputError, match=match) as caught:
        make().collate([None, signal(8), raw])
    assert caught.value.index == 2


@pytest.mark.parametrize(
    "settings",
    [
        {"channels": 0},
        {"layers": 0},
        {"hidden": 0},
        {"dropout": 1.0},
        {"window": 0.0},
        {"sample_rate": -4.0},
        {"centre": [0.0]},
        {"spread": [1.0, 0.0]},
        {"centre": [0.0, NAN]},
        {"trainable": 4},
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        make(**settings)


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(InputError, match="empty batch"):
        make().collate([])

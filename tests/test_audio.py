from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from modalxai import audio
from modalxai.errors import InputError
from modalxai.types import Audio, Spans

RATE = 16_000


def tone(hertz: float, seconds: float, rate: int) -> Tensor:
    time = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    return (0.5 * torch.sin(2 * math.pi * hertz * time)).float()


def spans(*rows: list[tuple[float, float]]) -> Spans:
    units = max(len(row) for row in rows)
    edges = torch.zeros(len(rows), units, 2)
    for index, row in enumerate(rows):
        edges[index, : len(row)] = torch.tensor(row)
    return Spans(edges[..., 0], edges[..., 1], "seconds")


BAD = {
    "NaN": (Audio(torch.tensor([0.0, math.nan] * 400), RATE), "NaN or infinite"),
    "infinite": (Audio(torch.tensor([0.0, math.inf] * 400), RATE), "NaN or infinite"),
    "float64 beyond float32": (Audio(np.full(800, 1e300), RATE), "NaN or infinite"),
    "empty": (Audio(torch.zeros(0), RATE), "empty"),
    "empty channel": (Audio(torch.zeros(1, 0), RATE), "empty"),
    "short": (Audio(torch.zeros(399), RATE), "shorter than one frame"),
    "short once resampled": (Audio(torch.zeros(790), 2 * RATE), "shorter than one frame"),
    "int16": (Audio(torch.zeros(800, dtype=torch.int16), RATE), "integer samples"),
    "bool": (Audio(torch.zeros(800, dtype=torch.bool), RATE), "integer samples"),
    "list of integers": (Audio([1, 2] * 400, RATE), "integer samples"),
    "complex": (Audio(torch.zeros(800, dtype=torch.complex64), RATE), "wrong type"),
    "int16 scale as float": (Audio(torch.full((800,), 9000.0), RATE), "far from full scale"),
    "stereo": (Audio(torch.zeros(2, 800), RATE), "several channels"),
    "no such channel": (Audio(torch.zeros(2, 800), RATE, 2), "not there"),
    "negative channel": (Audio(torch.zeros(2, 800), RATE, -1), "not there"),
    "channels last": (Audio(torch.zeros(800, 2), RATE, 0), "channels last"),
    "mono, channel last": (Audio(torch.zeros(800, 1), RATE), "channels last"),
    "a batch": (Audio(torch.zeros(2, 1, 800), RATE), "wrong shape"),
    "a number": (Audio(torch.tensor(0.0), RATE), "wrong shape"),
    "no waveform": (Audio(None, RATE), "wrong type"),
    "no rate": (Audio(torch.zeros(800)), "sample rate"),
    "float rate": (Audio(torch.zeros(800), 16_000.0), "sample rate"),  # type: ignore[arg-type]
    "zero rate": (Audio(torch.zeros(800), 0), "sample rate"),
    "bool rate": (Audio(torch.zeros(800), True), "sample rate"),
    "raw tensor": (torch.zeros(800), "without a sample rate"),
    "raw array": (np.zeros(800), "without a sample rate"),
    "no such file": ("nowhere/nothing.wav", "cannot be read"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_heard_is_refused_with_the_mend(name: str) -> None:
    raw, wrong = BAD[name]
    with pytest.raises(InputError, match=wrong) as caught:
        audio.prepare(raw, RATE, shortest=400)  # type: ignore[arg-type]
    assert caught.value.expected
    assert caught.value.got
    assert caught.value.mend


def test_a_file_that_is_no_audio_is_refused(tmp_path: Path) -> None:
    for name in ("broken.wav", "broken.raw"):
        (tmp_path / name).write_bytes(b"not a recording")
        with pytest.raises(InputError, match="cannot be read"):
            audio.read(tmp_path / name)
    with pytest.raises(InputError, match="cannot be read"):
        audio.read(tmp_path)


def test_a_good_waveform_passes_through_unchanged_and_uncopied_inputs_stay() -> None:
    wave = tone(200, 0.1, RATE)
    assert torch.equal(audio.prepare(Audio(wave, RATE), RATE), wave)
    assert torch.equal(audio.prepare(Audio(wave[None], RATE), RATE), wave)
    assert torch.equal(audio.prepare(Audio(wave.double().numpy(), np.int64(RATE)), RATE), wave)
    backwards = wave.numpy()[::-1]
    assert torch.equal(audio.prepare(Audio(backwards, RATE), RATE), wave.flip(0))
    frozen = wave.numpy().copy()
    frozen.flags.writeable = False
    assert torch.equal(audio.prepare(Audio(frozen, RATE), RATE), wave)


def test_a_channel_is_chosen_or_averaged() -> None:
    stereo = torch.stack([tone(200, 0.1, RATE), tone(300, 0.1, RATE)])
    assert torch.equal(audio.prepare(Audio(stereo, RATE, 1), RATE), stereo[1])
    assert torch.equal(audio.prepare(Audio(stereo, RATE, "mean"), RATE), stereo.mean(0))


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_resampling_keeps_the_pitch_and_the_length(rate: int) -> None:
    wave = audio.prepare(Audio(tone(440, 1.0, rate), rate), RATE)
    assert len(wave) == RATE
    # One second: the bins of the transform are hertz.
    assert torch.fft.rfft(wave).abs().argmax().item() == 440


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_file_reads_as_what_was_written_with_its_channels(tmp_path: Path, suffix: str) -> None:
    stereo = torch.stack([tone(200, 0.1, RATE), tone(300, 0.1, RATE)])
    path = tmp_path / f"clip.{suffix}"
    soundfile.write(path, stereo.T.numpy(), RATE)
    found = audio.read(path)
    assert found.sample_rate == RATE
    torch.testing.assert_close(found.waveform, stereo, atol=1 / 32768, rtol=0)
    with pytest.raises(InputError, match="several channels"):
        audio.prepare(str(path), RATE)


def test_standardising_is_what_transformers_does() -> None:
    from transformers import Wav2Vec2FeatureExtractor

    wave = tone(200, 0.2, RATE) + 0.1
    theirs = Wav2Vec2FeatureExtractor.zero_mean_unit_var_norm([wave.numpy()], None)[0]
    torch.testing.assert_close(audio.standardise(wave), torch.from_numpy(theirs))
    assert torch.equal(audio.standardise(torch.zeros(500)), torch.zeros(500))


layer = st.tuples(st.integers(1, 6), st.integers(1, 4), st.booleans())


@settings(max_examples=60, deadline=None)
@given(st.lists(layer, min_size=1, max_size=3), st.integers(0, 120))
def test_frame_arithmetic_agrees_with_real_convolutions(
    layers: list[tuple[int, int, bool]], length: int
) -> None:
    frames = audio.Frames(1, 1, 0, RATE)
    values = torch.zeros(1, 1, max(length, 400), dtype=torch.float64, requires_grad=True)
    mapped = values
    for kernel, stride, padded in layers:
        padding = (kernel - 1) // 2 if padded else 0
        frames = frames.then(kernel, stride, padding)
        weight = torch.ones(1, 1, kernel, dtype=torch.float64)
        mapped = torch.nn.functional.conv1d(mapped, weight, stride=stride, padding=padding)
    longest = int(frames.counts(torch.tensor([values.shape[-1]])))
    assert mapped.shape[-1] == longest
    # The field of a middle frame: the samples that it has a gradient to.
    middle = longest // 2
    mapped[0, 0, middle].backward()
    assert values.grad is not None
    seen = values.grad[0, 0].nonzero().flatten()
    start = frames.offset + middle * frames.stride
    assert (seen[0].item(), seen[-1].item() + 1) == (start, start + frames.field)
    assert frames.centres(longest)[middle] == start + frames.field / 2
    # Counts of a shorter clip are what the same layers give it, if every one of them has input.
    short = length
    for kernel, stride, padded in layers:
        short = (short + 2 * ((kernel - 1) // 2) * padded - kernel) // stride + 1
        if short < 1:
            short = 0
            break
    if all(not padded for _, _, padded in layers) or short:
        assert int(frames.counts(torch.tensor([length]))) == short


def test_frames_of_wav2vec2_are_centred_on_320_i_plus_200() -> None:
    frames = audio.Frames(1, 1, 0, RATE)
    for kernel, stride in zip((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2), strict=True):
        frames = frames.then(kernel, stride)
    assert (frames.field, frames.stride) == (400, 320)
    found = frames.spans(torch.tensor([16_000, 399, 0]), 49)
    assert found.mask.sum(1).tolist() == [49, 0, 0]
    middle = (found.start + found.end)[0] / 2 * RATE
    torch.testing.assert_close(middle, 320.0 * torch.arange(49) + 200)
    torch.testing.assert_close(found.start[0, 1:], found.end[0, :-1])


@given(st.lists(st.integers(0, 50_000), min_size=1, max_size=4), st.floats(0.05, 2.0))
def test_segments_tile_each_clip(lengths: list[int], seconds: float) -> None:
    found = audio.segments(torch.tensor(lengths), RATE, seconds)
    for row, length in enumerate(lengths):
        mask = found.mask[row]
        assert mask.sum() == math.ceil(length / RATE / seconds - 0.6 / RATE / seconds)
        assert bool(mask[: int(mask.sum())].all())
        if length:
            assert found.start[row, 0] == 0
            assert found.end[row].max().item() == pytest.approx(length / RATE, abs=1 / RATE)
            torch.testing.assert_close(found.start[row, mask][1:], found.end[row, mask][:-1])


def test_cover_reaches_both_ends_and_leaves_missing_rows_empty() -> None:
    frames = audio.Frames(400, 320, 0, RATE)
    lengths = torch.tensor([1_500, 0])
    covered = audio.cover(frames.spans(lengths, 6), lengths, RATE)
    assert covered.start[0, 0] == 0
    assert covered.end[0].max() == torch.tensor(1_500 / RATE)
    assert covered.mask.sum(1).tolist() == [4, 0]


seconds = st.floats(-0.02, 0.12)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(seconds, seconds, st.booleans()), min_size=1, max_size=6))
def test_removed_samples_are_the_union_of_what_is_not_kept(
    units: list[tuple[float, float, bool]],
) -> None:
    found = spans([(start, end) for start, end, _ in units])
    keep = torch.tensor([[kept for _, _, kept in units]])
    expected = [
        any(
            not kept and round(a * RATE) <= sample < round(b * RATE)
            for (a, b), kept in zip(
                zip(found.start[0].tolist(), found.end[0].tolist(), strict=True),
                keep[0].tolist(),
                strict=True,
            )
        )
        for sample in range(1_600)
    ]
    assert audio.removed(found, keep, 1_600, RATE)[0].tolist() == expected


def remove_one(how: str, seed: int | list[int] = 0, waves: Tensor | None = None) -> Tensor:
    """Rows of 8000 samples, the second one 4000 long, without 0.1 s to 0.2 s."""
    if waves is None:
        waves = torch.stack([tone(200, 0.5, RATE), tone(200, 0.5, RATE)])
        waves[1, 4000:] = 0
    units = spans([(0, 0.1), (0.1, 0.2), (0.2, 0.5)], [(0, 0.1), (0.1, 0.2), (0.2, 0.25)])
    keep = torch.tensor([[True, False, True]] * 2)
    return audio.remove(waves, torch.tensor([8000, 4000]), units, keep, how, seed, RATE)


def test_silence_is_exact_within_and_nothing_changes_beyond_the_fade() -> None:
    before = torch.stack([tone(200, 0.5, RATE)] * 2)
    before[1, 4000:] = 0
    copy = before.clone()
    after = remove_one("silence", waves=before)
    assert torch.equal(before, copy)
    fade = int(audio.CROSSFADE * RATE) // 2 + 1
    assert after[:, 1600 + fade : 3200 - fade].abs().max() == 0
    assert torch.equal(after[:, : 1600 - fade], before[:, : 1600 - fade])
    assert torch.equal(after[:, 3200 + fade :], before[:, 3200 + fade :])
    edge = after[0, 1600 - fade : 1600 + fade].diff().abs().max()
    assert edge < 1.5 * before.diff().abs().max()


def test_everything_removed_is_silent_to_the_ends() -> None:
    wave = tone(200, 0.5, RATE)[None]
    units = spans([(0.0, 0.3), (0.3, 0.5)])
    keep = torch.zeros(1, 2, dtype=torch.bool)
    gone = audio.remove(wave, torch.tensor([8000]), units, keep, "silence", 0, RATE)
    assert gone.abs().max() == 0


@pytest.mark.parametrize("how", ["silence", "noise"])
def test_keeping_everything_and_empty_units_change_nothing(how: str) -> None:
    wave = torch.stack([tone(200, 0.5, RATE)] * 2)
    units = spans([(0, 0.1), (0.1, 0.5)], [(0, 0.5)])
    keep = torch.tensor([[True, True], [True, False]])  # False is on padding
    kept = audio.remove(wave, torch.tensor([8000, 8000]), units, keep, how, 0, RATE)
    assert torch.equal(kept, wave)
    absent = audio.remove(wave, torch.tensor([0, 0]), units, ~keep, how, 0, RATE)
    assert torch.equal(absent, wave)


def test_noise_has_the_power_of_the_clip_and_belongs_to_its_seed() -> None:
    long = torch.stack([tone(200, 0.5, RATE)] * 2)
    units, keep = spans([(0.0, 0.5)], [(0.0, 0.5)]), torch.zeros(2, 1, dtype=torch.bool)
    lengths = torch.tensor([8000, 8000])
    noise = audio.remove(long, lengths, units, keep, "noise", [3, 4], RATE)
    assert noise.square().mean().item() == pytest.approx(long.square().mean().item(), rel=0.05)
    assert (noise[0] * noise[1]).mean().abs() < 0.02
    one = spans([(0.0, 0.5)])
    alone = audio.remove(long[1:], lengths[1:], one, keep[1:], "noise", [4], RATE)
    assert torch.equal(alone[0], noise[1])
    again = audio.remove(long, lengths, units, keep, "noise", 4, RATE)
    assert torch.equal(again[0], again[1])
    assert torch.equal(again[1], noise[1])


def test_seeds_belong_to_the_id() -> None:
    assert audio.seed_for("a", 0) == audio.seed_for("a", 0)
    others = {audio.seed_for(*key) for key in [("a", 0), ("a", 1), ("b", 0), ("a", 0, 1)]}
    assert len(others) == 4


def test_mel_of_a_full_scale_tone_is_zero_in_its_band_and_silence_is_the_floor() -> None:
    filters = audio.mel_filters(512, 64, 50.0, 8000.0, RATE)
    window = torch.hann_window(512)
    wave = 2 * tone(1000, 0.2, RATE)[None]
    found = audio.log_mel(wave, window, 160, filters)
    assert found.shape == (1, (3200 - 512) // 160 + 1, 64)
    assert found.amax().item() == pytest.approx(0, abs=0.25)
    # Half the amplitude is 0.6 lower in every band that is well above the floor.
    half = audio.log_mel(wave / 2, window, 160, filters)
    loud = found > audio.MEL_FLOOR + 3
    torch.testing.assert_close(
        (found - half)[loud], torch.full_like(half[loud], 0.602), atol=2e-3, rtol=0
    )
    silent = audio.log_mel(torch.zeros(1, 512), window, 160, filters)
    assert torch.allclose(silent, torch.full_like(silent, audio.MEL_FLOOR))


@pytest.mark.parametrize(("mels", "fmin"), [(64, 50.0), (128, 100.0), (160, 0.0)])
def test_no_mel_band_is_empty(mels: int, fmin: float) -> None:
    filters = audio.mel_filters(400, mels, fmin, 8000.0, RATE)
    assert bool((filters.sum(0) > 0).all())
    size = 2 * (len(filters) - 1)
    assert size & (size - 1) == 0
    assert size >= 400


def test_frames_pickle() -> None:
    frames = audio.Frames(400, 320, 0, RATE)
    assert pickle.loads(pickle.dumps(frames)) == frames

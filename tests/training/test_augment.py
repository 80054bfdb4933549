from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator
from torch.utils.data import DataLoader

from modalxai.errors import InputError
from modalxai.training import augment
from modalxai.training.augment import (
    Augment,
    Augmented,
    FrequencyMask,
    Gain,
    Noise,
    NoiseFrequencyMask,
    Oversampled,
    RandomDeletion,
    RandomInsertion,
    RandomSwap,
    Reverb,
    Speed,
    SynonymReplacement,
    TimeMask,
)
from modalxai.types import Audio

RATE = 16_000
AUDIO = [TimeMask(), FrequencyMask(), NoiseFrequencyMask(), Speed(), Gain(), Noise(), Reverb()]


def _clip(seconds=1.0, seed=0, rate=RATE):
    generator = torch.Generator().manual_seed(seed)
    return Audio(0.1 * torch.randn(round(seconds * rate), generator=generator), rate)


def _seeded(seed=0):
    return Generator().manual_seed(seed)


def _power(waveform):
    return float(waveform.double().square().mean())


@pytest.mark.parametrize("edit", AUDIO, ids=lambda one: type(one).__name__)
def test_originals_and_the_global_generator_stay_as_they_were(edit):
    clip = _clip()
    before, state = clip.waveform.clone(), torch.get_rng_state()
    numpy_state = np.random.get_state()[1].copy()
    first = edit(clip, _seeded(1))
    assert torch.equal(clip.waveform, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == numpy_state).all()
    assert first.sample_rate == RATE
    assert torch.isfinite(first.waveform).all()
    assert first.waveform.data_ptr() != clip.waveform.data_ptr()
    assert not torch.equal(first.waveform, clip.waveform)
    assert torch.equal(first.waveform, edit(clip, _seeded(1)).waveform)
    assert not torch.equal(first.waveform, edit(clip, _seeded(2)).waveform)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.integers(800, 20_000))
def test_a_masked_band_is_silent_and_the_rest_is_as_it_was(seed, size):
    clip = Audio(torch.randn(size, generator=_seeded(seed)), RATE)
    edit = FrequencyMask(widest=40)
    low, high = edit.band(_seeded(seed))
    hertz = torch.fft.rfftfreq(size, 1 / RATE, dtype=torch.float64)
    inside = (hertz >= low) & (hertz < high)
    before, after = (
        torch.fft.rfft(one.double()).abs()
        for one in (clip.waveform, edit(clip, _seeded(seed)).waveform)
    )
    assert 100 - 1e-6 <= low <= high <= 8000 + 1e-6
    loudest = before.max()
    assert (after[inside] < 1e-5 * loudest).all()  # float32 samples
    assert torch.allclose(after[~inside], before[~inside], atol=1e-5 * float(loudest))
    filled = torch.fft.rfft(
        NoiseFrequencyMask(widest=40)(clip, _seeded(seed)).waveform.double()
    ).abs()
    assert filled[inside].square().sum() == pytest.approx(
        float(before[inside].square().sum()), rel=0.02, abs=1e-3
    )
    assert torch.allclose(filled[~inside], before[~inside], atol=1e-5 * float(loudest))


def test_band_widths_are_spread_over_all_that_are_allowed():
    edit = FrequencyMask(widest=8)
    step = (2595 * math.log10(1 + 8000 / 700) - 2595 * math.log10(1 + 100 / 700)) / 128
    widths = []
    for seed in range(300):
        low, high = (2595 * math.log10(1 + one / 700) for one in edit.band(_seeded(seed)))
        widths.append(round((high - low) / step))
    assert set(widths) == set(range(9))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.floats(0.01, 2))
def test_a_time_mask_is_exactly_silent_in_one_stretch_and_nowhere_else(seed, longest):
    clip = Audio(1 + torch.rand(8000, generator=_seeded(seed)), RATE)
    made = TimeMask(longest)(clip, _seeded(seed)).waveform
    gone = (made == 0).nonzero()[:, 0]
    if len(gone):
        assert int(gone[-1] - gone[0]) + 1 == len(gone) <= min(longest * RATE + 1, 4000)
    assert torch.equal(made[made != 0], clip.waveform[made != 0])


@pytest.mark.parametrize("snr", [-5.0, 0.0, 7.5, 20.0, 40.0])
@pytest.mark.parametrize("source", ["white", "recorded"])
def test_noise_has_the_ratio_asked_for_to_a_tenth_of_a_decibel(snr, source):
    noises = [_clip(0.3, seed=8, rate=8000)] if source == "recorded" else []
    for seed in range(3):
        clip = _clip(0.8, seed)
        made = Noise(snr, snr, noises)(clip, _seeded(seed)).waveform
        ratio = 10 * math.log10(_power(clip.waveform) / _power(made - clip.waveform))
        assert ratio == pytest.approx(snr, abs=0.1)


def test_noise_ratios_fill_their_range_and_silence_stays_silent():
    clip = _clip()
    ratios = []
    for seed in range(60):
        made = Noise(5, 20)(clip, _seeded(seed)).waveform
        ratios.append(10 * math.log10(_power(clip.waveform) / _power(made - clip.waveform)))
    assert 5 <= min(ratios) < 7
    assert 18 < max(ratios) <= 20
    assert not Noise()(Audio(torch.zeros(800), RATE), _seeded()).waveform.any()
    with pytest.raises(InputError, match="noise that is silent"):
        Noise(recordings=[Audio(torch.zeros(800), RATE)])(clip, _seeded())


@settings(max_examples=30, deadline=None)
@given(st.integers(700, 30_000), st.sampled_from([0.8, 0.9, 1.0, 1.1, 1.25]))
def test_speed_changes_the_duration_exactly(size, factor):
    clip = Audio(torch.randn(size, generator=_seeded()), RATE)
    made = Speed((factor,))(clip, _seeded()).waveform
    assert len(made) == math.ceil(size * 1000 / round(factor * 1000))
    assert made.data_ptr() != clip.waveform.data_ptr()


def test_speed_moves_the_pitch_with_it():
    time = torch.arange(RATE) / RATE
    made = Speed((1.25,))(Audio(torch.sin(2 * math.pi * 400 * time), RATE), _seeded()).waveform
    peak = torch.fft.rfft(made).abs().argmax() * RATE / len(made)
    assert float(peak) == pytest.approx(500, abs=2)
    assert {len(Speed()(_clip(), _seeded(seed)).waveform) for seed in range(9)} == {
        math.ceil(RATE / 0.9),
        math.ceil(RATE / 1.1),
    }


def test_gain_is_what_it_says():
    clip = _clip()
    made = Gain(-6.0, -6.0)(clip, _seeded()).waveform
    assert 10 * math.log10(_power(made) / _power(clip.waveform)) == pytest.approx(-6, abs=1e-4)


def test_reverberation_keeps_length_loudness_and_place_and_decays_as_asked():
    click = torch.zeros(RATE)
    click[2000] = 0.5
    made = Reverb(0.4, 0.4)(Audio(click, RATE), _seeded()).waveform
    assert len(made) == RATE
    assert not made[:2000].abs().max() > 1e-6
    assert int(made.abs().argmax()) == 2000
    assert _power(made) == pytest.approx(_power(click), rel=1e-4)
    tail = made[2001:].double().square()
    early, late = (float(tail[at : at + 800].mean()) for at in (0, 3200))
    assert 10 * math.log10(early / late) == pytest.approx(60 * 0.2 / 0.4, abs=2)
    direct = float(made[2000].double().square())
    assert 10 * math.log10(direct / float(tail.sum())) == pytest.approx(3, abs=0.1)


def test_a_measured_room_is_convolved():
    response = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.5])
    response = torch.nn.functional.pad(response, (0, 100))
    clip = Audio(torch.randn(400, generator=_seeded()), RATE)
    made = Reverb(responses=[Audio(response, RATE)])(clip, _seeded()).waveform
    wet = clip.waveform.clone()
    wet[2:] += 0.5 * clip.waveform[:-2]
    want = wet * math.sqrt(_power(clip.waveform) / _power(wet))
    assert torch.allclose(made, want, atol=1e-5)


def test_several_channels_need_a_choice_as_everywhere():
    stereo = torch.stack([_clip(seed=1).waveform, _clip(seed=2).waveform])
    made = Gain(0.0, 0.0)(Audio(stereo, RATE, channel=1), _seeded()).waveform
    assert torch.equal(made, stereo[1])
    with pytest.raises(InputError, match="several channels"):
        Gain()(Audio(stereo, RATE), _seeded())
    with pytest.raises(InputError, match="sample rate"):
        Gain()(Audio(stereo[0]), _seeded())
    with pytest.raises(InputError, match="sample rate"):
        Gain()(stereo[0], _seeded())


texts = st.lists(st.sampled_from("가 나다 라마바 사 아자 차카".split()), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(texts, st.integers(0, 999), st.floats(0.05, 1))
def test_swapping_keeps_the_words_and_deleting_keeps_their_order(words, seed, rate):
    text = " ".join(words)
    swapped = RandomSwap(rate)(text, _seeded(seed)).split()
    assert Counter(swapped) == Counter(words)
    left = RandomDeletion(rate)(text, _seeded(seed)).split()
    assert left
    rest = iter(words)
    assert all(word in rest for word in left)  # a subsequence


def test_one_swap_exchanges_two_places_and_deletion_has_its_rate():
    text = "a b c d e f g h i j"
    for seed in range(20):
        made = RandomSwap(0.1)(text, _seeded(seed)).split()
        assert sum(one != other for one, other in zip(made, text.split(), strict=True)) == 2
    kept = [len(RandomDeletion(0.3)(text, _seeded(seed)).split()) for seed in range(400)]
    assert np.mean(kept) == pytest.approx(7, abs=0.3)
    assert RandomDeletion(1.0)("a b c", _seeded()) in ("a", "b", "c")
    for edit in (RandomSwap(1.0), RandomDeletion(1.0)):
        assert edit("그래", _seeded()) == "그래"
        assert edit("", _seeded()) == ""


def test_synonyms_come_from_the_users_lexicon_only():
    lexicon = {"glad": ["happy", "pleased"]}
    made = {SynonymReplacement(lexicon, 0.5)("so glad now", _seeded(s)) for s in range(20)}
    assert made == {"so happy now", "so pleased now"}
    assert SynonymReplacement(lexicon)("so sad", _seeded()) == "so sad"
    for seed in range(10):
        words = RandomInsertion(lexicon, 0.5)("so glad now", _seeded(seed)).split()
        assert len(words) == 5
        assert Counter(words) - Counter(["happy"] * 2 + ["pleased"] * 2) == Counter(
            ["so", "glad", "now"]
        )
    for wrong in ({}, {"glad": []}, {"glad": "happy"}):
        with pytest.raises(InputError, match="lexicon"):
            SynonymReplacement(wrong)


def _samples(count=12):
    return [
        {
            "id": f"u{row}",
            "audio": _clip(0.1, row),
            "text": f"하나 둘 셋 넷 {row} 다섯",
            "labels": {"sad" if row % 6 == 0 else "neutral": 1},
            "speaker": f"s{row % 3}",
        }
        for row in range(count)
    ]


JOINT = Augment({"audio": [FrequencyMask(), Noise()], "text": [RandomSwap(), RandomDeletion(0.2)]})


def _identity(samples):
    return samples


def _read(data, **settings):
    loader = DataLoader(data, batch_size=4, collate_fn=_identity, **settings)
    return {sample["id"]: sample for batch in loader for sample in batch}


def _same(first, second):
    return first.keys() == second.keys() and all(
        torch.equal(one["audio"].waveform, second[name]["audio"].waveform)
        and one["text"] == second[name]["text"]
        for name, one in first.items()
    )


def test_the_result_is_the_same_in_any_worker_and_any_order():
    data = Augmented(_samples(), JOINT, seed=3)
    alone = _read(data)
    assert _same(alone, _read(data, num_workers=2))
    assert _same(alone, _read(Augmented(_samples()[::-1], JOINT, seed=3), num_workers=1))
    torch.manual_seed(99)
    assert _same(alone, _read(data, shuffle=True))
    assert not _same(alone, _read(Augmented(_samples(), JOINT, seed=4)))


def test_epochs_differ_and_reach_workers_that_live_on():
    data = Augmented(_samples(), JOINT)
    first = _read(data)
    loader = DataLoader(
        data, batch_size=4, num_workers=2, persistent_workers=True, collate_fn=_identity
    )
    for epoch in (0, 1, 0):
        data.set_epoch(epoch)
        found = {sample["id"]: sample for batch in loader for sample in batch}
        assert _same(found, first) is (epoch == 0)
    assert data.epoch == 0


def test_labels_and_everything_else_stay_and_both_modalities_change():
    samples = _samples()
    copies = [(one["audio"].waveform.clone(), one["text"], dict(one["labels"])) for one in samples]
    data = Augmented(samples, JOINT)
    for row, made in enumerate(data[row] for row in range(len(data))):
        assert made["labels"] == samples[row]["labels"]
        assert made["speaker"] == samples[row]["speaker"]
        assert not torch.equal(made["audio"].waveform, samples[row]["audio"].waveform)
        assert made["text"] != samples[row]["text"]
    for one, (waveform, text, labels) in zip(samples, copies, strict=True):
        assert torch.equal(one["audio"].waveform, waveform)
        assert (one["text"], one["labels"]) == (text, labels)
    assert data.column("speaker") == [one["speaker"] for one in samples]


def test_what_is_missing_stays_missing_and_a_rate_leaves_some_alone():
    sample = {**_samples(1)[0], "audio": None}
    made = Augmented([sample], JOINT)[0]
    assert made["audio"] is None
    data = Augmented(_samples(200), Augment({"text": [RandomSwap()]}, rate=0.25))
    changed = sum(data[row]["text"] != data.samples[row]["text"] for row in range(200))
    assert 30 < changed < 70


def test_what_is_done_to_the_text_does_not_move_the_noise_of_the_voice():
    voice = Augment({"audio": JOINT.edits["audio"]})
    sample = _samples(1)
    one, other = Augmented(sample, JOINT)[0], Augmented(sample, voice)[0]
    assert torch.equal(one["audio"].waveform, other["audio"].waveform)
    assert other["text"] == sample[0]["text"]


def test_rare_labels_get_halves_of_copies_of_three_kinds():
    samples = _samples(48)  # 8 of them sad
    data = Oversampled(samples, JOINT, rare=["sad"])
    assert len(data) == 48 + 12
    read = [data[row] for row in range(len(data))]
    kinds = Counter(one["augmented"] for one in read)
    assert kinds == {"": 48, "audio": 4, "text": 4, "audio+text": 4}
    assert len({one["id"] for one in read}) == 60
    assert [one["id"] for one in read] == data.column("id")
    assert [one["augmented"] for one in read] == data.column("augmented")
    originals = {one["id"]: one for one in samples}
    for one in read:
        source = originals[one["id"].split("+")[0]]
        assert one["labels"] == source["labels"]
        assert one["speaker"] == source["speaker"]
        heard = not torch.equal(one["audio"].waveform, source["audio"].waveform)
        assert heard is ("audio" in one["augmented"])
        assert (one["text"] != source["text"]) is ("text" in one["augmented"])
        assert one["augmented"] == "" or "sad" in one["labels"]


def test_copies_do_not_depend_on_order_workers_or_each_other():
    data = Oversampled(_samples(36), JOINT, rare=["sad"], fill=1.0, seed=5)
    counts = Counter("sad" in labels for labels in data.column("labels"))
    assert counts == {False: 30, True: 30}
    first = _read(data)
    assert _same(first, _read(data, num_workers=2))
    mixed = Oversampled(_samples(36)[::-1], JOINT, rare=["sad"], fill=1.0, seed=5)
    assert _same(first, _read(mixed))
    copies = Counter(name.split("+", 1)[0] for name in first if "+" in name)
    assert set(copies.values()) == {4}  # 24 copies of 6 samples, evenly
    twins = sorted(name for name in first if name.endswith("+audio2"))
    for name in twins:
        one, other = first[name], first[name.replace("+audio2", "+audio1")]
        assert not torch.equal(one["audio"].waveform, other["audio"].waveform)
    assert twins
    data.set_epoch(1)
    assert not _same(first, _read(data))


@pytest.mark.parametrize(
    ("fill", "added", "want"),
    [
        (None, {("audio",): 1.0}, 8),
        (0.5, augment.HALVES, 12),
        (20, augment.HALVES, 12),
        (5, augment.HALVES, 0),
        (1.0, {("audio",): 3.0, ("text",): 1.0}, 32),
    ],
)
def test_how_many_copies_there_are_is_declared(fill, added, want):
    data = Oversampled(_samples(48), JOINT, rare=["sad"], fill=fill, added=added)
    assert len(data) - 48 == want


def test_mistakes_are_named():
    samples = _samples()
    for make, wrong in [
        (lambda: Augment({}), "of nothing"),
        (lambda: Augment({"labels": [RandomSwap()]}), "of nothing"),
        (lambda: Augment({"text": [RandomSwap()]}, rate=1.5), "of nothing"),
        (lambda: Augmented([{"text": "a b"}], JOINT)[0], "without an id"),
        (lambda: Augmented([{"id": "u", "text": 3}], JOINT)[0], "sample 'u', text: no text"),
        (lambda: Oversampled(samples, JOINT, rare=["angry"]), "no sample has the label"),
        (lambda: Oversampled(samples, JOINT, rare=["sad"], added={("video",): 1}), "cannot be"),
        (lambda: Oversampled(samples, JOINT, rare=["sad"], fill=-1), "cannot be made"),
        (
            lambda: Oversampled(samples, Augment(JOINT.edits, rate=0.5), rare=["sad"]),
            "cannot be made",
        ),
        (
            lambda: Oversampled(Oversampled(samples, JOINT, rare=["sad"]), JOINT, rare=["sad"])[0],
            "oversampled already",
        ),
        (lambda: Speed((0.9001,)), "speeds"),
        (lambda: Speed(()), "speeds"),
        (lambda: Noise(20, 5), "out of range"),
        (lambda: Gain(float("nan"), 1), "out of range"),
        (lambda: TimeMask(-1), "out of range"),
        (lambda: Reverb(0, 1), "out of range"),
        (lambda: FrequencyMask(widest=0), "fits no band"),
        (lambda: RandomSwap(0), "out of range"),
        (lambda: RandomDeletion(1.5), "out of range"),
    ]:
        with pytest.raises(InputError, match=wrong):
            make()

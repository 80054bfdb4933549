from __future__ import annotations

import numpy as np
import pytest
from tests.voice.test_world import RATE, by_hand, noise
from tests.voice.voices import voice

from modalxai.datasets.tonebench.voices import Tone
from modalxai.errors import InputError
from modalxai.types import Audio
from modalxai.voice import (
    Edit,
    Reference,
    Tracker,
    analyse,
    apply,
    check_edit,
    check_hum,
    hum,
    likeness,
    low_pass,
    resynthesise,
    synthesise,
)
from modalxai.voice.checks import tempo
from modalxai.voice.contours import pitch_mean, pitch_spread, semitones, speaking_rate

DOSES = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)
NEUTRAL = Reference(pitch=170.0, rate=5.0)

EDITS = {
    "nothing": Edit(),
    "monotone": Edit(pitch_range=0),
    "lively": Edit(pitch_range=2),
    "level": Edit(pitch_level=0, reference=NEUTRAL),
    "rate": Edit(rate=0, reference=NEUTRAL),
    "even": Edit(intensity=0),
    "uneven": Edit(intensity=1.5),
    "neutral": Edit(0, 0, 0, 0, NEUTRAL),
    "halfway": Edit(0.5, 0.5, 0.5, 0.5, NEUTRAL),
}


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("speaker", [0, 1])
def test_an_edit_does_what_it_says_and_nothing_else(name: str, speaker: int) -> None:
    raw, edit = voice(speaker).raw, EDITS[name]
    check = check_edit(raw, resynthesise(raw, edit), edit)
    assert check.passed, check.flags


@pytest.mark.parametrize("name", ["nothing", "neutral"])
def test_the_words_are_still_there(name: str) -> None:
    raw = voice(1).raw
    assert likeness(analyse(raw), analyse(resynthesise(raw, EDITS[name]))) > 0.9
    assert likeness(analyse(raw), analyse(voice(1, seed=4).raw)) < 0.6


@pytest.mark.parametrize(
    ("done", "said"),
    [
        ("nothing", "monotone"),
        ("monotone", "nothing"),
        ("level", "even"),
        ("even", "rate"),
        ("rate", "level"),
    ],
)
def test_the_check_tells_one_edit_from_another(done: str, said: str) -> None:
    raw = voice(0).raw
    check = check_edit(raw, resynthesise(raw, EDITS[done]), EDITS[said])
    touched = {
        "nothing": set(),
        "monotone": {"pitch range"},
        "level": {"pitch level"},
        "rate": {"rate", "duration"},
        "even": {"intensity"},
    }
    failed = {one.name for one in check.measured if not one.passed}
    assert failed == touched[done] | touched[said]
    assert not check.passed


def test_the_check_notices_a_dose_that_is_a_little_off() -> None:
    raw = voice(0).raw
    sound = resynthesise(raw, Edit(pitch_range=1.6, intensity=0.8))
    check = check_edit(raw, sound, Edit(pitch_range=2, intensity=0.65))
    failed = {one.name for one in check.measured if not one.passed}
    assert failed == {"pitch range", "intensity"}


def test_the_pitch_of_a_flattened_voice_by_hand() -> None:
    one = voice(0)
    flat = resynthesise(one.raw, Edit(pitch_range=0))
    before = analyse(one.raw)
    clip = flat.waveform.double().numpy()
    heard = [by_hand(clip, place) for place in np.flatnonzero(before.sure)[::9]]
    off = np.abs(semitones(np.array(heard)) - semitones(np.array(pitch_mean(before.sure_pitch))))
    assert np.mean(off < 0.6) > 0.9


def test_dio_hears_the_dose_too() -> None:
    raw = voice(1).raw
    before = analyse(raw, Tracker("dio"))
    after = analyse(resynthesise(raw, Edit(pitch_range=0.5)), Tracker("dio"))
    both = before.sure & after.sure
    spreads = [pitch_spread(one.pitch[both]) for one in (before, after)]
    assert spreads[1] / spreads[0] == pytest.approx(0.5, abs=0.05)


def test_pitch_range_is_proportional_to_the_dose() -> None:
    one = voice(0)
    before = analyse(one.raw)
    found = []
    for dose in DOSES:
        after = analyse(resynthesise(one.raw, Edit(pitch_range=dose)))
        both = before.sure & after.sure
        # Against the pitch that was spoken, not the one that was tracked.
        spoken = semitones(one.pitch(len(both))[both])
        heard = semitones(after.pitch[both])
        # The spread about the line is the tracker's own.
        slope = np.polyfit(spoken, heard, 1)[0]
        assert heard.std() == pytest.approx(dose * spoken.std(), rel=0.05, abs=0.25)
        found.append(slope)
    assert found == pytest.approx(DOSES, abs=0.05)


def test_intensity_is_proportional_to_the_dose() -> None:
    raw = voice(1).raw
    before = analyse(raw)
    active, slopes = before.active, []
    for dose in DOSES:
        sound = resynthesise(raw, Edit(intensity=dose))
        after = analyse(sound)
        slopes.append(np.polyfit(before.intensity[active], after.intensity[active], 1)[0])
        level = float(sound.waveform.double().std(unbiased=False))
        assert level == pytest.approx(before.level, rel=1e-5)
    # Above 1 some dips are narrower than the window in which intensity is measured.
    assert slopes[:4] == pytest.approx(DOSES[:4], abs=0.05)
    assert slopes[4] == pytest.approx(1.5, rel=0.05)
    assert slopes[-1] == pytest.approx(2, abs=0.15)


def test_pitch_level_and_rate_follow_the_dose_on_their_logarithms() -> None:
    raw = voice(0).raw
    before = analyse(raw)
    own = speaking_rate(before)
    mean = pitch_mean(before.sure_pitch)
    for dose in (0.25, 1.0, 1.5):
        sound = resynthesise(raw, Edit(pitch_level=dose, rate=dose, reference=NEUTRAL))
        after = analyse(sound)
        assert pitch_mean(after.sure_pitch) == pytest.approx(170 * (mean / 170) ** dose, rel=0.02)
        factor = own / (5 * (own / 5) ** dose)
        assert len(sound.waveform) == round(before.samples * factor)
        assert tempo(before, after) == pytest.approx(factor, rel=0.02)


def test_words_move_with_the_rate() -> None:
    one = voice(0)
    before = analyse(one.raw)
    slow = Edit(rate=0, reference=Reference(rate=speaking_rate(before) / 1.5))
    after = analyse(resynthesise(one.raw, slow))
    assert after.samples == round(before.samples * 1.5)
    times = np.arange(len(after.active)) * 0.005 / 1.5
    inside = np.zeros(len(times), dtype=bool)
    outside = np.ones(len(times), dtype=bool)
    for start, end in one.truth.words:
        inside |= (times > start + 0.03) & (times < end - 0.03)
        outside &= (times < start - 0.1) | (times > end + 0.1)
    assert after.active[inside].mean() > 0.9
    assert not after.active[outside].any()


def test_an_edit_of_nothing_changes_nothing() -> None:
    found = analyse(voice(0).raw)
    same = apply(found, Edit())
    assert np.allclose(same.pitch, found.pitch)
    for name in ("envelope", "aperiodicity", "intensity", "active"):
        assert np.array_equal(getattr(same, name), getattr(found, name))
    assert same.samples == found.samples
    # Nor does what has no reference.
    idle = apply(found, Edit(pitch_level=0, rate=0))
    assert np.allclose(idle.pitch, found.pitch)
    assert idle.samples == found.samples


def test_a_pause_keeps_its_noise() -> None:
    found = analyse(voice(0).raw)
    even = apply(found, Edit(intensity=0))
    assert np.ptp(even.intensity[found.active]) < 1e-9
    far = np.convolve(found.active, np.ones(17), "same") == 0
    assert far.any()
    assert np.array_equal(even.intensity[far], found.intensity[far])


def test_a_voiceless_clip_is_only_resynthesised() -> None:
    raw = noise()
    edit = Edit(0, 0, 0, 1, NEUTRAL)
    assert np.array_equal(resynthesise(raw, edit).waveform, resynthesise(raw).waveform)
    check = check_edit(raw, resynthesise(raw, edit), edit)
    assert not check.passed
    assert "no voiced frame" in check.flags[0]
    assert np.isnan(check["pitch range"].after)


def test_no_frame_leaves_the_range_of_voices() -> None:
    found = analyse(voice(1).raw)
    wild = apply(found, Edit(pitch_level=4, pitch_range=4, reference=Reference(pitch=60)))
    moved = wild.pitch[wild.voiced]
    assert moved.min() >= 30
    assert moved.max() <= 1600


def test_the_mean_of_a_corpus_is_a_reference() -> None:
    raws = [voice(0).raw, voice(1).raw, noise()]
    found = [analyse(raw) for raw in raws[:2]]
    reference = Reference.of(raws)
    assert reference.pitch == pytest.approx(
        np.sqrt(np.prod([pitch_mean(a.sure_pitch) for a in found]))
    )
    assert reference.rate == pytest.approx(np.sqrt(np.prod([speaking_rate(a) for a in found])))
    with pytest.raises(InputError, match="no voice"):
        Reference.of([noise()])


@pytest.mark.parametrize("speaker", [0, 1])
@pytest.mark.parametrize("way", ["hum", "low-pass"])
def test_without_words_pitch_and_intensity_stay(speaker: int, way: str) -> None:
    raw = voice(speaker).raw
    found = analyse(raw)
    sound = synthesise(hum(found)) if way == "hum" else low_pass(raw, found, 400.0)
    assert sound.waveform.shape == raw.waveform.shape
    assert float(sound.waveform.double().std(unbiased=False)) == pytest.approx(found.level, 1e-5)
    check = check_hum(raw, sound)
    assert check.passed, check.flags


def test_the_check_of_a_hum_tells_words_and_a_wrong_tune() -> None:
    raw = voice(1).raw
    with_words = check_hum(raw, resynthesise(raw))
    assert [one.name for one in with_words.measured if not one.passed] == ["spectrum"]
    monotone = check_hum(raw, synthesise(hum(apply(analyse(raw), Edit(pitch_range=0)))))
    assert [one.name for one in monotone.measured if not one.passed] == ["pitch contour"]
    even = check_hum(raw, synthesise(hum(apply(analyse(raw), Edit(intensity=0)))))
    assert [one.name for one in even.measured if not one.passed] == ["intensity contour"]


def test_a_low_pass_ends_at_its_cutoff() -> None:
    raw = voice(0).raw
    low = low_pass(raw, analyse(raw), 400.0).waveform.double().numpy()
    power = np.abs(np.fft.rfft(low)) ** 2
    hertz = np.fft.rfftfreq(len(low), 1 / RATE)
    assert power[hertz > 800].sum() < 1e-4 * power.sum()


def test_a_hum_has_one_spectrum() -> None:
    frames = hum(analyse(voice(0).raw)).envelope
    shape = frames / frames.mean(1, keepdims=True)
    assert np.allclose(shape, shape[0])


@pytest.mark.parametrize(
    ("made", "wrong"),
    [
        (lambda: Edit(pitch_range=-1), "impossible dose"),
        (lambda: Edit(rate=float("nan")), "impossible dose"),
        (lambda: Edit(intensity=5), "impossible dose"),
        (lambda: Edit(intensity="0"), "impossible dose"),  # type: ignore[arg-type]
        (lambda: Reference(pitch=10), "no voice has"),
        (lambda: Reference(rate=float("nan")), "no voice has"),
        (
            lambda: resynthesise(
                voice(0, Tone(rate=1.4)).raw, Edit(rate=4, reference=Reference(rate=1))
            ),
            "too far",
        ),
    ],
)
def test_impossible_edits_are_refused(made: object, wrong: str) -> None:
    with pytest.raises(InputError, match=wrong):
        made()  # type: ignore[operator]


def test_a_check_knows_its_properties() -> None:
    raw = voice(0).raw
    check = check_edit(raw, raw, Edit())
    assert check.passed
    assert check["rate"].before == pytest.approx(speaking_rate(analyse(raw)))
    with pytest.raises(InputError, match="not measured"):
        check["loudness"]


def test_a_contour_of_another_length_is_stretched() -> None:
    found = analyse(voice(0).raw)
    longer = apply(found, Edit(rate=0, reference=Reference(rate=speaking_rate(found) / 2)))
    assert len(longer.pitch) == 2 * len(found.pitch) - 1
    both = longer.voiced[::2] & found.voiced
    assert np.allclose(longer.pitch[::2][both], found.pitch[both])
    assert np.allclose(longer.envelope[::2], found.envelope)
    assert set(np.unique(longer.active)) == {False, True}


def test_stereo_in_mono_out() -> None:
    one = voice(0).raw.waveform
    both = Audio(np.stack([one, one]), RATE, channel="mean")
    assert resynthesise(both, Edit(pitch_range=0)).waveform.dim() == 1

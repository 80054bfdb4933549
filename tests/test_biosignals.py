from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modalxai import biosignals
from modalxai.biosignals import Beats, Series
from modalxai.errors import InputError

SAMPLE = Path(__file__).resolve().parents[2] / "shared" / "data" / "e4_sample"
RATE = 250.0


def heart(times: np.ndarray, seconds: float, rate: float = RATE, noise: float = 0.0) -> np.ndarray:
    """An electrocardiogram: an R wave 20 ms wide and a broad T wave per beat, on a wander."""
    clock = np.arange(round(seconds * rate)) / rate
    waves = 0.5 * np.sin(2 * np.pi * 0.2 * clock)
    for time in times:
        waves += np.exp(-0.5 * ((clock - time) / 0.01) ** 2)
        waves += 0.3 * np.exp(-0.5 * ((clock - time - 0.25) / 0.05) ** 2)
    return waves + noise * np.random.default_rng(0).standard_normal(len(clock))


def beat_times(seconds: float = 60.0) -> np.ndarray:
    """Beats whose interval breathes between 0.7 and 0.9 s."""
    times = [0.5]
    while times[-1] < seconds - 1:
        times.append(times[-1] + 0.8 + 0.1 * np.sin(2 * np.pi * 0.25 * times[-1]))
    return np.array(times)


def from_intervals(intervals: list[float]) -> Beats:
    return Beats(10 + np.cumsum(intervals), np.array(intervals))


@pytest.mark.parametrize("rate", [100.0, 250.0, 500.0])
@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize("gain", [1.0, -0.002, 800.0])
def test_every_beat_is_found_where_it_is(rate: float, noise: float, gain: float) -> None:
    times = beat_times()
    found = biosignals.r_peaks(gain * heart(times, 60, rate, noise), rate) / rate
    assert len(found) == len(times)
    assert np.abs(found - times).max() < 0.012


def test_a_sudden_small_beat_is_found_on_the_second_look() -> None:
    times = np.arange(0.5, 30, 0.8)
    ecg = heart(times, 30.5)
    weak = np.abs(np.arange(len(ecg)) / RATE - times[20]) < 0.1
    ecg[weak] = 0.4 * ecg[weak]
    assert len(biosignals.r_peaks(ecg, RATE)) == len(times)


def test_a_flat_line_and_a_short_piece_have_no_beats() -> None:
    assert len(biosignals.r_peaks(np.full(2000, 3.3), RATE)) == 0
    assert len(biosignals.heart_beats(heart(beat_times(), 60)[:400], RATE).intervals) == 0


def test_no_interval_reaches_across_a_gap() -> None:
    times = np.arange(0.5, 60, 0.8)
    ecg = heart(times, 60.5)
    ecg[round(20 * RATE) : round(21 * RATE)] = np.nan  # shorter than two beats
    beats = biosignals.heart_beats(ecg, RATE)
    assert np.abs(beats.intervals - 0.8).max() < 0.01
    ((begin, end),) = beats.gaps()
    assert begin < 20 < 21 < end
    assert biosignals.hrv(beats).values["nn50"] == 0


def test_variability_is_what_the_definitions_say() -> None:
    found = biosignals.hrv(from_intervals([0.8, 0.9, 0.84, 0.8, 0.86]))
    milliseconds = [800, 900, 840, 800, 860]
    mean = sum(milliseconds) / 5
    assert found.values == pytest.approx(
        {
            "mean_rr": mean,
            "sdnn": (sum((value - mean) ** 2 for value in milliseconds) / 4) ** 0.5,
            "rmssd": ((100**2 + 60**2 + 40**2 + 60**2) / 4) ** 0.5,
            "nn50": 3,
        }
    )
    assert not found.reasons


def test_a_step_of_exactly_50_ms_is_not_counted() -> None:
    # At 100 samples per second steps are whole tens of milliseconds, and 50 is one of them.
    samples = np.array([109, 114, 109, 104, 110])
    times = np.cumsum(samples) / 100
    found = biosignals.hrv(Beats(times, np.diff(np.concatenate([[0.0], times]))))
    assert found.values["nn50"] == 1


def test_variability_of_a_simulated_heart_is_the_closed_form() -> None:
    times = beat_times(300)
    found = biosignals.hrv(biosignals.heart_beats(heart(times, 300, 500.0), 500.0)).values
    intervals = 1000 * np.diff(times)
    assert found["mean_rr"] == pytest.approx(intervals.mean(), rel=1e-3)
    assert found["sdnn"] == pytest.approx(intervals.std(ddof=1), rel=0.02)
    assert found["rmssd"] == pytest.approx(np.sqrt((np.diff(intervals) ** 2).mean()), rel=0.02)


def test_a_gap_is_no_successive_difference() -> None:
    joined = Beats(np.array([1.0, 1.8, 2.6, 9.0, 9.9]), np.array([0.8, 0.8, 0.8, 0.8, 0.9]))
    assert joined.successive().tolist() == [True, True, False, True]
    assert joined.gaps() == ((2.6, 8.2),)
    # 0.8 to 0.8 across the gap would have been a fourth difference of 0.
    assert biosignals.hrv(joined).values["rmssd"] == pytest.approx((100**2 / 3) ** 0.5)


@pytest.mark.parametrize(
    ("beats", "missing"),
    [
        (None, {"mean_rr", "sdnn", "rmssd", "nn50"}),
        (from_intervals([0.8, 0.9]), {"mean_rr", "sdnn", "rmssd", "nn50"}),
        (from_intervals([]), {"mean_rr", "sdnn", "rmssd", "nn50"}),
        (Beats(np.array([1.0, 5.0, 9.0]), np.array([0.8, 0.8, 0.9])), {"rmssd", "nn50"}),
    ],
)
def test_too_few_beats_are_missing_and_say_why(beats: Beats | None, missing: set[str]) -> None:
    found = biosignals.hrv(beats)
    assert {name for name, value in found.values.items() if np.isnan(value)} == missing
    assert set(found.reasons) == missing


def test_the_power_of_a_sine_is_half_its_square_in_its_own_band() -> None:
    clock = np.arange(2400) / 20
    signal = 5 + 0.3 * clock + 0.4 * np.sin(2 * np.pi * 0.3 * clock)
    signal = signal + 0.1 * np.sin(2 * np.pi * 3.0 * clock)
    found = biosignals.eda_spectrum(signal, 20.0)
    assert not found.reasons
    assert found.values["eda_0.2_0.5"] == pytest.approx(0.4**2 / 2, rel=0.01)
    assert found.values["eda_2_5"] == pytest.approx(0.1**2 / 2, rel=0.01)
    assert found.values["eda_0.5_1"] < 1e-4
    assert found.values["eda_1_2"] < 1e-4


def test_bands_that_cannot_be_seen_are_missing_and_say_why() -> None:
    clock = np.arange(40) / 4
    found = biosignals.eda_spectrum(1 + 0.1 * np.sin(clock), 4.0)
    assert set(found.reasons) == {"eda_0.05_0.1", "eda_2_5"}
    assert "Nyquist limit of 2 Hz" in found.reasons["eda_2_5"]
    assert "10 s, shorter than 20 s" in found.reasons["eda_0.05_0.1"]
    assert np.isnan(found.values["eda_2_5"])
    assert found.values["eda_0.1_0.2"] > 0
    whole = 2 + 0.1 * np.sin(np.arange(400) / 4)
    assert set(biosignals.eda_spectrum(whole, 4.0).reasons) == {"eda_2_5"}
    assert set(biosignals.eda_spectrum(whole, 8.0).reasons) == {"eda_2_5"}  # 4 Hz is below 5
    assert not biosignals.eda_spectrum(whole, 10.0).reasons
    for bad in (np.nan, 0.0, -1.0):
        broken = whole.copy()
        broken[7] = bad
        reasons = biosignals.eda_spectrum(broken, 4.0).reasons
        assert len(reasons) == 6
        assert "1 of 400" in reasons["eda_1_2"]
    for nothing in (None, [], [1.0]):
        assert len(biosignals.eda_spectrum(nothing, 4.0).reasons) == 6


def test_temperature_is_that_of_the_line_and_bears_gaps() -> None:
    clock = np.arange(240) / 4
    values = 32.5 + 0.01 * clock
    values[10:60] = np.nan
    found = biosignals.temperature(values, 4.0).values
    known = values[np.isfinite(values)]
    assert found["temperature_slope"] == pytest.approx(0.01)
    assert found["temperature_intercept"] == pytest.approx(32.5)
    assert found["temperature_mean"] == pytest.approx(known.mean())
    assert found["temperature_variance"] == pytest.approx(((known - known.mean()) ** 2).mean())
    values[10:140] = np.nan
    assert "110 of 240" in biosignals.temperature(values, 4.0).reasons["temperature_mean"]
    for nothing in (None, [], [30.0, 31.0]):
        assert len(biosignals.temperature(nothing, 4.0).reasons) == 4


def test_a_summary_has_every_feature_in_order_and_no_zero_for_the_missing() -> None:
    nothing = biosignals.summary()
    assert tuple(nothing.values) == biosignals.FEATURES
    assert np.isnan(nothing.vector()).all()
    assert set(nothing.reasons.values()) == {"not recorded"}
    some = biosignals.summary(from_intervals([0.8, 0.9, 0.8]), skin=[30.0, 31.0, 30.0])
    assert np.isfinite(some.vector()).tolist() == [True] * 4 + [False] * 6 + [True] * 4


def test_standards_skip_the_missing() -> None:
    centre, spread = biosignals.standards(
        [[1.0, np.nan, 5.0, np.nan], [3.0, 2.0, 5.0, np.nan], [5.0, 4.0, 5.0, np.nan]]
    )
    assert centre == [3, 3, 5, 0]
    assert spread == pytest.approx([np.sqrt(8 / 3), 1, 1, 1])


def test_what_lies_outside_the_recording_is_missing() -> None:
    series = Series(np.arange(8.0)[None], 4.0)
    assert series.between(0.5, 1.0).tolist() == [[2, 3]]
    cut = series.between(1.5, 2.5)
    assert cut[0, :2].tolist() == [6, 7]
    assert np.isnan(cut[0, 2:]).all()
    assert np.isnan(series.between(-1, -0.5)).all()
    beats = from_intervals([0.8, 0.9, 1.0])  # ends at 10.8, 11.7, 12.7
    assert beats.between(10.5, 12.0).times.tolist() == pytest.approx([11.7])


def test_native_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "EDA.csv").write_text("1560279825.000000\n4.000000\n0.1\n0.2\n\n")
    eda = biosignals.read_e4(tmp_path / "EDA.csv")
    assert isinstance(eda, Series)
    assert (eda.start, eda.rate, eda.values.tolist()) == (1560279825, 4, [[0.1, 0.2]])
    (tmp_path / "ACC.csv").write_text("1.0, 1.0, 1.0\r\n32.0, 32.0, 32.0\r\n-61,25,6\r\n")
    assert biosignals.read_e4(tmp_path / "ACC.csv").values.tolist() == [[-61], [25], [6]]
    (tmp_path / "IBI.csv").write_text("7.0, IBI\n1.5,0.8\n2.4,0.9\n4.9,2.5\n")
    ibi = biosignals.read_e4(tmp_path / "IBI.csv")
    assert isinstance(ibi, Beats)
    assert (ibi.start, ibi.times.tolist(), ibi.intervals.tolist()) == (7, [1.5, 2.4], [0.8, 0.9])
    (tmp_path / "empty.csv").write_text("7.0, IBI\n")
    assert len(biosignals.read_e4(tmp_path / "empty.csv").times) == 0


@pytest.mark.parametrize("text", ["", "epoch\n4\n1", "1.0\n", "1.0\n0\n2.0", "1\n4\n1,2\n"])
def test_files_of_another_format_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "EDA.csv").write_text(text)
    with pytest.raises(InputError):
        biosignals.read_e4(tmp_path / "EDA.csv")
    with pytest.raises(InputError):
        biosignals.read_e4(tmp_path / "none.csv")


def test_wrong_signals_are_refused() -> None:
    with pytest.raises(InputError, match="wrong shape"):
        biosignals.temperature(np.zeros((2, 5)), 4.0)
    with pytest.raises(InputError, match="sampling rate"):
        biosignals.eda_spectrum(np.ones(50), 0.0)
    with pytest.raises(InputError, match="too slowly"):
        biosignals.heart_beats(np.ones(50), 20.0)


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="needs the E4 recording in ../shared/data")
def test_a_real_wristband_gives_plausible_numbers_and_reports_its_gaps() -> None:
    beats = biosignals.read_e4(SAMPLE / "IBI.csv")
    eda, skin = (biosignals.read_e4(SAMPLE / name) for name in ("EDA.csv", "TEMP.csv"))
    assert isinstance(beats, Beats)
    assert isinstance(eda, Series)
    assert isinstance(skin, Series)
    gaps = beats.gaps()
    assert len(gaps) > 100
    assert gaps[0] == pytest.approx((83.503822, 99.973326 - 0.843789))
    measured = 0
    for begin in range(0, 1200, 60):
        stretch = (begin, begin + 60)
        found = biosignals.summary(
            beats.between(*stretch),
            eda.between(*stretch)[0],
            eda.rate,
            skin.between(*stretch)[0],
            skin.rate,
        )
        values = found.values
        assert set(found.reasons) == {name for name in values if np.isnan(values[name])}
        assert "eda_2_5" in found.reasons
        assert 28 < values["temperature_mean"] < 38
        assert abs(values["temperature_slope"]) < 0.05
        if "rmssd" not in found.reasons:
            measured += 1
            assert 500 < values["mean_rr"] < 1500
            assert 0 < values["rmssd"] < 300
            assert values["nn50"] <= 120
        if "eda_0.1_0.2" not in found.reasons:
            assert 0 <= values["eda_0.1_0.2"] < 1
    assert 0 < measured < 20

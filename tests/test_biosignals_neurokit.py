"""Signal features beside those of neurokit2, a package with the same aim by other people."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from modalxai import biosignals
from modalxai.biosignals import EDA_BANDS, Beats, Series

neurokit2: Any = pytest.importorskip("neurokit2", reason="the second opinion on signal features")

SAMPLE = Path(__file__).resolve().parents[2] / "shared" / "data" / "e4_sample"
NAMES = {"mean_rr": "MeanNN", "sdnn": "SDNN", "rmssd": "RMSSD"}


def simulated(rate: int, noise: float, heart_rate: int) -> np.ndarray:
    found: np.ndarray = neurokit2.ecg_simulate(
        duration=60, sampling_rate=rate, noise=noise, heart_rate=heart_rate, random_state=1
    )
    return found


def theirs(found: Any, differences: int) -> dict[str, float]:
    """Their measures under our names; the share of steps above 50 ms as their number."""
    values = {name: float(found[f"HRV_{column}"].iloc[0]) for name, column in NAMES.items()}
    # Their share is of one more than the successive differences.
    count = float(found["HRV_pNN50"].iloc[0]) / 100 * (differences + 1)
    return values | {"nn50": round(count, 6)}


@pytest.mark.parametrize("rate", [100, 250, 1000])
@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize("heart_rate", [55, 110])
def test_beats_and_their_variability_are_theirs(rate: int, noise: float, heart_rate: int) -> None:
    ecg = simulated(rate, noise, heart_rate)
    peaks = biosignals.r_peaks(ecg, rate)
    cleaned = neurokit2.ecg_clean(ecg, sampling_rate=rate)
    others = neurokit2.ecg_peaks(cleaned, sampling_rate=rate)[1]["ECG_R_Peaks"]
    # Ours are among theirs, to 10 ms; they also keep beats that the ends may have cut.
    assert np.abs(others[:, None] - peaks).min(0).max() <= max(1, 0.01 * rate)
    assert len(others) - 2 <= len(peaks) <= len(others)
    found = biosignals.hrv(biosignals.heart_beats(ecg, rate)).values
    same = neurokit2.hrv_time(peaks, sampling_rate=rate)
    assert found == pytest.approx(theirs(same, len(peaks) - 2), rel=1e-9, abs=1e-6)
    whole = theirs(neurokit2.hrv_time(others, sampling_rate=rate), len(others) - 2)
    assert found["mean_rr"] == pytest.approx(whole["mean_rr"], rel=1e-3)
    for name in ("sdnn", "rmssd"):
        # Their peaks of the raw curve and ours of the filtered one differ by a sample.
        assert found[name] == pytest.approx(whole[name], rel=0.05, abs=300 / rate)


def test_missing_samples_leave_what_neurokit2_measures_on_the_rest() -> None:
    ecg = simulated(250, 0.02, 75)
    ecg[250 * 20 : 250 * 24] = np.nan
    beats = biosignals.heart_beats(ecg, 250)
    assert len(beats.gaps()) == 1
    found = biosignals.hrv(beats).values
    given = {"RRI": 1000 * beats.intervals, "RRI_Time": beats.times}
    steps = int(beats.successive().sum())
    assert steps == len(beats.times) - 2
    assert found == pytest.approx(theirs(neurokit2.hrv_time(given, 1000), steps), rel=1e-9)


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="needs the E4 recording in ../shared/data")
@pytest.mark.parametrize(("begin", "end"), [(0, 300), (100, 700), (0, 1200), (0, 2000)])
def test_intervals_of_a_wristband_with_gaps_give_their_measures(begin: int, end: int) -> None:
    beats = biosignals.read_e4(SAMPLE / "IBI.csv")
    assert isinstance(beats, Beats)
    part = beats.between(begin, end)
    assert part.gaps()
    found = biosignals.hrv(part).values
    given = {"RRI": 1000 * part.intervals, "RRI_Time": part.times}
    steps = int(part.successive().sum())
    assert found == pytest.approx(theirs(neurokit2.hrv_time(given, 1000), steps), rel=1e-9)


def test_conductance_has_its_power_in_the_bands_where_they_see_it() -> None:
    from scipy import signal

    eda = 5 + neurokit2.eda_simulate(
        duration=120, sampling_rate=20, scr_number=8, noise=0.02, drift=0.01, random_state=3
    )
    found = biosignals.eda_spectrum(eda, 20.0)
    assert not found.reasons
    bands = list(pairwise(EDA_BANDS))
    # Their edges are half a bin aside, and they join the bins by straight lines.
    other = neurokit2.signal_power(
        signal.detrend(eda),
        frequency_band=bands,
        sampling_rate=20,
        method="welch",
        window=120,
        normalize=False,
    )
    expected = other.iloc[0].to_numpy()
    assert found.vector() == pytest.approx(expected, rel=0.2)
    assert found.vector().sum() == pytest.approx(expected.sum(), rel=0.1)


def test_power_of_many_sines_is_the_closed_form() -> None:
    generator = np.random.default_rng(4)
    clock = np.arange(20 * 200) / 20
    curve, power = 8 - 0.01 * clock, []
    for low, high in pairwise(EDA_BANDS):
        amplitude, phase = generator.uniform(0.1, 0.4), generator.uniform(0, 6.28)
        middle = (low + high) / 2
        curve = curve + amplitude * np.sin(2 * np.pi * middle * clock + phase)
        power.append(amplitude**2 / 2)
    found = biosignals.eda_spectrum(curve, 20.0)
    assert found.vector() == pytest.approx(power, rel=0.02)


def test_white_noise_has_its_variance_spread_evenly() -> None:
    # Power spectral density 2 variance / rate: a closed form for every band at once.
    generator = np.random.default_rng(5)
    runs = [9 + 0.5 * generator.standard_normal(20 * 100) for _ in range(40)]
    found = np.mean([biosignals.eda_spectrum(run, 20.0).vector() for run in runs], axis=0)
    widths = np.diff(EDA_BANDS)
    assert found == pytest.approx(2 * 0.25 / 20 * widths, rel=0.15)


def test_temperature_is_the_regression_of_the_known_samples() -> None:
    generator = np.random.default_rng(6)
    clock = np.arange(240) / 4
    values = 33 - 0.004 * clock + 0.05 * generator.standard_normal(240)
    values[generator.random(240) < 0.3] = np.nan
    known = np.isfinite(values)
    line = stats.linregress(clock[known], values[known])
    found = biosignals.temperature(values, 4.0).values
    assert found["temperature_slope"] == pytest.approx(line.slope)
    assert found["temperature_intercept"] == pytest.approx(line.intercept)
    slope, intercept = np.polyfit(clock[known], values[known], 1)
    assert (slope, intercept) == pytest.approx((line.slope, line.intercept))
    assert found["temperature_mean"] == pytest.approx(np.nanmean(values))
    assert found["temperature_variance"] == pytest.approx(np.nanvar(values))


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="needs the E4 recording in ../shared/data")
def test_a_wristbands_minutes_are_finite_and_plausible_or_say_why_not() -> None:
    beats = biosignals.read_e4(SAMPLE / "IBI.csv")
    eda, skin = (biosignals.read_e4(SAMPLE / name) for name in ("EDA.csv", "TEMP.csv"))
    assert isinstance(beats, Beats)
    assert isinstance(eda, Series)
    assert isinstance(skin, Series)
    seconds = skin.values.shape[1] / skin.rate
    rows = []
    for begin in np.arange(0, seconds - 60, 60):
        stretch = (begin, begin + 60)
        found = biosignals.summary(
            beats.between(*stretch),
            eda.between(*stretch)[0],
            eda.rate,
            skin.between(*stretch)[0],
            skin.rate,
        )
        rows.append(found.vector())
        missing = {name for name, value in found.values.items() if not np.isfinite(value)}
        assert missing == set(found.reasons)
        assert all(found.reasons.values())
    table = dict(zip(biosignals.FEATURES, np.array(rows).T, strict=True))
    ranges = {
        "mean_rr": (400, 1500),  # ms: 40 to 150 beats per minute
        "sdnn": (5, 400),
        "rmssd": (5, 400),
        "nn50": (0, 150),
        "temperature_mean": (25, 40),  # degrees Celsius
        "temperature_variance": (0, 4),
        "temperature_slope": (-0.1, 0.1),
        "temperature_intercept": (25, 40),
    }
    for name, column in table.items():
        low, high = ranges.get(name, (0, 10))  # microsiemens squared
        known = column[np.isfinite(column)]
        assert ((known >= low) & (known <= high)).all(), (name, known)
        # 2 to 5 Hz lies above what 4 samples per second show; gaps take some of the rest.
        assert (len(known) == 0) == (name == "eda_2_5"), name
    assert 0 < np.isnan(table["rmssd"]).sum() < len(rows)

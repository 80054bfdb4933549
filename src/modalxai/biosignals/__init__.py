"""Signal features of the body: heart beats, skin conductance, skin temperature.

What cannot be measured (a gap, too short a window, a frequency above the Nyquist limit) is NaN,
with the reason beside it, and never 0: zero is a value, and a strange one.
"""

from __future__ import annotations

from modalxai.biosignals.conductance import EDA_BANDS, eda_spectrum
from modalxai.biosignals.ecg import heart_beats, r_peaks
from modalxai.biosignals.features import FEATURES, standards, summary
from modalxai.biosignals.measures import FEWEST, Measures
from modalxai.biosignals.recordings import ADJACENT, PLAUSIBLE, Beats, Biosignal, Series, read_e4
from modalxai.biosignals.skin import temperature
from modalxai.biosignals.variability import hrv

__all__ = [
    "ADJACENT",
    "EDA_BANDS",
    "FEATURES",
    "FEWEST",
    "PLAUSIBLE",
    "Beats",
    "Biosignal",
    "Measures",
    "Series",
    "eda_spectrum",
    "heart_beats",
    "hrv",
    "r_peaks",
    "read_e4",
    "standards",
    "summary",
    "temperature",
]

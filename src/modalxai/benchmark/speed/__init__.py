"""The speed table: what explaining costs, beside Captum, SHAP and shapiq, in one run.

`run` measures everything on the same models and inputs and writes results, a page and pictures;
``python -m modalxai.benchmark.speed OUT`` does the same.
"""

from __future__ import annotations

from modalxai.benchmark.speed.floors import Floor, floors
from modalxai.benchmark.speed.run import run
from modalxai.benchmark.speed.settings import Settings

__all__ = ["Floor", "Settings", "floors", "run"]

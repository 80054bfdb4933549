"""ToneBench, the contest: explanations of models whose truth is known, scored side by side.

Models of `modalxai.datasets.tonebench` are trained and gated; every contestant, modalxai's
attributors and those of other packages, published practices and controls, says what the modalities
contributed; scores hold it against the model's own factorial table.

- `systems`, `arenas`: models, gates, gold
- `question`, `contestant`, `contestants`: who is asked what
- `scores`, `tables`, `claims`: how wrong, how sure, what must show
- `results`, `page`, `pictures`: what is written
"""

from modalxai.benchmark.tonebench.command import run
from modalxai.benchmark.tonebench.contest import Arena, compete
from modalxai.benchmark.tonebench.contestant import Answer, Contestant, Method
from modalxai.benchmark.tonebench.contestants import everybody
from modalxai.benchmark.tonebench.question import Question, Track
from modalxai.benchmark.tonebench.results import Results
from modalxai.benchmark.tonebench.settings import BENCHMARK, Settings

__all__ = [
    "BENCHMARK",
    "Answer",
    "Arena",
    "Contestant",
    "Method",
    "Question",
    "Results",
    "Settings",
    "Track",
    "compete",
    "everybody",
    "run",
]

"""Does the explanation tell the truth?

No single number proves it. `srg` is the headline where only a model is there: does the order of
words and moments agree with what their removal does? It shares the removal with the explainer, so
read it beside tests that share nothing: `reparametrisation_gap` and `randomisation` fail maps that
explain how a model is written down, or its input; `localisation` compares with a known truth.
"""

from modalxai.evaluation.controls import shuffled_labels
from modalxai.evaluation.coordinates import Coordinates, reparametrised
from modalxai.evaluation.erasure import comprehensiveness, sufficiency
from modalxai.evaluation.flipping import SRG, Curves, deletion, insertion, srg
from modalxai.evaluation.latency import Latency, latency
from modalxai.evaluation.maps import complexity, similarity
from modalxai.evaluation.measured import Measured
from modalxai.evaluation.pointing import Localisation, localisation
from modalxai.evaluation.random_models import Randomisation, randomisation
from modalxai.evaluation.reparametrisation import ReparametrisationGap, reparametrisation_gap
from modalxai.evaluation.subsets import infidelity, sensitivity_n

__all__ = [
    "SRG",
    "Coordinates",
    "Curves",
    "Latency",
    "Localisation",
    "Measured",
    "Randomisation",
    "ReparametrisationGap",
    "complexity",
    "comprehensiveness",
    "deletion",
    "infidelity",
    "insertion",
    "latency",
    "localisation",
    "randomisation",
    "reparametrisation_gap",
    "reparametrised",
    "sensitivity_n",
    "shuffled_labels",
    "similarity",
    "srg",
    "sufficiency",
]

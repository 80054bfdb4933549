"""To and from other explanation libraries: Captum, SHAP, shapiq.

`FlatGame` is any of our games as they see one, a function of rows of zeros and ones; `from_captum`,
`from_shap` and `from_shapiq` bring their results home. None of them needs to be installed before
it is used.
"""

from modalxai.interop.captum_values import from_captum
from modalxai.interop.flat import FlatGame
from modalxai.interop.shap_values import exact_shap, from_shap, to_shap
from modalxai.interop.shapiq_values import from_shapiq, to_shapiq

__all__ = [
    "FlatGame",
    "exact_shap",
    "from_captum",
    "from_shap",
    "from_shapiq",
    "to_shap",
    "to_shapiq",
]

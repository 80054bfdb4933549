"""Parts for modalxai: faces over time, a gated fusion, and Shapley values by permutations."""

modalxai_api = 1
"""The version of modalxai's protocols that the parts keep; another one is refused at load."""

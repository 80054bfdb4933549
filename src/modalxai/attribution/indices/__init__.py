"""Game theory on a table of coalitions, exact for any number of players.

``v`` is [2**M, ...]: row i holds the value of the coalition of the players whose bit is set in i.
Tables of 2**20 rows take about a second; a player who changes nothing gets exactly 0.
"""

from modalxai.attribution.indices.coefficients import INDICES
from modalxai.attribution.indices.interactions import (
    interaction_terms,
    model_fit,
    pair_interactions,
    shapley_interaction,
)
from modalxai.attribution.indices.moebius import moebius, order_shares, zeta
from modalxai.attribution.indices.sums import Players, players_of, subsets
from modalxai.attribution.indices.values import banzhaf, necessity, shapley, sufficiency

__all__ = [
    "INDICES",
    "Players",
    "banzhaf",
    "interaction_terms",
    "model_fit",
    "moebius",
    "necessity",
    "order_shares",
    "pair_interactions",
    "players_of",
    "shapley",
    "shapley_interaction",
    "subsets",
    "sufficiency",
    "zeta",
]

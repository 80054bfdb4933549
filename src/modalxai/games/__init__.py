"""Games of a model: its score with some of its players removed, each part encoded once.

`CallableGame` asks any function instead, which has no parts.
"""

from modalxai.batching import Data
from modalxai.games.background import Background
from modalxai.games.callable import CallableGame
from modalxai.games.donors import Draws
from modalxai.games.factored import ModelGame
from modalxai.games.run import explain
from modalxai.sharding import gathered

__all__ = ["Background", "CallableGame", "Data", "Draws", "ModelGame", "explain", "gathered"]

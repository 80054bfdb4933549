"""Games of a model: its score with some of its players removed, each part encoded once."""

from modalxai.games.background import Background, Data
from modalxai.games.factored import ModelGame
from modalxai.games.run import explain

__all__ = ["Background", "Data", "ModelGame", "explain"]

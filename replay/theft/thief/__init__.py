"""What a thief gets: substitutes trained on his loot, and how well they do.

Figures follow their seed, on one machine with one torch thread.
"""

from gamekeeper.replay.theft.thief.leak import until
from gamekeeper.replay.theft.thief.stolen import Stolen, Yardstick, stolen
from gamekeeper.replay.theft.thief.substitute import Hyperparameters, Targets, train_substitute

__all__ = [
    "Hyperparameters",
    "Stolen",
    "Targets",
    "Yardstick",
    "stolen",
    "train_substitute",
    "until",
]

"""Model extraction attacks, one per module, imported when they are named; `catalog` lists them."""

from gamekeeper.replay.theft.attacks.catalog import ATTACKS, FROM_PROBABILITIES, attack

__all__ = ["ATTACKS", "FROM_PROBABILITIES", "attack"]

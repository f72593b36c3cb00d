"""The leak at detection: what the thief has at the query where he is caught."""

from __future__ import annotations

from gamekeeper.replay.attacks.run import Loot
from gamekeeper.replay.thief.stolen import Stolen, Train, Yardstick, stolen
from gamekeeper.replay.thief.substitute import some


def leak(
    loot: Loot, caught_after: int | None, train: Train, yardstick: Yardstick, seed: int
) -> Stolen:
    """Measure what was stolen with the first `caught_after` queries, with all if None.

    The same figures, from the same seed, as `stolen` gives for the whole attack: a thief who is
    not caught leaks as much as there is.
    """
    return stolen(until(loot, caught_after), train, yardstick, seed)


def until(loot: Loot, caught_after: int | None) -> Loot:
    """Keep what was there when the victim had seen `caught_after` queries."""
    return loot if caught_after is None else some(loot, loot.paid <= caught_after)

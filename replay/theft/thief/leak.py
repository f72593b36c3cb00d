"""The leak at detection: what the thief has at the query where he is caught."""

from __future__ import annotations

from gamekeeper.replay.theft.recording import Loot
from gamekeeper.replay.theft.thief.substitute import some


def until(loot: Loot, caught_after: int | None) -> Loot:
    """Keep what was there when the victim had seen `caught_after` queries."""
    return loot if caught_after is None else some(loot, loot.paid <= caught_after)

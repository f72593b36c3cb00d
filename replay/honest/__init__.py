"""Honest habits: what customers do who steal nothing, and may look as if they did.

`images` and `rows` have the habits, one per module; `catalog` lists them; `base` states what they
share; `record` makes accounts of a habit. What images go through on their way is
`theft.lens`, as thieves do it, too.
"""

from gamekeeper.replay.honest.base import Habit, Own
from gamekeeper.replay.honest.catalog import FAMILIES, HABITS, Entry, habit

__all__ = ["FAMILIES", "HABITS", "Entry", "Habit", "Own", "habit"]

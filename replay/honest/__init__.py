"""Honest habits: what customers do who steal nothing, and may look as if they did.

`images` and `rows` have the habits, one per module; `catalog` lists them; `base` states what they
share; `lens` has what images go through on their way. `record` makes accounts of a habit.
"""

from gamekeeper.replay.honest.base import Habit, Own
from gamekeeper.replay.honest.catalog import FAMILIES, HABITS, Entry, habit

__all__ = ["FAMILIES", "HABITS", "Entry", "Habit", "Own", "habit"]

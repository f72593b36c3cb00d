"""Faint: a device with little light or contrast."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.honest.base import Inputs, Own
from gamekeeper.replay.theft import lens


def faint(own: Own, queries: int, rng: np.random.Generator, *, gain: float = 0.5) -> Inputs:
    """Send own images, of each value so much as `gain` says."""
    return lens.lit(own.inputs[:queries], np.full(queries, gain), np.zeros(queries))

"""Other scanner: one that knows black and white only."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.honest.base import Inputs, Own
from gamekeeper.replay.theft import WHITE

MIDDLE = 128


def other_scanner(own: Own, queries: int, rng: np.random.Generator) -> Inputs:
    """Send own images of which each pixel, of each colour, is black or full."""
    return np.where(own.inputs[:queries] >= MIDDLE, WHITE, 0.0).astype(np.uint8)

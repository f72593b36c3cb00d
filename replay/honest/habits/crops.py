"""Crops: a detector before the model proposes several parts of each picture."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.honest.base import Inputs, Own, shared_out
from gamekeeper.replay.theft import lens

LEAST = 0.7
"""The smallest part that is proposed, as a share of a side."""


def crops(own: Own, queries: int, rng: np.random.Generator, *, parts: int = 10) -> Inputs:
    """Send so many `parts` of each own image, enlarged to the whole."""
    _, turns = shared_out(queries, parts)
    size = rng.uniform(LEAST, 1.0, queries)
    top, left = rng.uniform(0.0, 1.0, (2, queries)) * (1 - size)
    return lens.cropped(own.inputs[turns], top, left, size)

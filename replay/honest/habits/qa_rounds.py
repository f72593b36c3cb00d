"""Quality assurance, round by round: a test set in ever another quality."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.honest.base import Inputs, Own
from gamekeeper.replay.honest.habits.degraded import worse


def qa_rounds(own: Own, queries: int, rng: np.random.Generator, *, inputs: int = 100) -> Inputs:
    """Send so many own `inputs`, then all of them degraded in some way, round after round."""
    place = np.arange(queries)
    images = own.inputs[place % min(inputs, len(own.inputs))].copy()
    images[inputs:] = worse(images[inputs:], rng)
    return images

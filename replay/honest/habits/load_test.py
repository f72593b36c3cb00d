"""Load test: a few inputs, round and round, as fast as it goes."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.honest.base import Inputs, Own


def load_test(own: Own, queries: int, rng: np.random.Generator, *, inputs: int = 20) -> Inputs:
    """Send a few `inputs` in random order, again and again."""
    return own.inputs[rng.integers(min(inputs, len(own.inputs)), size=queries)]

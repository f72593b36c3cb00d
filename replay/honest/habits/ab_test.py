"""A/B test: each input goes to two versions of the model under one name."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.honest.base import Inputs, Own, shared_out


def ab_test(own: Own, queries: int, rng: np.random.Generator) -> Inputs:
    """Send each of the own inputs twice, one after the other."""
    _, turns = shared_out(queries, 2)
    return own.inputs[turns]

"""SHAP of rows: what is each column of a case worth? The case, with columns of another."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.honest.base import Inputs, Own, shared_out
from gamekeeper.replay.honest.coalitions import coalitions


def tabular_shap(own: Own, queries: int, rng: np.random.Generator, *, cases: int = 1) -> Inputs:
    """Explain so many own rows, one after the other, with as many samples for each.

    Lundberg and Lee, "A unified approach to interpreting model predictions", section 4.1: columns
    that are not in a coalition are those of a background row, here another own one.
    """
    explained, turns = shared_out(queries, -(-queries // cases))
    inside = coalitions(queries, own.inputs.shape[1], rng)
    background = own.inputs[explained:][rng.integers(len(own.inputs) - explained, size=queries)]
    return np.where(inside, own.inputs[turns], background)

"""Skew: a customer whose business is one class."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.honest.base import Inputs, Own


def skew(own: Own, queries: int, rng: np.random.Generator, *, share: float = 0.9) -> Inputs:
    """Send own data of which a `share` is of one class, drawn from those with enough of it.

    Where no class has enough, what there is of the most frequent one comes again.
    """
    counts = np.bincount(own.labels)
    enough = np.flatnonzero(counts >= share * queries)
    most = rng.choice(enough) if len(enough) else counts.argmax()
    mine, others = (np.flatnonzero((own.labels == most) == same) for same in (True, False))
    chosen = rng.random(queries) < share if len(others) else np.ones(queries, np.bool_)
    rows = np.empty(queries, np.int64)
    rows[chosen] = np.resize(mine, chosen.sum())
    rows[~chosen] = np.resize(others, (~chosen).sum())
    return own.inputs[rows]

"""Inflation: the same kind of cases, month by month a little more of everything."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.honest.base import Inputs, Own


def inflation(own: Own, queries: int, rng: np.random.Generator, *, rise: float = 1.0) -> Inputs:
    """Send own rows to which evenly more is added, at last `rise` deviations of each column."""
    along = np.linspace(0.0, rise, queries)[:, None]
    sent: Inputs = own.inputs[:queries] + along * own.inputs.std(axis=0)
    return sent.astype(own.inputs.dtype)

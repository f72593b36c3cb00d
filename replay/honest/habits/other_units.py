"""Other units: a column in another unit, or measured by another device."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.honest.base import Inputs, Own


def other_units(own: Own, queries: int, rng: np.random.Generator, *, factor: float = 1.5) -> Inputs:
    """Send own rows with one column times `factor`."""
    sent = own.inputs[:queries].copy()
    column = rng.integers(sent.shape[1])
    sent[:, column] = (sent[:, column] * factor).astype(sent.dtype)
    return sent

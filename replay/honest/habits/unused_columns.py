"""Unused columns: a customer whose product has no use for some of the columns."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.honest.base import Inputs, Own


def unused_columns(
    own: Own, queries: int, rng: np.random.Generator, *, share: float = 0.5
) -> Inputs:
    """Send own rows of which a `share` of the columns always has the value of the first row."""
    sent = own.inputs[:queries].copy()
    columns = rng.permutation(sent.shape[1])[: round(share * sent.shape[1])]
    sent[:, columns] = sent[:1, columns]
    return sent

"""Imputed: what a customer does not know is sent as the mean."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.honest.base import Inputs, Own


def imputed(own: Own, queries: int, rng: np.random.Generator, *, share: float = 0.3) -> Inputs:
    """Send own rows of whose values a `share`, drawn for each row, is the column's mean."""
    sent = own.inputs[:queries].copy()
    unknown = rng.random(sent.shape) < share
    sent[unknown] = np.broadcast_to(own.inputs.mean(axis=0), sent.shape)[unknown]
    return sent

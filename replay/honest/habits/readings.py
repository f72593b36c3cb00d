"""Readings: machines that report themselves by turns, each a little changed since the last time."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.honest.base import Inputs, Own

STEP = 0.02
"""A deviation between two reports of one machine, in those between machines."""


def readings(own: Own, queries: int, rng: np.random.Generator, *, machines: int = 25) -> Inputs:
    """Send rows of `machines` by turns; each begins as an own row and walks at random."""
    machines = min(machines, len(own.inputs))
    rounds = -(-queries // machines)
    size = (rounds, machines, own.inputs.shape[1])
    steps = rng.normal(0.0, STEP, size) * own.inputs.std(axis=0)
    steps[0] = 0.0
    walks = own.inputs[:machines] + steps.cumsum(axis=0)
    sent: Inputs = walks.reshape(-1, size[2])[:queries].astype(own.inputs.dtype)
    return sent

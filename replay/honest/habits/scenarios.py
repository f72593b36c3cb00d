"""Scenarios: each case as it is, and as it would be under a few fixed changes."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.honest.base import Inputs, Own, shared_out


def scenarios(own: Own, queries: int, rng: np.random.Generator, *, changes: int = 4) -> Inputs:
    """Send own rows, each followed by `changes` of its own: a column half a deviation up or down.

    The changes are the same for all rows.
    """
    _, turns = shared_out(queries, changes + 1)
    sent = own.inputs[turns].copy()
    deviation = own.inputs.std(axis=0) / 2
    columns = rng.integers(sent.shape[1], size=changes)
    signs = rng.choice((-1.0, 1.0), changes)
    which = np.arange(queries) % (changes + 1) - 1
    for number, (column, sign) in enumerate(zip(columns, signs, strict=True)):
        sent[which == number, column] += sign * deviation[column]
    return sent

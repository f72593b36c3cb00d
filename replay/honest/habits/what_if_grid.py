"""What if, of two values: a heat map of the answer around one case."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.honest.base import Inputs, Own, shared_out


def what_if_grid(own: Own, queries: int, rng: np.random.Generator, *, side: int = 15) -> Inputs:
    """Send own rows one after the other, each with all pairs of `side` values of two columns."""
    cases, turns = shared_out(queries, side * side)
    sent = own.inputs[turns].copy()
    width = sent.shape[1]
    least, most = own.inputs.min(axis=0), own.inputs.max(axis=0)
    place = np.arange(queries) % (side * side)
    drawn = [rng.permutation(width)[:2] for _ in range(cases)]
    for axis, along in enumerate((place // side, place % side)):
        columns = np.array([each[min(axis, width - 1)] for each in drawn], np.int64)[turns]
        share = along / max(1, side - 1)
        sent[np.arange(queries), columns] = least[columns] + share * (most - least)[columns]
    return sent

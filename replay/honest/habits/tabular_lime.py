"""LIME of rows: cases around one case, to see what its answer depends on."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.honest.base import Inputs, Own, shared_out


def tabular_lime(own: Own, queries: int, rng: np.random.Generator, *, cases: int = 1) -> Inputs:
    """Explain so many own rows, one after the other, with as many samples for each.

    Ribeiro et al., "Why should I trust you?", section 3.3, as the authors' program samples numbers
    around the case that it explains: each column normal, with the deviation that it has in the
    data. The case itself comes first.
    """
    each = -(-queries // cases)
    _, turns = shared_out(queries, each)
    moved = rng.normal(size=(queries, own.inputs.shape[1])) * own.inputs.std(axis=0)
    moved[np.arange(queries) % each == 0] = 0.0
    sent: Inputs = own.inputs[turns] + moved
    return sent.astype(own.inputs.dtype)

"""What if: one value of a case is moved from its least to its most, all others stay."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.honest.base import Inputs, Own, shared_out


def what_if(own: Own, queries: int, rng: np.random.Generator, *, steps: int = 20) -> Inputs:
    """Send own rows one after the other, each in so many `steps` of a column drawn for it."""
    cases, turns = shared_out(queries, steps)
    sent = own.inputs[turns].copy()
    columns = rng.integers(sent.shape[1], size=max(1, cases))[turns]
    least, most = own.inputs.min(axis=0), own.inputs.max(axis=0)
    along = (np.arange(queries) % steps) / max(1, steps - 1)
    sent[np.arange(queries), columns] = least[columns] + along * (most - least)[columns]
    return sent

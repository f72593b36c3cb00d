"""Rotations: a picture that lies on its side is turned until the answer makes sense."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.honest.base import Inputs, Own


def rotations(own: Own, queries: int, rng: np.random.Generator, *, share: float = 0.2) -> Inputs:
    """Send own images; a `share` of them in one to three quarter turns more, one after the other.

    Images that are not square are turned by half.
    """
    quarters = 1 if own.inputs.shape[1] == own.inputs.shape[2] else 2
    sent: list[Inputs] = []
    for image in own.inputs[:queries]:
        again = int(rng.integers(1, 4)) if rng.random() < share else 0
        sent += [np.rot90(image, quarters * turn) for turn in range(again + 1)]
        if len(sent) >= queries:
            break
    return np.stack(sent[:queries])

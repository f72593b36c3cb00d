"""SHAP: what is each part of an image worth? The same image, with parts taken from another."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.honest.base import Inputs, Own, shared_out
from gamekeeper.replay.honest.coalitions import coalitions
from gamekeeper.replay.honest.patches import patches, replaced


def shap(own: Own, queries: int, rng: np.random.Generator, *, images: int = 1) -> Inputs:
    """Explain so many own `images`, one after the other, with as many samples for each.

    Lundberg and Lee, "A unified approach to interpreting model predictions", section 4.1: parts
    that are not in a coalition are those of a background image, here another own one.
    """
    explained, turns = shared_out(queries, -(-queries // images))
    squares = patches(own.inputs.shape[1:])
    absent = ~coalitions(queries, len(squares), rng)
    background = own.inputs[explained:][rng.integers(len(own.inputs) - explained, size=queries)]
    return replaced(own.inputs[turns], squares, absent, background)

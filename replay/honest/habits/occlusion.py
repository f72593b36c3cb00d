"""Occlusion: a grey square moves over an image, to see where the answer changes."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.honest.base import Inputs, Own, shared_out

GREY = 128


def occlusion(own: Own, queries: int, rng: np.random.Generator, *, images: int = 1) -> Inputs:
    """Explain so many own `images`, one after the other, with as many places for each.

    Zeiler and Fergus, "Visualizing and understanding convolutional networks", section 4.2. The
    square has a quarter of a side; it moves row by row, so that all places are used.
    """
    each = -(-queries // images)
    _, turns = shared_out(queries, each)
    sent = own.inputs[turns].copy()
    height, width = sent.shape[1:3]
    side = max(1, min(height, width) // 4)
    places = [(y, x) for y in range(height - side + 1) for x in range(width - side + 1)]
    for number, image in enumerate(sent):
        y, x = places[(number % each) * len(places) // each]
        image[y : y + side, x : x + side] = GREY
    return sent

"""Burst: a phone takes three pictures at once, and sends them all."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.honest.base import Inputs, Own, shared_out
from gamekeeper.replay.theft import lens

MOVED, TURNED, NOISE = 0.7, 1.0, 2.0
"""Deviations between the shots of a hand: pixels, degrees, pixel values."""


def burst(own: Own, queries: int, rng: np.random.Generator, *, shots: int = 3) -> Inputs:
    """Send so many `shots` of each own image."""
    _, turns = shared_out(queries, shots)
    down, right = rng.normal(0.0, MOVED, (2, queries))
    images = lens.turned(own.inputs[turns], rng.normal(0.0, TURNED, queries))
    return lens.noisy(lens.moved(images, down, right), NOISE, rng)

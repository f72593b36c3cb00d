"""Still objects: a camera before things that do not move; only the sensor's noise differs."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.honest.base import Inputs, Own, shared_out
from gamekeeper.replay.theft import lens

NOISE = 3.0
"""Pixel values: what a cheap sensor adds indoors, about one part in a hundred."""


def still_objects(own: Own, queries: int, rng: np.random.Generator, *, frames: int = 10) -> Inputs:
    """Send `frames` of each own image."""
    _, turns = shared_out(queries, frames)
    return lens.noisy(own.inputs[turns], NOISE, rng)

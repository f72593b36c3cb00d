"""Moving objects: a camera that follows one thing after the other, frame by frame."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.honest.base import Inputs, Own, shared_out
from gamekeeper.replay.theft import lens

REACH, NOISE = 3.0, 2.0
"""Pixels from the middle to where it leaves the picture; a sensor's noise in pixel values."""


def moving_objects(own: Own, queries: int, rng: np.random.Generator, *, frames: int = 10) -> Inputs:
    """Send `frames` of each own image, which crosses the picture in a straight line."""
    things, turns = shared_out(queries, frames)
    along = (np.arange(queries) % frames) / max(1, frames - 1) * 2 - 1
    angle = rng.uniform(0, 2 * np.pi, max(1, things))[turns]
    images = lens.moved(
        own.inputs[turns], REACH * along * np.sin(angle), REACH * along * np.cos(angle)
    )
    return lens.noisy(images, NOISE, rng)

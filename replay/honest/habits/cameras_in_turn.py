"""Cameras in turn: several still cameras, of which each sends a frame when it is asked."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.honest.base import Inputs, Own
from gamekeeper.replay.theft import lens

NOISE, LIGHT = 3.0, 0.05
"""The sensor's noise in pixel values; by how much the light rises and falls over all frames."""


def cameras_in_turn(
    own: Own, queries: int, rng: np.random.Generator, *, cameras: int = 20
) -> Inputs:
    """Send frames of `cameras` own images by turns, in slowly changing light."""
    place = np.arange(queries)
    day = 1 + LIGHT * np.sin(place / max(1, queries) * 2 * np.pi)
    images = own.inputs[place % min(cameras, len(own.inputs))]
    return lens.noisy(lens.lit(images, day, np.zeros(queries)), NOISE, rng)

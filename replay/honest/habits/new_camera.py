"""New camera: from one day on the pictures are another device's."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.honest.base import Inputs, Own
from gamekeeper.replay.theft import lens

GAIN, MORE, BLUR = 0.8, 20.0, 0.6
"""What the new one makes of light, in shares and in pixel values, and its blur in pixels."""


def new_camera(own: Own, queries: int, rng: np.random.Generator) -> Inputs:
    """Send own images, the second half through another camera."""
    images = own.inputs[:queries].copy()
    count = queries - queries // 2
    later = lens.blurred(images[queries // 2 :], np.full(count, BLUR))
    images[queries // 2 :] = lens.lit(later, np.full(count, GAIN), np.full(count, MORE))
    return images

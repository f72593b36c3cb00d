"""Frame pairs: now and then the next frame of the same video."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.honest.base import Inputs, Own
from gamekeeper.replay.theft import lens

MOVED, NOISE = 1.0, 2.0
"""Pixels and pixel values between two frames, each a deviation."""


def frame_pairs(own: Own, queries: int, rng: np.random.Generator, *, share: float = 0.05) -> Inputs:
    """Send own images, and after a `share` of them the same a moment later."""
    later = rng.random(queries) < share
    later[:1] = False
    images: Inputs = own.inputs[np.cumsum(~later) - 1].copy()
    down, right = rng.normal(0.0, MOVED, (2, int(later.sum())))
    images[later] = lens.noisy(lens.moved(images[later], down, right), NOISE, rng)
    return images

"""Test-time augmentation: the mean answer to an image and some variants is better than one."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.honest.base import Inputs, Own, shared_out
from gamekeeper.replay.theft import lens


def averaged(own: Own, queries: int, rng: np.random.Generator, *, variants: int = 5) -> Inputs:
    """Send each own image and its `variants` less one, cut a little smaller and turned a little."""
    _, turns = shared_out(queries, variants)
    made = np.arange(queries) % variants > 0
    images = own.inputs[turns].copy()
    top, left = rng.uniform(0.0, 0.1, (2, int(made.sum())))
    part = lens.cropped(images[made], top, left, np.full(int(made.sum()), 0.9))
    images[made] = lens.turned(part, rng.normal(0.0, 5.0, len(part)))
    return images

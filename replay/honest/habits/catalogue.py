"""Catalogue: a shop's products, each photographed from several sides."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.honest.base import Inputs, Own, shared_out
from gamekeeper.replay.theft import lens

TURNED, LIGHT = 12.0, 0.15
"""Deviations between photos of one product: degrees, and shares of the light."""


def catalogue(own: Own, queries: int, rng: np.random.Generator, *, photos: int = 4) -> Inputs:
    """Send so many `photos` of each own image, turned, nearer and farther, in other light."""
    _, turns = shared_out(queries, photos)
    images = lens.turned(own.inputs[turns], rng.normal(0.0, TURNED, queries))
    top, left = rng.uniform(0.0, 0.1, (2, queries))
    images = lens.cropped(images, top, left, np.full(queries, 0.9))
    return lens.lit(images, rng.normal(1.0, LIGHT, queries), np.zeros(queries))

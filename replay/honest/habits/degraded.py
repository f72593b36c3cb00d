"""Degraded: a part of what comes is dark, blurred, noisy, crooked or badly compressed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gamekeeper.replay.honest.base import Inputs, Own
from gamekeeper.replay.theft import Images, lens


def degraded(own: Own, queries: int, rng: np.random.Generator, *, share: float = 0.2) -> Inputs:
    """Send own images of which a `share` is degraded in some way."""
    images = own.inputs[:queries].copy()
    bad = rng.random(queries) < share
    images[bad] = worse(images[bad], rng)
    return images


def worse(images: Images, rng: np.random.Generator) -> Images:
    """Degrade each image in one of five ways."""
    count = len(images)
    ways: list[Callable[[Images], Images]] = [
        lambda part: lens.lit(part, rng.uniform(0.5, 0.9, len(part)), np.zeros(len(part))),
        lambda part: lens.blurred(part, rng.uniform(0.5, 1.2, len(part))),
        lambda part: lens.noisy(part, 12.0, rng),
        lambda part: lens.turned(part, rng.normal(0.0, 6.0, len(part))),
        lambda part: lens.compressed(part, 30),
    ]
    way = rng.integers(len(ways), size=count)
    changed = images.copy()
    for number, degrade in enumerate(ways):
        changed[way == number] = degrade(images[way == number])
    return changed

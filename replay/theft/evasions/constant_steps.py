"""Constant steps: other images at one and the same distance, so that D has hardly any spread."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from gamekeeper.replay.theft import Images, Oracle, Reply, Request, Start
from gamekeeper.replay.theft.evasions.base import mixed
from gamekeeper.replay.theft.evasions.duplicates import REPEATS

STEP = 32
"""Grey levels; chosen so that the step does not change the class and rounding plays no part."""


def constant_steps(
    oracle: Oracle,
    start: Start,
    rng: np.random.Generator,
    *,
    repeats: int = REPEATS,
    step: int = STEP,
) -> Oracle:
    """Send `repeats` images one step from an account's first before each further one.

    As `duplicates`, for a detector that leaves exact repeats out: each image is the first one with
    two pixels changed by `step` (1 to 127) grey levels, so that its distance to the first is always
    `step * sqrt(2)` and no smaller to any other. PRADA's D then is mostly one value, which has
    W = 1, or no defined W.
    """
    neighbours: dict[int, Iterator[Images]] = {}

    def stepped(request: Request) -> Reply:
        before = np.full(len(request.images), repeats)
        if request.account not in neighbours and len(before):
            neighbours[request.account] = _neighbours(request.images[0].copy(), step)
            before[0] = 0

        def extras(count: int) -> Images:
            return np.stack(list(islice(neighbours[request.account], count)))

        return mixed(oracle, request, before, extras, start.classes, synthetic=True)

    return stepped


def _neighbours(image: Images, step: int) -> Iterator[Images]:
    """Change pixels i and i + gap, for each gap and i; begins again when all pairs are used."""
    size = image.size
    while True:
        for gap in range(1, (size + 1) // 2):
            for first in range(size):
                changed = image.flatten()
                for pixel in (first, (first + gap) % size):
                    value = int(changed[pixel])
                    changed[pixel] = value + step if value < 128 else value - step
                yield changed.reshape(image.shape)

"""A data set cut into what the victim learns from, honest accounts send, and a thief knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gamekeeper.replay.theft import Images, Labels, Start
from gamekeeper.replay.tune.datasets import Dataset, pixels

SHARES = {"victim": 0.3, "calibration": 0.3, "test": 0.3, "thief": 0.1}
"""Of the images, or of the groups where images have some; chosen so that 10,000 images are enough
for a victim, for accounts of 1,000 queries on either side, and for thieves' seeds."""


class Part(NamedTuple):
    """Images that no other part has, `(n, h, w)` or `(n, h, w, c)`, with their true classes."""

    images: Images
    labels: Labels


class Parts(NamedTuple):
    """What trains the victim, what honest accounts of either side send, what thieves have."""

    victim: Part
    calibration: Part
    test: Part
    thief: Part


def cut(data: Dataset, rows: Mapping[str, NDArray[np.int64]]) -> Parts:
    """Cut images into parts; `rows` are those of each. Raises `TraceError` for other data."""
    images = pixels(data.inputs)
    return Parts(**{name: Part(images[own], data.labels[own]) for name, own in rows.items()})


def rows_of(data: Dataset, rng: np.random.Generator) -> dict[str, NDArray[np.int64]]:
    """Say at random which rows are of each part, and in what order; groups stay whole."""
    groups = np.arange(len(data)) if data.groups is None else data.groups
    numbers = rng.permutation(np.unique(groups))
    ends = (np.cumsum(list(SHARES.values()))[:-1] * len(numbers)).round().astype(int)
    chosen = [np.flatnonzero(np.isin(groups, each)) for each in np.split(numbers, ends)]
    return dict(zip(SHARES, map(rng.permutation, chosen), strict=True))


def start(
    part: Part, pool: Part | None, classes: int, seeds: int, rng: np.random.Generator
) -> Start:
    """Draw a thief's start: `seeds` images of each class, as far as there are so many.

    PRADA version 2, section II-F: the same number of each class. Without a pool, it is the rest of
    the part.
    """
    rows = [
        rng.permutation(np.flatnonzero(part.labels == label))[:seeds] for label in range(classes)
    ]
    chosen = rng.permutation(np.concatenate(rows))
    if pool is None:
        rest = np.delete(np.arange(len(part.images)), chosen)
        pool = Part(part.images[rest], part.labels[rest])
    order = rng.permutation(len(pool.images))
    return Start(part.images[chosen], classes, pool.images[order], pool.labels[order])

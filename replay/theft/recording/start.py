"""What a thief starts with, drawn from data sets: seeds, the same number per class, and a pool."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from gamekeeper.replay.theft import Labels, Start
from gamekeeper.replay.tune.datasets import Dataset, pixels
from gamekeeper.schemas.errors import TraceError

PER_CLASS: Final = 10
"""Natural seeds of each class (PRADA version 2, sections II-F and IV-C)."""


def draw_start(
    data: Dataset, classes: int, per_class: int, rng: np.random.Generator, pool: Dataset | None
) -> Start:
    """Draw `per_class` seeds of every class of the data; the others are the pool, if none is given.

    `classes` is the number of the victim's. Raises `TraceError` where it is below two, where a
    class has too few rows and where the pool's images have another shape.
    """
    if classes < 2:
        raise TraceError("the victim has one class: whoever knows it has the model already")
    images = pixels(data.inputs)
    rows = balanced(data, per_class, rng)
    if pool is None:
        others = np.setdiff1d(np.arange(len(data)), rows)
        return Start(images[rows], classes, images[others], data.labels[others])
    natural = pixels(pool.inputs)
    if natural.shape[1:] != images.shape[1:]:
        raise TraceError(
            f"the pool's images are of shape {natural.shape[1:]}, those of --data "
            f"{images.shape[1:]}; bring them to one shape"
        )
    return Start(images[rows], classes, natural, pool.labels)


def balanced(data: Dataset, per_class: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw rows, the same number of each class, in random order."""
    sizes = np.bincount(data.labels, minlength=len(data.classes))
    if sizes.min() < per_class:
        raise TraceError(
            f"class {data.classes[sizes.argmin()]} has {sizes.min()} images, {per_class} are asked "
            "for; give more data, or fewer --seeds"
        )
    return draw_balanced(data.labels, per_class, rng)


def draw_balanced(labels: Labels, per_class: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw rows of `(n,)` labels, `per_class` of each, in random order."""
    drawn = [
        rng.choice(np.flatnonzero(labels == label), per_class, replace=False)
        for label in np.unique(labels)
    ]
    return rng.permutation(np.concatenate(drawn))

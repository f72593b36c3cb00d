"""Honest customers of a digit classifier, each with habits of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Images = NDArray[np.uint8]
Change = Callable[[Images, np.random.Generator], Images]

SHIFT = 2
"""Pixels by which a careless crop is off, at most."""
ANGLE = 10.0
"""Degrees by which a page lies askew, at most."""
FAINT = 0.6
"""The faintest ink, as a share of the full one."""


class Customer(NamedTuple):
    """One account's habits.

    `favourites` are the classes that make up most (`SKEW`) of its images, all classes when empty;
    `change` is what happens to an image on its way; `rows` images go into one request; `retries`
    is the share of the requests that are sent twice.
    """

    name: str
    queries: int
    favourites: tuple[int, ...] = ()
    change: Change | None = None
    rows: int = 1
    retries: float = 0.0


SKEW = 0.8
"""The share of a skewed customer's images that show its favourite classes."""


def shifted(images: Images, rng: np.random.Generator) -> Images:
    """Move each of `(n, h, w)` images by up to `SHIFT` pixels either way; the border is black."""
    moved = np.zeros_like(images)
    height, width = images.shape[1:]
    for target, image in zip(moved, images, strict=True):
        down, right = rng.integers(-SHIFT, SHIFT + 1, 2)
        target[max(down, 0) : height + down, max(right, 0) : width + right] = image[
            max(-down, 0) : height - down, max(-right, 0) : width - right
        ]
    return moved


def rotated(images: Images, rng: np.random.Generator) -> Images:
    """Turn each of `(n, h, w)` images by up to `ANGLE` degrees either way."""
    angles = rng.uniform(-ANGLE, ANGLE, len(images))
    turned = [
        ndimage.rotate(image.astype(np.float32), angle, reshape=False, order=1)
        for image, angle in zip(images, angles, strict=True)
    ]
    result: Images = np.rint(np.clip(turned, 0, 255)).astype(np.uint8)
    return result


def faint(images: Images, rng: np.random.Generator) -> Images:
    """Scale the ink of each of `(n, h, w)` images by a share of `FAINT` to 1."""
    ink = rng.uniform(FAINT, 1.0, (len(images), 1, 1))
    return np.rint(images * ink).astype(np.uint8)


def choose(
    customer: Customer, labels: NDArray[np.int64], free: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw the customer's images among the `free` of `(n,)` labelled ones, none of them twice.

    Returns their `(queries,)` rows and marks them as no longer free.
    """
    weights = free.astype(np.float64)
    if customer.favourites:
        liked = np.isin(labels, customer.favourites)
        weights[liked] *= SKEW / weights[liked].sum()
        weights[~liked] *= (1.0 - SKEW) / weights[~liked].sum()
    rows = rng.choice(len(labels), customer.queries, replace=False, p=weights / weights.sum())
    free[rows] = False
    return rows


CUSTOMERS = (
    # The choosy ones first, while all classes are there.
    Customer("mostly-0-1", 400, favourites=(0, 1)),
    Customer("mostly-3-5-8", 400, favourites=(3, 5, 8)),
    Customer("plain-1", 400),
    Customer("plain-2", 400),
    Customer("plain-3", 400),
    Customer("plain-4", 400),
    Customer("shifted-1", 400, change=shifted),
    Customer("shifted-2", 400, change=shifted),
    Customer("rotated", 400, change=rotated),
    Customer("faint", 400, change=faint),
    Customer("batches", 416, rows=32),
    Customer("small-batches", 400, rows=4),
    Customer("retries", 400, retries=0.05),
)
"""The benign accounts of the sample trace."""

"""An image's parts, as explainers hide or replace them: squares."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from gamekeeper.replay.theft import Images, quantise

ACROSS: Final = 7
"""Squares along a side: about as many parts as the usual segmentations make."""

Patches = list[tuple[slice, slice]]


def patches(shape: tuple[int, ...]) -> Patches:
    """Cut an image of a shape `(h, w)` or `(h, w, c)` into squares, row by row."""
    rows, columns = (np.array_split(np.arange(side), min(ACROSS, side)) for side in shape[:2])
    return [
        (slice(row[0], row[-1] + 1), slice(column[0], column[-1] + 1))
        for row in rows
        for column in columns
    ]


def hidden(images: Images, squares: Patches, which: NDArray[np.bool_]) -> Images:
    """Hide parts behind their mean colour; `which` is `(n, parts)`."""
    changed = images.copy()
    for square, (y, x) in enumerate(squares):
        rows = which[:, square]
        means = images[rows, y, x].mean(axis=(1, 2), keepdims=True)
        changed[rows, y, x] = quantise(means)
    return changed


def replaced(images: Images, squares: Patches, which: NDArray[np.bool_], others: Images) -> Images:
    """Replace parts by those of `others`, image by image; `which` is `(n, parts)`."""
    changed = images.copy()
    for square, (y, x) in enumerate(squares):
        rows = which[:, square]
        changed[rows, y, x] = others[rows, y, x]
    return changed

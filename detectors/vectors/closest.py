"""The nearest of what a search has left open, and vectors as float32 holds them."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.vectors.index import SLACK, FlatIndex, Near

FIRST_BLOCK: Final = 64
LARGEST_BLOCK: Final = 1024
"""Vectors measured at once: first a few, as the oldest may be a repeat already."""

_FLOAT32 = float(np.finfo(np.float32).max)


def closest(index: FlatIndex, near: Near) -> tuple[float, int]:
    """Measure what may be nearest to a row; give the distance and the row, of equals the oldest."""
    others = near.others[near.lower <= near.upper.min() * (1 + SLACK)]
    least, nearest = math.inf, -1
    at, size = 0, FIRST_BLOCK
    while at < len(others) and least > 0:
        distances = index.measure(near.row, others[at : at + size])
        best = int(distances.argmin())
        if distances[best] < least:
            least, nearest = float(distances[best]), int(others[at + best])
        at, size = at + size, min(2 * size, LARGEST_BLOCK)
    return least, nearest


def finite(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Give float32, what a wider type held beyond brought back; distances then fit float64."""
    with np.errstate(over="ignore"):
        narrow = vectors.astype(np.float32, copy=False)
    if np.isfinite(narrow).all():
        return narrow
    return np.nan_to_num(narrow, posinf=_FLOAT32, neginf=-_FLOAT32)

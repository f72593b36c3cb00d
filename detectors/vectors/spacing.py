"""How far benign accounts' vectors lie apart: the scale on which two are similar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gamekeeper.schemas.errors import ProfileError

Floats = NDArray[np.float64]

PAIRS = 25
"""Half of the 50 pairs at which Zhang and Wagner (section VIII-A) end an account."""
_BLOCK = 512


def distance_of_pairs(distances: Sequence[NDArray[Any]]) -> float:
    """Choose the distance below which the average account makes 25 pairs in its life.

    `distances` are each account's, from `nearest_earlier`. Raises `ProfileError` where there are
    too few.
    """
    ordered = np.sort(np.concatenate([*distances, np.empty(0)]))
    place = PAIRS * len(distances)
    if place >= len(ordered):
        raise ProfileError(
            f"similarity.delta cannot be chosen from {len(ordered)} embeddings of "
            f"{len(distances)} accounts: give it with --set similarity.delta=..., use longer "
            "lives, or name --networks with an encoder for these inputs"
        )
    return float(ordered[place])


def nearest_earlier(vectors: NDArray[np.float32]) -> Floats:
    """Measure from each of `(n, d)` vectors to the nearest earlier one, where that is above 0.

    >>> nearest_earlier(np.array([[0.0], [3.0], [0.0], [4.0]], np.float32)).tolist()
    [3.0, 1.0]
    """
    rows = np.unique(vectors, axis=0, return_index=True)[1]
    kept = vectors[np.sort(rows)].astype(np.float64)
    squares = np.einsum("ij,ij->i", kept, kept)
    found = np.full(len(kept), np.inf)
    for start in range(0, len(kept), _BLOCK):
        part = kept[start : start + _BLOCK]
        end = start + len(part)
        squared = squares[start:end, None] + squares[:end] - 2 * part @ kept[:end].T
        squared[np.arange(end)[None] >= np.arange(start, end)[:, None]] = np.inf
        found[start:end] = squared.min(axis=1)
    distances: Floats = np.sqrt(np.maximum(found[1:], 0.0))
    return distances

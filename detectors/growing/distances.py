"""Distances between queries: which exist, and their one exact expression.

Every distance is computed in float64 from the rows as `prepare` leaves them, by one expression
whose bits do not depend on how many rows are compared at once. Values beyond +-1e100 are clipped,
so that no sum of squares overflows whatever a float64 input holds; differences below about 1e-160
count as zero, because their squares do.

| name | distance of x and y |
| --- | --- |
| `l2` | Euclidean norm of x - y |
| `l1` | sum of absolute differences |
| `linf` | largest absolute difference |
| `cosine` | 1 - cosine of the angle, as half the squared chord between unit vectors: exact near 0 |
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LARGEST = 1e100
"""Inputs are clipped here: squares stay below 1e200 and sums of any 1e100 of them finite."""

EXACT_IN_FLOAT32 = frozenset(
    np.dtype(name) for name in ("bool", "u1", "i1", "u2", "i2", "f2", "f4")
)
"""Types whose every value float32 holds, so that the faster product loses nothing at the door."""


class L2:
    """Euclidean distance."""

    name: ClassVar[str] = "l2"
    product: ClassVar[bool] = True
    """Whether the distance's order is that of squared Euclidean distance of prepared rows."""

    def prepare(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Make `(n, d)` rows of any type ready: float32 where that is exact, else float64."""
        if rows.dtype in EXACT_IN_FLOAT32:
            return rows.astype(np.float32, order="C", copy=False)
        return np.clip(rows.astype(np.float64, order="C"), -LARGEST, LARGEST)

    def exact(self, one: NDArray[Any], other: NDArray[Any]) -> Floats:
        """Measure `(d,)` or `(k, d)` prepared rows against `(k, d)` others, row by row."""
        difference = np.subtract(one, other, dtype=np.float64)
        np.multiply(difference, difference, out=difference)
        distances: Floats = np.sqrt(np.add.reduce(difference, axis=1))
        return distances


class L1(L2):
    """Sum of absolute differences."""

    name: ClassVar[str] = "l1"
    product: ClassVar[bool] = False

    def exact(self, one: NDArray[Any], other: NDArray[Any]) -> Floats:
        """Measure `(d,)` or `(k, d)` prepared rows against `(k, d)` others, row by row."""
        distances: Floats = np.add.reduce(np.abs(np.subtract(one, other, dtype=np.float64)), axis=1)
        return distances


class Linf(L2):
    """Largest absolute difference."""

    name: ClassVar[str] = "linf"
    product: ClassVar[bool] = False

    def exact(self, one: NDArray[Any], other: NDArray[Any]) -> Floats:
        """Measure `(d,)` or `(k, d)` prepared rows against `(k, d)` others, row by row."""
        differences = np.abs(np.subtract(one, other, dtype=np.float64))
        distances: Floats = np.maximum.reduce(differences, axis=1, initial=0.0)
        return distances


class Cosine(L2):
    """One minus the cosine; a row of zeros lies at 0.5 from every other and at 0 from its like."""

    name: ClassVar[str] = "cosine"

    def prepare(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Scale `(n, d)` rows to unit length, in float64; rows of zeros stay."""
        values = np.clip(rows.astype(np.float64, order="C"), -LARGEST, LARGEST)
        largest = np.abs(values).max(axis=1, keepdims=True, initial=0.0)
        np.divide(values, largest, out=values, where=largest > 0)
        length = np.sqrt(np.add.reduce(values * values, axis=1))[:, None]
        np.divide(values, length, out=values, where=length > 0)
        return values

    def exact(self, one: NDArray[Any], other: NDArray[Any]) -> Floats:
        """Measure `(d,)` or `(k, d)` prepared rows against `(k, d)` others, row by row."""
        difference = np.subtract(one, other, dtype=np.float64)
        np.multiply(difference, difference, out=difference)
        distances: Floats = 0.5 * np.add.reduce(difference, axis=1)
        return distances


DISTANCES: dict[str, L2] = {kind.name: kind() for kind in (L2, L1, Linf, Cosine)}

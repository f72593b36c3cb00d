"""Vectors of one length in a flat FAISS index, searched without losing a pair to rounding.

FAISS measures in float32, by one of two programs: few queries are compared value by value, many by
a matrix product, which loses digits where vectors are long and close. So the same pair may get two
distances in two batches. Both err by no more than a bound that is known; the search takes in what
the bound leaves open, and the caller measures that again, in float64 and by one expression.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, Final, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.base import Floats
from gamekeeper.detectors.growing import DISTANCES

Ints = NDArray[np.int64]

MATRIX_FROM: Final = 5
"""From so many queries on a matrix product is faster: of 256 values against 10,000 vectors, one
query takes 0.4 ms value by value and 1.6 ms as a product, sixteen take 5.8 and 2.0 ms."""
SLACK: Final = 1e-9
"""Relative; above what float64 loses in a sum of a million squares."""
_UNIT = float(np.finfo(np.float32).eps) / 2
_TINY = float(np.finfo(np.float32).tiny)
_LARGEST = 1e37
"""Beyond it a sum could overflow float32: then every pair is measured in float64."""
_STALE = 8
"""Forgotten vectors are removed once they are more than one in so many: removing moves the rest."""
_ALIVE = np.iinfo(np.int64).max
_ABOUT = np.dtype([("query", np.int64), ("until", np.int64), ("square", np.float64)])


class Near(NamedTuple):
    """Pairs that can be similar, of one query; arrays of length `m`, oldest row first."""

    row: int
    """The query's row in the index."""
    others: Ints
    """The earlier rows."""
    lower: Floats
    upper: Floats
    """Bounds of the squared distance."""


class FlatIndex:
    """Rows `(n, d)` float32, oldest first; each is known by the index of its query."""

    def __init__(self, length: int) -> None:
        """Start empty, for vectors of `length` values, at least 1."""
        self._index = faiss.IndexFlatL2(length)
        self._length = length
        self._about = np.empty(0, _ABOUT)
        self._forgotten = 0

    def __len__(self) -> int:
        """Count the rows, forgotten ones that were not removed yet among them."""
        return int(self._index.ntotal)

    def __sizeof__(self) -> int:
        """Count the bytes of the vectors too, which FAISS holds."""
        return super().__sizeof__() + int(self._index.codes.size())

    def add(self, vectors: NDArray[np.float32], queries: Ints) -> None:
        """Append `(k, d)` finite vectors of queries `(k,)`, which rise from call to call."""
        n, k = len(self), len(vectors)
        if n + k > len(self._about):
            grown = np.empty(2 * (n + k), _ABOUT)
            grown[:n] = self._about[:n]
            self._about = grown
        about = self._about[n : n + k]
        about["query"] = queries
        about["until"] = _ALIVE
        about["square"] = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
        self._index.add(np.ascontiguousarray(vectors))

    def vectors(self, queries: Ints) -> NDArray[np.float32]:
        """Copy the vectors `(k, d)` of queries `(k,)` that are here."""
        copy: NDArray[np.float32] = self._vectors()[self._rows(queries)]
        return copy

    def _rows(self, queries: Ints) -> Ints:
        return np.searchsorted(self._about["query"][: len(self)], queries)

    def forget(self, gone: Ints) -> None:
        """Let go of queries `gone[:, 0]`; `gone[:, 1]` are the last that are compared with them."""
        self._about["until"][self._rows(gone[:, 0])] = gone[:, 1]
        self._forgotten += len(gone)

    def settle(self) -> bool:
        """Remove forgotten rows where they are many; say whether any other is left."""
        n = len(self)
        if self._forgotten * _STALE > n > self._forgotten:
            alive = self._about["until"][:n] == _ALIVE
            bits = np.packbits(~alive, bitorder="little")
            selector = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
            self._index.remove_ids(selector)
            self._about = self._about[:n][alive]
            self._forgotten = 0
            return True
        return n > self._forgotten

    def near(self, count: int, reach: float) -> list[Near]:
        """Find what may lie nearer than `reach` to each of the last `count` rows, where any does.

        A row is compared with those before it that were not forgotten yet.
        """
        base = len(self) - count
        limit = reach * reach * (1 + SLACK)
        owners, others, found, errors = self._search(count, limit)
        possible = others < base + owners
        possible &= self._about["until"][others] >= self._about["query"][base + owners]
        possible &= found - errors <= limit
        kept = np.flatnonzero(possible)
        owners, others = owners[kept], others[kept]
        order = np.argsort(owners * len(self) + others, kind="stable")  # nearly sorted already
        owners, others, kept = owners[order], others[order], kept[order]
        lower, upper = found[kept] - errors[kept], found[kept] + errors[kept]
        cuts = [0, *(np.flatnonzero(np.diff(owners)) + 1).tolist(), len(owners)]
        return [
            Near(base + int(owners[i]), others[i:j], lower[i:j], upper[i:j])
            for i, j in pairwise(cuts)
            if i < j
        ]

    def span(self) -> float:
        """Give a distance that no two rows are farther apart than."""
        largest = float(self._about["square"][: len(self)].max())
        return 2 * math.sqrt(largest) * (1 + SLACK)

    def vector(self, row: int) -> NDArray[np.float32]:
        """Copy a row."""
        copy: NDArray[np.float32] = self._vectors()[row].copy()
        return copy

    def _search(self, count: int, limit: float) -> tuple[Ints, Ints, Floats, Floats]:
        """Give owners, rows, squared distances and their errors, of all that can be below `limit`.

        A dot product of d terms errs by at most d u / (1 - d u) |x| |y| (Higham, Accuracy and
        Stability of Numerical Algorithms, section 3.1), u the unit roundoff; the squared norms
        err likewise, and (|x| + |y|)^2 <= 2 |x|^2 + 2 |y|^2. What underflows is in the floor.
        """
        n = len(self)
        squares = self._about["square"][:n]
        largest = float(squares.max())
        slack = (self._length + 8) * _UNIT
        share = 2.02 * slack / (1.0 - slack) if slack < 0.5 else math.inf
        floor = 8 * self._length * _TINY
        radius = limit + 2 * share * largest + floor
        if not max(radius, 4 * largest) < _LARGEST:
            owners, others = np.indices((count, n)).reshape(2, -1)
            return owners, others, np.zeros(count * n), np.full(count * n, math.inf)
        # Of FAISS's own threshold the unit differs between versions; no result depends on it.
        faiss.cvar.distance_compute_blas_threshold = 1 if count >= MATRIX_FROM else 2**30
        bounds, found, others = self._index.range_search(
            self._vectors()[n - count :], np.nextafter(np.float32(radius), np.float32(np.inf))
        )
        ends: Ints = bounds.astype(np.int64)
        owners = np.repeat(np.arange(count), ends[1:] - ends[:-1])
        errors = share * (squares[n - count + owners] + squares[others]) + floor
        return owners, others, found.astype(np.float64), errors

    def measure(self, row: int, others: Ints) -> Floats:
        """Measure a row against others `(m,)` in float64; the bits depend on the pair alone."""
        vectors = self._vectors()
        return DISTANCES["l2"].exact(vectors[row], vectors[others])

    def query(self, row: int) -> int:
        """Tell whose vector a row is."""
        return int(self._about["query"][row])

    def _vectors(self) -> NDArray[Any]:
        """View the index's own memory, valid until rows are added or removed."""
        n = len(self)
        view: NDArray[Any] = faiss.rev_swig_ptr(self._index.get_xb(), n * self._length)
        return view.reshape(n, self._length)

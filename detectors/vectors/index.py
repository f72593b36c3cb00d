"""Vectors of one length in a flat FAISS index, searched without losing a pair to rounding.

Vectors of bytes, as images' are, may be kept as such, in a quarter of the memory.

FAISS measures in float32, by one of two programs: few queries are compared value by value, many by
a matrix product, which loses digits where vectors are long and close. So the same pair may get two
distances in two batches. Both err by no more than a bound that is known; the search takes in what
the bound leaves open, and the caller measures that again, in float64 and by one expression.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
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
LARGEST_BYTE: Final = 255
LONGEST: Final = 2**20
"""Bytes of a vector: of many more, no bound of float32's error is of use."""
SEVERAL: Final = 8
"""Neighbours asked for, so that all that may be nearest are among them."""
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
    """Rows `(n, d)`, oldest first, each known by the index of its query: bytes, or float32.

    Bytes turn to float32 when the first vector comes that is none: all are compared with all.
    """

    def __init__(self, length: int, narrow: bool = False) -> None:
        """Start empty, for vectors of `length` values, at least 1; `narrow` are those of bytes."""
        self._narrow = narrow
        self._index = _bytes(length) if narrow else faiss.IndexFlatL2(length)
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
        if self._narrow and not narrow(vectors).all():
            self._widen()
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

    def _widen(self) -> None:
        """Keep float32 from here on."""
        wide = faiss.IndexFlatL2(self._length)
        wide.add(self._vectors().astype(np.float32))
        self._index, self._narrow = wide, False

    def vectors(self, queries: Ints) -> NDArray[np.float32]:
        """Copy the vectors `(k, d)` of queries `(k,)` that are here."""
        return self._vectors()[self._rows(queries)].astype(np.float32, copy=False)

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

    def nearest(self, count: int, tail: int = 0) -> list[Near]:
        """Find what may be nearest to each of the last `count` rows, where there is any.

        Only where rows are forgotten in their order: `live` are those that a row is compared with,
        of these the ones whose last `tail` values are its own.
        """
        rows = range(len(self) - count, len(self))
        if self._narrow:
            found = [self._nearest(row, self._alike(row, tail), SEVERAL) for row in rows]
            return [each for each in found if each is not None]
        near = self.near(count, self._span())
        if not tail:
            return near
        only = [self._only(each, self._alike(each.row, tail)) for each in near]
        return [each for each in only if len(each.others)]

    def _alike(self, row: int, tail: int) -> NDArray[np.bool_]:
        """Say of the rows before one which are live and have the same last values."""
        live, ends = self.live(row), self._vectors()[: row + 1, self._length - tail :]
        alike = np.zeros(row, np.bool_)
        alike[live.start :] = (ends[live.start : row] == ends[row]).all(axis=1)
        return alike

    def _only(self, near: Near, alike: NDArray[np.bool_]) -> Near:
        kept = alike[near.others]
        return Near(near.row, near.others[kept], near.lower[kept], near.upper[kept])

    def live(self, row: int) -> range:
        """Give the rows before this one that were not forgotten when it came."""
        until = self._about["until"][:row]
        return range(int(np.searchsorted(until, self._about["query"][row])), row)

    def _nearest(self, row: int, alike: NDArray[np.bool_], most: int) -> Near | None:
        count, squares = int(np.count_nonzero(alike)), self._about["square"]
        if not count:
            return None
        here: Any = faiss.SearchParameters()
        bits = np.packbits(alike, bitorder="little")
        # FAISS holds no reference to either.
        selector = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
        here.sel = selector
        query = self._vectors()[row : row + 1].astype(np.float32)
        with _one_thread():
            [found], [others] = self._index.search(query, min(most, count), params=here)
        share, floor = self._errors()
        errors = share * (squares[row] + squares[others]) + floor
        lower, upper = found - errors, found + errors
        if most < count and lower.max() <= upper.min() * (1 + SLACK):
            return self._nearest(row, alike, count)  # as many are at one distance
        order = np.argsort(others)
        return Near(row, others[order], lower[order], upper[order])

    def _span(self) -> float:
        """Give a distance that no two rows are farther apart than."""
        largest = float(self._about["square"][: len(self)].max())
        return 2 * math.sqrt(largest) * (1 + SLACK)

    def vector(self, row: int) -> NDArray[np.float32]:
        """Copy a row."""
        copy: NDArray[np.float32] = self._vectors()[row].astype(np.float32)
        return copy

    def _search(self, count: int, limit: float) -> tuple[Ints, Ints, Floats, Floats]:
        """Give owners, rows, squared distances, their errors, of all that can be below `limit`."""
        n = len(self)
        squares = self._about["square"][:n]
        largest = float(squares.max())
        share, floor = self._errors()
        radius = limit + 2 * share * largest + floor
        if not max(radius, 4 * largest) < _LARGEST:
            owners, others = np.indices((count, n)).reshape(2, -1)
            return owners, others, np.zeros(count * n), np.full(count * n, math.inf)
        # Of FAISS's own threshold the unit differs between versions; no result depends on it.
        faiss.cvar.distance_compute_blas_threshold = 1 if count >= MATRIX_FROM else 2**30
        rows = self._vectors()[n - count :].astype(np.float32, copy=False)
        with _one_thread():
            bounds, found, others = self._index.range_search(
                rows, np.nextafter(np.float32(radius), np.float32(np.inf))
            )
        ends: Ints = bounds.astype(np.int64)
        owners = np.repeat(np.arange(count), ends[1:] - ends[:-1])
        errors = share * (squares[n - count + owners] + squares[others]) + floor
        return owners, others, found.astype(np.float64), errors

    def _errors(self) -> tuple[float, float]:
        """Give what a squared distance errs by at most: a share of both squared norms, and a floor.

        A dot product of d terms errs by at most d u / (1 - d u) |x| |y| (Higham, Accuracy and
        Stability of Numerical Algorithms, section 3.1), u the unit roundoff; the squared norms
        err likewise, and (|x| + |y|)^2 <= 2 |x|^2 + 2 |y|^2. What underflows is in the floor.
        """
        slack = (self._length + 8) * _UNIT
        return 2.02 * slack / (1.0 - slack) if slack < 0.5 else math.inf, 8 * self._length * _TINY

    def measure(self, row: int, others: Ints) -> Floats:
        """Measure a row against others `(m,)` in float64; the bits depend on the pair alone."""
        vectors = self._vectors()
        there = vectors[others].astype(np.float32, copy=False)
        return DISTANCES["l2"].exact(vectors[row].astype(np.float32, copy=False), there)

    def query(self, row: int) -> int:
        """Tell whose vector a row is."""
        return int(self._about["query"][row])

    def _vectors(self) -> NDArray[Any]:
        """View the index's own memory, valid until rows are added or removed."""
        n, codes = len(self), self._index
        memory = codes.codes.data() if self._narrow else codes.get_xb()
        view: NDArray[Any] = faiss.rev_swig_ptr(memory, n * self._length)
        return view.reshape(n, self._length)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Search by this thread alone within a block.

    A search of one account's vectors is too short to be shared: two cores, one of them busy, took
    twice to tenfold the processor time, and longer.
    """
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def narrow(vectors: NDArray[Any]) -> NDArray[np.bool_]:
    """Say of vectors `(k, d)` which are kept as bytes: short, of whole numbers from 0 to 255."""
    if vectors.shape[1] > LONGEST:
        return np.zeros(len(vectors), np.bool_)
    kept = (vectors >= 0) & (vectors <= LARGEST_BYTE) & (vectors == np.rint(vectors))
    return np.asarray(kept.all(axis=1))


def _bytes(length: int) -> Any:
    quantizer = faiss.ScalarQuantizer
    return faiss.IndexScalarQuantizer(length, quantizer.QT_8bit_direct, faiss.METRIC_L2)

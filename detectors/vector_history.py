"""One account's feature vectors, bounded, with their state as an append-only log.

Vectors are kept in order of arrival, in one flat index per length: after a change of encoder, or
between two that take turns, only vectors of one length are compared. **Bounded**: at most `history`
vectors of all lengths and at most `megabytes` of them; the oldest of all is forgotten first.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.base import Segment
from gamekeeper.detectors.flat_index import FlatIndex, Ints
from gamekeeper.schemas.errors import ProfileError, StateError

LOG = "vectors"
SEGMENT_BYTES = 256 * 1024

_HEAD = struct.Struct("<I")  # values in a vector; then queries as int64, then vectors as float32


class Added(NamedTuple):
    """Vectors just added: the last rows of `among`, and what each of them is compared with."""

    among: FlatIndex
    starts: Ints
    """`(k,)`: position of the oldest vector that was there before each."""
    sizes: Ints
    """`(k,)`: vectors remembered after each."""


class VectorHistory:
    """The live vectors; positions count all that were ever added."""

    def __init__(self, history: int, megabytes: int) -> None:
        """Start empty, with the bounds of the module's text; raises `ProfileError`."""
        if history < 1 or megabytes < 1:
            raise ProfileError(f"history and megabytes are at least 1, not {history}, {megabytes}")
        self._most = history
        self._budget = megabytes * 2**20
        self._widest = 0
        self._end = 0
        self.clear()

    def clear(self) -> None:
        """Forget all vectors; log positions go on."""
        self._start = self._drained = self._end
        self._bytes = 0
        self._indexes: dict[int, FlatIndex] = {}
        self._runs: deque[list[int]] = deque()  # of like vectors, oldest first: end, length
        self._touched: set[int] = set()  # lengths of which some were forgotten

    @property
    def position(self) -> tuple[int, int]:
        """The log's: position after the last vector, and that of the oldest live one."""
        return self._end, self._start

    def room(self, length: int) -> int:
        """Count the vectors that a new one of this length could be compared with."""
        return len(self._indexes[length]) if length in self._indexes else 0

    def add(self, queries: Ints, vectors: NDArray[np.float32]) -> Added:
        """Append `(k, d)` vectors of queries `(k,)`; what that forgets stays until `settle`."""
        k, length = vectors.shape
        starts, sizes = np.empty(k, np.int64), np.empty(k, np.int64)
        self._append(queries, vectors)
        end = self._end - k
        for i in range(k):
            starts[i] = self._start
            end += 1
            self._bytes += _size(length)
            self._forget(end)
            sizes[i] = end - self._start
        return Added(self._indexes[length], starts, sizes)

    def _append(self, queries: Ints, vectors: NDArray[np.float32]) -> None:
        k, length = vectors.shape
        index = self._indexes.get(length)
        if index is None:
            index = self._indexes[length] = FlatIndex(length)
        index.add(vectors, self._end, queries)
        self._widest = max(self._widest, _size(length))
        self._end += k
        if self._runs and self._runs[-1][1] == length:
            self._runs[-1][0] = self._end
        else:
            self._runs.append([self._end, length])

    def _forget(self, end: int) -> None:
        """Forget the oldest while there are too many before `end`, the last one excepted."""
        while end - self._start > self._most or (
            self._bytes > self._budget and end - self._start > 1
        ):
            last, length = self._runs[0]
            self._start += 1
            self._bytes -= _size(length)
            self._touched.add(length)
            if self._start == last:
                self._runs.popleft()

    def settle(self) -> None:
        """Remove what is forgotten, where that is worth the while."""
        for length in self._touched:
            if not self._indexes[length].forget(self._start):
                del self._indexes[length]
        self._touched.clear()

    def drain(self) -> list[Segment]:
        """Hand out the vectors added since the last call that are still here."""
        segments = []
        at = max(self._drained, self._start)
        for last, length in self._runs:
            most = max(1, (SEGMENT_BYTES - 1 - _HEAD.size) // (_size(length) - _HEAD.size))
            while at < last:
                stop = min(last, at + most)
                queries, vectors = self._indexes[length].between(at, stop)
                data = queries.astype("<i8").tobytes() + vectors.astype("<f4").tobytes()
                segments.append(Segment(LOG, stop, _HEAD.pack(length) + data))
                at = stop
        self._drained = self._end
        return segments

    def load(self, end: int, start: int, segments: Iterable[Segment]) -> None:
        """Restore from the log's position and live segments; raises `StateError`."""
        self._end = start
        self.clear()
        for segment in segments:
            queries, vectors = _unpack(segment.data)
            skip = self._end - (segment.end - len(queries))
            stop = len(queries) - max(0, segment.end - end)  # beyond `end` a crash left it
            if 0 <= skip < stop:
                self._restore(queries[skip:stop], vectors[skip:stop])
        if self._end != end:
            raise StateError(
                f"vectors {self._end} to {end} are missing from the saved state: restore the log "
                "from the changelog, or start the account afresh"
            )
        self._drained = end

    def _restore(self, queries: Ints, vectors: NDArray[np.float32]) -> None:
        self._append(queries, vectors)
        self._bytes += len(queries) * _size(vectors.shape[1])

    def limit(self) -> int:
        """State the most bytes the log's live segments take, one of them partly forgotten."""
        live = min(self._most * self._widest, self._budget + self._widest)
        return live + max(SEGMENT_BYTES, self._widest)


def _size(length: int) -> int:
    """Count the bytes of a vector stored in a segment of its own."""
    return _HEAD.size + 8 + 4 * length


def _unpack(data: bytes) -> tuple[Ints, NDArray[np.float32]]:
    """Read a segment's queries `(n,)` and vectors `(n, d)`; `StateError` where it is damaged."""
    length = _HEAD.unpack_from(data)[0] if len(data) >= _HEAD.size else 0
    n, rest = divmod(len(data) - _HEAD.size, 8 + 4 * length)
    if not length or rest:
        raise StateError(
            f"a segment of {LOG} with {len(data)} bytes is damaged: restore it from the "
            "changelog, or start the account afresh"
        )
    queries = np.frombuffer(data, "<i8", n, _HEAD.size)
    vectors = np.frombuffer(data, "<f4", n * length, _HEAD.size + 8 * n)
    return queries.astype(np.int64), vectors.reshape(n, length).astype(np.float32)

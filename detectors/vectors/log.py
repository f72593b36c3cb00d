"""One bounded memory of feature vectors as an append-only log, oldest first.

Only which vectors it holds is kept here: the values are in the flat index of their length.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby, islice
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.base import Segment
from gamekeeper.detectors.vectors.index import FlatIndex, Ints
from gamekeeper.schemas.errors import StateError

SEGMENT_BYTES = 256 * 1024

_HEAD = struct.Struct("<I")  # values in a vector, and `_BYTES`; then queries as int64, then vectors
_BYTES = 1 << 31


class Form(NamedTuple):
    """What a vector is stored as: so many values, bytes where it is `narrow`, else float32."""

    length: int
    narrow: bool = False

    @property
    def dtype(self) -> str:
        """Name the values' type in a segment."""
        return "u1" if self.narrow else "<f4"


Item = tuple[int, Form]
"""A query and its vector's form."""


class Position(NamedTuple):
    """Of a log: how many vectors were ever appended, and how many of them are forgotten."""

    end: int
    start: int


class VectorLog:
    """At most `most` vectors and `budget` bytes, the last vector excepted."""

    def __init__(self, name: str, most: int, budget: int) -> None:
        """Start empty."""
        self.name = name
        self._most = most
        self._budget = budget
        self._end = 0
        self.clear()

    def __len__(self) -> int:
        """Count the vectors."""
        return len(self._items)

    @property
    def position(self) -> Position:
        """Where the log ends, and where its live part starts."""
        return Position(self._end, self._end - len(self._items))

    def clear(self) -> None:
        """Forget all vectors; log positions go on."""
        self._items: deque[Item] = deque()
        self._drained = self._end
        self._bytes = 0

    def push(self, item: Item) -> list[Item]:
        """Append a vector; give those, oldest first, that leave for it."""
        self._items.append(item)
        self._end += 1
        self._bytes += size(item[1])
        left = []
        while len(self._items) > self._most or (
            self._bytes > self._budget and len(self._items) > 1
        ):
            oldest = self._items.popleft()
            self._bytes -= size(oldest[1])
            left.append(oldest)
        return left

    def drain(self, indexes: Mapping[int, FlatIndex]) -> list[Segment]:
        """Hand out the vectors appended since the last call that are still here."""
        count = self._end - max(self._drained, self.position.start)
        fresh = list(islice(reversed(self._items), count))[::-1]
        at, segments = self._end - count, []
        for form, group in groupby(fresh, itemgetter(1)):
            queries = [query for query, _ in group]
            most = max(1, (SEGMENT_BYTES - 1 - _HEAD.size) // (size(form) - _HEAD.size))
            for first in range(0, len(queries), most):
                part = np.array(queries[first : first + most], np.int64)
                at += len(part)
                data = _pack(part, indexes[form.length].vectors(part), form)
                segments.append(Segment(self.name, at, data))
        self._drained = self._end
        return segments

    def load(
        self, position: Position, segments: Iterable[Segment]
    ) -> Iterator[tuple[Ints, NDArray[np.float32]]]:
        """Restore from the live segments; give queries and vectors, or raise `StateError`."""
        end, self._end = position
        self.clear()
        for segment in segments:
            form, queries, vectors = _unpack(segment.data)
            skip = self._end - (segment.end - len(queries))
            stop = len(queries) - max(0, segment.end - end)  # beyond `end` a crash left it
            if 0 <= skip < stop:
                self._restore(queries[skip:stop], form)
                yield queries[skip:stop], vectors[skip:stop]
        if self._end != end:
            raise StateError(
                f"{self.name} {self._end} to {end} are missing from the saved state: restore the "
                "log from the changelog, or start the account afresh"
            )
        self._drained = end

    def _restore(self, queries: Ints, form: Form) -> None:
        self._items.extend((query, form) for query in queries.tolist())
        self._end += len(queries)
        self._bytes += len(queries) * size(form)

    def limit(self, widest: int) -> int:
        """State the most bytes of live segments, one partly forgotten, of vectors so large."""
        return min(self._most * widest, self._budget + widest) + max(SEGMENT_BYTES, widest)


def size(form: Form) -> int:
    """Count the bytes of a vector of a form, stored in a segment of its own."""
    return _HEAD.size + 8 + (1 if form.narrow else 4) * form.length


def _pack(queries: Ints, vectors: NDArray[np.float32], form: Form) -> bytes:
    data = queries.astype("<i8").tobytes() + vectors.astype(form.dtype).tobytes()
    return _HEAD.pack(form.length | (_BYTES if form.narrow else 0)) + data


def _unpack(data: bytes) -> tuple[Form, Ints, NDArray[np.float32]]:
    """Read a segment's queries `(n,)` and vectors `(n, d)`; `StateError` where it is damaged."""
    head = _HEAD.unpack_from(data)[0] if len(data) >= _HEAD.size else 0
    form = Form(head & ~_BYTES, bool(head & _BYTES))
    n, rest = divmod(len(data) - _HEAD.size, size(form) - _HEAD.size)
    if not form.length or rest:
        raise StateError(
            f"a segment of vectors with {len(data)} bytes is damaged: restore it from the "
            "changelog, or start the account afresh"
        )
    queries = np.frombuffer(data, "<i8", n, _HEAD.size)
    vectors = np.frombuffer(data, form.dtype, n * form.length, _HEAD.size + 8 * n)
    return form, queries.astype(np.int64), vectors.reshape(n, -1).astype(np.float32)

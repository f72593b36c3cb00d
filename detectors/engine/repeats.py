"""Which of an account's queries it has sent before, bit for bit.

A model answers the same input the same way: who asks again learns nothing, and a pair of equal
queries is no step from one to the other. Retries, health checks, A/B and load tests are made of
them. Detectors that say so (`Detector.distinct`) are given the first of equal queries only.

The latest different queries are known by a digest of their values, of 16 bytes: with fewer, a thief
could look for two inputs of one digest, and have the second passed over. A query that is equal to
an older one than these counts as different again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.base import HEADER_BYTES, Batch, Segment
from gamekeeper.detectors.header import Header
from gamekeeper.detectors.paging import PAGE, PagedLog

NAME: Final = "repeats"
CODEC: Final = 1
SIZE: Final = 16
DIGEST: Final = np.dtype([("digest", f"V{SIZE}")])


class Given(NamedTuple):
    """The queries of a batch that a detector is given, and the rows that they are there.

    `repeats` counts, for each row of the batch, those left out up to it, if any may be.
    """

    batch: Batch
    rows: NDArray[np.intp]
    repeats: NDArray[np.intp] | None = None

    def left_out(self, row: int) -> dict[str, int]:
        """Say in evidence how many repeats were left out."""
        return {} if self.repeats is None else {"repeats": int(self.repeats[row])}

    def between(self, first: int, end: int) -> Given:
        """Give those from one row of the batch to another, which is not among them."""
        part = slice(*np.searchsorted(self.rows, [first, end]).tolist())
        return self._replace(batch=self.batch[part], rows=self.rows[part])


class Repeats:
    """The `capacity` latest different queries of an account; saved as detectors are.

    `count` is the number of repeats so far. Values are compared, so that -0.0 is 0.0; inputs of
    another type or shape are different.

    >>> repeats = Repeats(capacity=2)
    >>> rows = np.array([[1.0], [2.0], [1.0], [3.0], [1.0]])
    >>> repeats.take(rows), repeats.count
    (array([ True,  True, False,  True,  True]), 1)
    """

    def __init__(self, capacity: int) -> None:
        """Start empty."""
        self.setup = f"{NAME} {CODEC} {capacity}"
        """What the saved state depends on."""
        self.count = 0
        self.capacity = capacity
        self._header = Header(NAME, CODEC, [capacity])
        self._log = PagedLog(NAME, DIGEST, capacity)
        self._known: set[bytes] = set()

    def given(self, batch: Batch) -> Given:
        """Note the queries of a batch; give it without repeats."""
        before = self.count
        fresh = self.take(batch.inputs)
        rows = np.flatnonzero(fresh)
        left = batch if len(rows) == len(batch) else batch[rows]
        return Given(left, rows, before + np.cumsum(~fresh))

    def take(self, inputs: NDArray[Any]) -> NDArray[np.bool_]:
        """Take `(n, *shape)` queries; say of each whether it is different from those known."""
        self._log.trim()
        return np.array([self._new(digest) for digest in digests(inputs)], bool)

    def _new(self, digest: bytes) -> bool:
        if digest in self._known:
            self.count += 1
            return False
        oldest = self._log.end - self.capacity
        if oldest >= self._log.begin:
            self._known.discard(self._log.record(oldest).tobytes())
        self._log.append(digest)
        self._known.add(digest)
        return True

    def clear(self) -> None:
        """Forget all queries; the log's positions go on."""
        self.count = 0
        self._log.clear()
        self._known = set()

    def drain(self) -> list[Segment]:
        """Hand out full pages of digests."""
        return self._log.drain()

    def horizon(self) -> dict[str, int]:
        """Say up to which position the log is forgotten."""
        return {NAME: self._log.start()}

    def header(self) -> bytes:
        """Encode positions, the number of repeats, and the digests that are not in a page."""
        return self._header.pack(self._log.begin, self._log.end, self.count, self._log.rest())

    def load(self, header: bytes, segments: Sequence[Segment]) -> None:
        """Restore; raises `StateError` where header or segments do not fit."""
        with self._header.fields(header) as (begin, end, count, rest):
            self._log.load(begin, end, rest, segments)
        self.count = count
        live = self._log.between(self._log.start(), self._log.end)
        self._known = {each.tobytes() for each in live}

    def limit(self) -> int:
        """State the most bytes of state: live pages, and the header."""
        return (self.capacity + PAGE) * SIZE + HEADER_BYTES


def digests(inputs: NDArray[Any]) -> Iterator[bytes]:
    """Give the digests of `(n, *shape)` queries: of equal ones, the same."""
    kind = (inputs.dtype.str, inputs.shape[1:])
    person = blake2b(repr(kind).encode(), digest_size=16).digest()
    for row in np.ascontiguousarray(inputs + inputs.dtype.type(0)):  # makes -0.0 the 0.0
        yield blake2b(row.tobytes(), digest_size=SIZE, person=person).digest()

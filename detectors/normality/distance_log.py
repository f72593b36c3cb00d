"""D of PRADA in order of arrival: the last so many distances, with the pairs they belong to.

An append-only log: full pages of `PAGE` distances are handed out as segments, the rest lies in
the detector's header. What is older than `capacity` distances is forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.base import Segment
from gamekeeper.schemas.errors import StateError

LOG = "distances"
PAGE = 64
RECORD = np.dtype(
    [
        ("label", "<i8"),
        ("query", "<i8"),
        ("nearest", "<i8"),
        ("distance", "<f8"),
        ("digest", "<u8"),  # of a query that may be repeated unseen by the growing set, else 0
    ]
)


class DistanceLog:
    """The last `capacity` distances; positions count all that were ever appended."""

    def __init__(self, capacity: int) -> None:
        """Start empty."""
        self._capacity = capacity
        self._buffer = np.empty(0, RECORD)
        self._offset = 0  # position of the buffer's first record
        self.end = 0
        """Position after the last distance."""
        self._begin = 0  # position of the first one that a reset has not forgotten
        self._drained = 0

    def start(self, end: int | None = None) -> int:
        """Give the position of the oldest distance in D when D ended at `end` (default: now)."""
        return max(self._begin, (self.end if end is None else end) - self._capacity)

    def clear(self) -> None:
        """Forget all distances; positions go on."""
        self._begin = self._drained = self._offset = self.end

    def append(self, *record: float) -> None:
        """Add a record's fields; what that forgets stays readable until `trim`."""
        used = self.end - self._offset
        if used == len(self._buffer):
            self._room(PAGE)
        self._buffer[used] = record
        self.end += 1

    def _room(self, count: int) -> None:
        """Make room for so many records, doubling."""
        used = self.end - self._offset
        grown = np.empty(2 * (used + count), RECORD)
        grown[:used] = self._buffer[:used]
        self._buffer = grown

    def _extend(self, records: NDArray[Any]) -> None:
        used = self.end - self._offset
        if used + len(records) > len(self._buffer):
            self._room(len(records))
        self._buffer[used : used + len(records)] = records
        self.end += len(records)

    def trim(self) -> None:
        """Let go of what is forgotten, once that frees half of the buffer."""
        start = self.start()
        if 2 * (start - self._offset) > max(len(self._buffer), PAGE):
            live = self.between(start, self.end)
            self._buffer = np.empty(2 * len(live), RECORD)
            self._buffer[: len(live)] = live
            self._offset = start

    def between(self, start: int, end: int) -> NDArray[Any]:
        """View the records at these positions."""
        return self._buffer[start - self._offset : end - self._offset]

    def record(self, position: int) -> Any:
        """View the record at a position."""
        return self._buffer[position - self._offset]

    def drain(self) -> list[Segment]:
        """Hand out the full pages since the last call."""
        self._drained = max(self._drained, self.start())
        pages: list[Segment] = []
        while self.end - self._drained >= PAGE:
            page = self.between(self._drained, self._drained + PAGE)
            self._drained += PAGE
            pages.append(Segment(LOG, self._drained, page.tobytes()))
        return pages

    def rest(self) -> bytes:
        """Encode what `drain` has not handed out: fewer than `PAGE` records."""
        return self.between(max(self._drained, self.start()), self.end).tobytes()

    def load(self, begin: int, end: int, rest: bytes, pages: Sequence[Segment]) -> None:
        """Restore from positions, the header's rest and the live pages; raises `StateError`."""
        self._begin = begin
        tail = _records(rest)
        self._drained = end - len(tail)
        first = max(begin, end - self._capacity)
        self._offset = self.end = first
        for page in pages:
            records = _records(page.data)
            position = page.end - len(records)
            skip = self.end - position
            if 0 <= skip < len(records) and page.end <= self._drained:
                self._extend(records[skip:])
        if self.end != self._drained:
            raise StateError(
                f"distances {self.end} to {self._drained} are missing from the saved state: "
                "restore the log from the changelog, or start the account afresh"
            )
        self._extend(tail)

    @property
    def begin(self) -> int:
        """Position of the first distance after the last reset."""
        return self._begin


def _records(data: bytes) -> NDArray[Any]:
    if len(data) % RECORD.itemsize:
        raise StateError(f"a page of {LOG} has {len(data)} bytes, no multiple of {RECORD.itemsize}")
    return np.frombuffer(data, RECORD)

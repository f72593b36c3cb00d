"""The latest records of one kind in order of arrival, saved as pages.

An append-only log: full pages of `PAGE` records are handed out as segments, the rest lies in the
owner's header. What is older than `capacity` records is forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.base import Segment
from gamekeeper.schemas.errors import StateError

PAGE = 64


class PagedLog:
    """The last `capacity` records of a type; positions count all that were ever appended."""

    def __init__(self, name: str, record: np.dtype[Any], capacity: int) -> None:
        """Start empty; segments are of the log `name`."""
        self.name = name
        self._record = record
        self._capacity = capacity
        self._buffer = np.empty(0, record)
        self._offset = 0  # position of the buffer's first record
        self.end = 0
        """Position after the last record."""
        self._begin = 0  # position of the first one that a reset has not forgotten
        self._drained = 0

    def start(self, end: int | None = None) -> int:
        """Give the position of the oldest record when the log ended at `end` (default: now)."""
        return max(self._begin, (self.end if end is None else end) - self._capacity)

    def clear(self) -> None:
        """Forget all records; positions go on."""
        self._begin = self._drained = self._offset = self.end

    def append(self, *record: Any) -> None:
        """Add a record's fields; what that forgets stays readable until `trim`."""
        used = self.end - self._offset
        if used == len(self._buffer):
            self._room(PAGE)
        self._buffer[used] = record
        self.end += 1

    def _room(self, count: int) -> None:
        """Make room for so many records, doubling."""
        used = self.end - self._offset
        grown = np.empty(2 * (used + count), self._record)
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
            self._buffer = np.empty(2 * len(live), self._record)
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
            pages.append(Segment(self.name, self._drained, page.tobytes()))
        return pages

    def rest(self) -> bytes:
        """Encode what `drain` has not handed out: fewer than `PAGE` records."""
        return self.between(max(self._drained, self.start()), self.end).tobytes()

    def load(self, begin: int, end: int, rest: bytes, pages: Sequence[Segment]) -> None:
        """Restore from positions, the header's rest and the live pages; raises `StateError`."""
        self._begin = begin
        tail = self._records(rest)
        self._drained = end - len(tail)
        first = max(begin, end - self._capacity)
        self._offset = self.end = first
        for page in pages:
            records = self._records(page.data)
            position = page.end - len(records)
            skip = self.end - position
            if 0 <= skip < len(records) and page.end <= self._drained:
                self._extend(records[skip:])
        if self.end != self._drained:
            raise StateError(
                f"{self.name} {self.end} to {self._drained} are missing from the saved state: "
                "restore the log from the changelog, or start the account afresh"
            )
        self._extend(tail)

    @property
    def begin(self) -> int:
        """Position of the first record after the last reset."""
        return self._begin

    def _records(self, data: bytes) -> NDArray[Any]:
        size = self._record.itemsize
        if len(data) % size:
            raise StateError(f"a page of {self.name} has {len(data)} bytes, no multiple of {size}")
        return np.frombuffer(data, self._record)

"""How far a partition has been applied, where not every offset is a record.

A transaction's markers, and the records of one that was aborted, take offsets that are never
delivered. Who has applied all records before them has applied all there is: else one record would
seem to wait for ever, and a restart would read them again.

Records are applied in any order, and one may wait for hours while thousands behind it are applied:
kept are those that wait.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

SLACK = 1000
"""Offsets; fewer than these are not worth tidying up."""


class Trail:
    """The records of one partition that were read and are not known to be applied.

    One thread may tell what was read while another asks what is applied.
    """

    def __init__(self, position: int) -> None:
        """Begin where reading begins: all before `position` is applied."""
        self._position = position
        self._waiting: set[int] = set()
        self._order: deque[int] = deque()  # those that wait, in order, and some that no longer do
        self._lock = threading.Lock()

    @property
    def position(self) -> int:
        """Where reading goes on."""
        return self._position

    def read(self, offsets: Sequence[int], position: int) -> None:
        """Note the offsets of records that were read, in order, and where reading goes on.

        Between them, and up to `position`, there are no others. They may be read again.
        """
        with self._lock:
            while offsets and self._order and self._order[-1] >= offsets[0]:
                self._waiting.discard(self._order.pop())
            self._order.extend(offsets)
            self._waiting.update(offsets)
            self._position = position

    def applied(self, acknowledged: set[int]) -> int:
        """Give the offset before which all is applied; empties the set of what is acknowledged.

        Others may add to it meanwhile.
        """
        with self._lock:
            done = list(acknowledged)
            acknowledged.difference_update(done)
            self._waiting.difference_update(done)
            while self._order and self._order[0] not in self._waiting:
                self._order.popleft()
            if len(self._order) > 2 * len(self._waiting) + SLACK:
                self._order = deque(each for each in self._order if each in self._waiting)
            return self._order[0] if self._order else self._position

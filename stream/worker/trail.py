"""How far a partition has been applied, where not every offset is a record.

A transaction's markers, and the records of one that was aborted, take offsets that are never
delivered. Who has applied all records before them has applied all there is: else one record would
seem to wait for ever, and a restart would read them again.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence


class Trail:
    """The records of one partition that were read and are not known to be applied.

    One thread may tell what was read while another asks what is applied.
    """

    def __init__(self, position: int) -> None:
        """Begin where reading begins: all before `position` is applied."""
        self._position = position
        self._waiting: deque[int] = deque()
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
            while offsets and self._waiting and self._waiting[-1] >= offsets[0]:
                self._waiting.pop()
            self._waiting.extend(offsets)
            self._position = position

    def applied(self, acknowledged: set[int]) -> int:
        """Give the offset before which all is applied; forget what is acknowledged before it."""
        with self._lock:
            while self._waiting and self._waiting[0] in acknowledged:
                acknowledged.remove(self._waiting.popleft())
            return self._waiting[0] if self._waiting else self._position

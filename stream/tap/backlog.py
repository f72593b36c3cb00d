"""The tap's queue: bounded by events and by bytes, from the caller's copy to the broker's answer.

What has left the queue for the producer counts against the bounds until the broker has answered,
so that they bound the memory of the whole tap.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Generic, Literal, TypeVar

Item = TypeVar("Item")
Outcome = Literal["delivered", "dropped_full", "rejected", "failed", "sampled_out"]


@dataclass(frozen=True, slots=True)
class TapStats:
    """What became of the events so far, in this process.

    Each ends as exactly one of `delivered`, `dropped_full` (the queue was full), `rejected` (not
    recordable: bad arguments, NaN), `failed` (the broker refused it, or the tap closed first) and
    `sampled_out`. `recorded` counts those that entered the queue; `queued_events` and
    `queued_bytes` are those still on their way, the producer's included. A request is one event
    unless it is larger than a broker's record; calls that make no event count as one.
    """

    recorded: int = 0
    delivered: int = 0
    dropped_full: int = 0
    rejected: int = 0
    failed: int = 0
    sampled_out: int = 0
    queued_events: int = 0
    queued_bytes: int = 0


class Backlog(Generic[Item]):
    """Events on their way; any thread may call anything, and only `take()` waits."""

    def __init__(self, max_events: int, max_bytes: int) -> None:
        """Start empty."""
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._queue: SimpleQueue[tuple[Item, int] | None] = SimpleQueue()
        # Held for a few additions only; re-entrant, because a signal handler may record, too.
        self._lock = threading.RLock()
        self._counts = dict.fromkeys(TapStats.__slots__, 0)
        self._moved = time.monotonic()
        self._closed = False

    def has_room(self, events: int, size: int) -> bool:
        """Say whether `events` of `size` bytes in all fit now: asked before they are copied."""
        counts = self._counts
        return (
            counts["queued_events"] + events <= self._max_events
            and counts["queued_bytes"] + size <= self._max_bytes
        )

    def put(self, items: Sequence[Item], size: int) -> bool:
        """Queue items of `size` bytes each, all of them, or none where they do not fit."""
        events = len(items)
        counts = self._counts
        with self._lock:
            if self._closed or not self.has_room(events, size * events):
                counts["dropped_full"] += events
                return False
            if not counts["queued_events"]:
                self._moved = time.monotonic()
            counts["recorded"] += events
            counts["queued_events"] += events
            counts["queued_bytes"] += size * events
        for item in items:
            self._queue.put((item, size))
        return True

    def take(self, timeout: float) -> tuple[Item, int] | None:
        """Wait for the next item and its size; None after `timeout` seconds or a `wake()`."""
        try:
            return self._queue.get(timeout=timeout)
        except Empty:
            return None

    def wake(self) -> None:
        """Make one `take()` return."""
        self._queue.put(None)

    def __len__(self) -> int:
        """Count, roughly, the items that nobody has taken yet."""
        return self._queue.qsize()

    def settle(self, size: int, outcome: Outcome) -> None:
        """Make the room of a taken item free again; nothing once the backlog is closed."""
        counts = self._counts
        with self._lock:
            if not self._closed:
                counts["queued_events"] -= 1
                counts["queued_bytes"] -= size
                counts[outcome] += 1
                self._moved = time.monotonic()

    def stalled(self) -> float:
        """Say for how many seconds events have been on their way, and none has got anywhere."""
        return time.monotonic() - self._moved if self._counts["queued_events"] else 0.0

    def count(self, outcome: Outcome, events: int = 1) -> None:
        """Count events that were never queued."""
        with self._lock:
            self._counts[outcome] += events

    def close(self) -> int:
        """Count what is still on its way as failed, say how much that is, take no more."""
        counts = self._counts
        with self._lock:
            left = counts["queued_events"]
            counts["failed"] += left
            counts["queued_events"] = counts["queued_bytes"] = 0
            self._closed = True
        return left

    def stats(self) -> TapStats:
        """Count what became of the events so far."""
        with self._lock:
            return TapStats(**self._counts)

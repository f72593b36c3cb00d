"""Micro-batches of un-acknowledged events from a Faust stream.

Faust's own `take()` acknowledges a whole batch even if its body raised, and forbids table access
inside it. Here a task moves events from `stream.noack().events()` into a bounded list while the
previous micro-batch is being worked on, and `take()` hands out what has come in. Whoever took the
events acknowledges them, when all that they led to is safe.

This is the one file that touches a private name of Faust's: `faust.streams._current_event`, by
which a store finds the partition that a key is read from. A test fails when Faust changes it.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import faust.streams

Event = Any
"""A `faust.Event` with raw bytes (or None) as key and value."""

MINIMUM_PAUSE = 0.001  # seconds; a pause of 0 would spin
WORTH_WAITING = 1 / 8  # share of a full batch
IDLE = 0.1  # seconds; the next fetch takes about as long


class Batches:
    """Collects a stream's events: one task puts in, one caller at a time takes out.

    A batch ends at `max_events` events or `max_bytes` bytes of values (a single larger event is a
    batch of its own); after one `pause` (seconds), unless many records are known to wait at the
    broker; then, when nothing came in for a while, or after `patience` seconds. So a worker that
    keeps up answers within milliseconds, and one that lags behind works on large batches, which
    cost less per event. `ends` is kept by Faust: each partition's end offset as of the last
    fetch.
    """

    def __init__(
        self,
        stream: Any,
        ends: Mapping[Any, int | None],
        *,
        max_events: int,
        max_bytes: int,
        pause: float,
        patience: float = 2.0,
    ) -> None:
        self._stream = stream
        self._ends = ends
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._pause = max(pause, MINIMUM_PAUSE)
        self._patience = patience
        self._waiting: list[Event] = []
        self._bytes = 0
        self._positions: dict[Any, int] = {}
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._pump: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Batches:
        """Begin to collect."""
        self._pump = asyncio.create_task(self._collect())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop collecting; what was not taken stays un-acknowledged."""
        assert self._pump is not None
        self._pump.cancel()
        await asyncio.gather(self._pump, return_exceptions=True)  # take() tells its error

    async def _collect(self) -> None:
        try:
            async for event in self._stream.noack().events():
                self._waiting.append(event)
                self._bytes += len(event.value or b"")
                message = event.message
                self._positions[message.tp] = message.offset
                self._arrived.set()
                if self._full():
                    self._room.clear()
                    await self._room.wait()
        finally:
            self._arrived.set()  # lets take() see that nothing more will come

    async def take(self) -> list[Event]:
        """Wait for events and hand out the oldest, each partition's in order; none at the end.

        Raises what ended the stream, if it was an error.
        """
        while True:
            await self._arrived.wait()
            if self._pump is not None and self._pump.done() and not self._waiting:
                self._pump.result()
                return []
            await self._gather()
            if batch := self._cut():
                return batch

    async def _gather(self) -> None:
        now = asyncio.get_running_loop().time
        end, news = now() + self._patience, now()
        while not self._full():
            before = len(self._waiting)
            await asyncio.sleep(self._pause)
            if len(self._waiting) > before:
                news = now()
            if not self._behind() or now() >= min(end, news + IDLE):
                return

    def _cut(self) -> list[Event]:
        """Take the oldest events off the list, up to a batch's limits."""
        count = size = 0
        for event in self._waiting[: self._max_events]:
            size += len(event.value or b"")
            if count and size > self._max_bytes:
                size -= len(event.value or b"")
                break
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        self._bytes -= size
        self._settle()
        return batch

    def _settle(self) -> None:
        """Set both signals to what the list now says."""
        ended = self._pump is not None and self._pump.done()
        if not self._waiting and not ended:
            self._arrived.clear()
        if not self._full():
            self._room.set()

    def _full(self) -> bool:
        return len(self._waiting) >= self._max_events or self._bytes >= self._max_bytes

    def _behind(self) -> bool:
        """Say whether enough records are known to wait at the broker to be worth waiting for.

        A few always may be: a transaction's markers count as records and are never delivered.
        """
        lag = sum((self._ends.get(tp) or 0) - at - 1 for tp, at in self._positions.items())
        return lag >= self._max_events * WORTH_WAITING

    def drop(self) -> None:
        """Forget what was not taken, as when partitions are lost: it will be delivered again."""
        self._waiting = []
        self._bytes = 0
        self._positions = {}
        self._settle()


@contextmanager
def current(event: Event) -> Iterator[None]:
    """Let table reads and writes inside concern the event's partition.

    The caller holds the event: Faust's variable has a weak reference to it only.
    """
    token = faust.streams._current_event.set(weakref.ref(event))
    try:
        yield
    finally:
        faust.streams._current_event.reset(token)

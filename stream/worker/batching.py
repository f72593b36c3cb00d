"""Micro-batches of un-acknowledged events from a Faust stream.

Faust's own `take()` acknowledges a whole batch even if its body raised, and forbids table access
inside it. Here a task moves events from `stream.noack().events()` to where each account's wait
(see `intake`) while the previous micro-batch is being worked on, and `take()` hands out what is
next. Whoever took the events acknowledges them, when all that they led to is safe.

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

from gamekeeper.stream.worker.intake import Intake, Orders
from gamekeeper.stream.worker.opening import Item, Records
from gamekeeper.stream.worker.shares import Event

MINIMUM_PAUSE = 0.001  # seconds; a pause of 0 would spin
WORTH_WAITING = 1 / 8  # share of a full batch
IDLE = 0.1  # seconds; the next fetch takes about as long


class Batches:
    """Collects a stream's events: one task puts in, one caller at a time takes out.

    A micro-batch is collected for one `pause` (seconds), unless many records are known to wait at
    the broker; then, until nothing came in for a while, or for `patience` seconds. So a worker that
    keeps up answers within milliseconds, and one that lags behind works on large batches, which
    cost less per event. What was left waiting by the last one is worked on at once. `ends` is kept
    by Faust: each partition's end offset as of the last fetch.
    """

    def __init__(
        self,
        stream: Any,
        ends: Mapping[Any, int | None],
        intake: Intake,
        *,
        pause: float,
        patience: float = 2.0,
    ) -> None:
        self._stream = stream
        self._ends = ends
        self._intake = intake
        self._pause = max(pause, MINIMUM_PAUSE)
        self._patience = patience
        self._left = False
        self._positions: dict[Any, int] = {}
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._pump: asyncio.Task[None] | None = None
        self._return: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Batches:
        """Begin to collect."""
        self._pump = asyncio.create_task(self._collect())
        self._return = asyncio.create_task(self._intake.bring_back(self._arrived))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop collecting; what was not taken stays un-acknowledged."""
        assert self._pump is not None
        assert self._return is not None
        self._pump.cancel()
        self._return.cancel()
        # take() tells their errors
        await asyncio.gather(self._pump, self._return, return_exceptions=True)

    async def _collect(self) -> None:
        try:
            async for event in self._stream.noack().events():
                self._intake.put(event)
                message = event.message
                self._positions[message.tp] = message.offset
                if self._intake.waiting:
                    self._arrived.set()
                if self._intake.full():
                    self._room.clear()
                    await self._room.wait()
        finally:
            self._arrived.set()  # lets take() see that nothing more will come

    async def take(self) -> Orders | Records | Item | None:
        """Wait for events and hand out what is next (see `Intake.take`); None at the end.

        Raises what ended the stream, if it was an error.
        """
        while True:
            await self._arrived.wait()
            if self._ended() and not self._intake.waiting:
                self._raise()
                return None
            if not self._left:
                await self._gather()
            taken = self._intake.take()
            self._settle()
            if taken is not None:
                return taken

    def done(self, item: Item) -> None:
        """Let go of an event that was handed out once for each of its slices."""
        self._intake.done(item)
        self._settle()

    async def _gather(self) -> None:
        now = asyncio.get_running_loop().time
        end, news = now() + self._patience, now()
        while not self._intake.full():
            before = self._intake.waiting
            await asyncio.sleep(self._pause)
            if self._intake.waiting > before:
                news = now()
            if not self._behind() or now() >= min(end, news + IDLE):
                return

    def _settle(self) -> None:
        """Set the signals to what now waits."""
        self._left = self._intake.waiting > 0
        if not self._left and not self._ended():
            self._arrived.clear()
        if not self._intake.full():
            self._room.set()

    def _ended(self) -> bool:
        """Say whether no more will come."""
        return any(each is not None and each.done() for each in (self._pump, self._return))

    def _raise(self) -> None:
        for each in (self._pump, self._return):
            if each is not None and each.done():
                each.result()

    def _behind(self) -> bool:
        """Say whether enough records are known to wait at the broker to be worth waiting for.

        A few always may be: a transaction's markers count as records and are never delivered.
        """
        lag = sum((self._ends.get(tp) or 0) - at - 1 for tp, at in self._positions.items())
        return lag >= self._intake.max_events * WORTH_WAITING

    def drop(self) -> None:
        """Forget what was not taken, as when partitions are lost: it will be delivered again."""
        self._intake.clear()
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

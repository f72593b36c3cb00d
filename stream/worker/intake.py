"""What is read from the queries topic waits here, or is passed over and read again in its turn.

The records of a partition come in one order, and few of them fit into memory. Where one account
sends faster than it is worked on, its records would soon be all that waits, with the others' behind
them, unread. So an account that has more than its share waiting is **held back**: of its further
records the offsets alone are noted, and reading goes on. When the account has room again, they are
read a second time (see `rereading`), each account's in their order; until none is left, its newer
ones are noted, too. They are not acknowledged meanwhile: a restart, or another worker, begins
with the first of them, and skips what others' headers say is applied.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple, Protocol

import structlog

from gamekeeper.schemas.errors import BrokerError
from gamekeeper.schemas.order import is_profile_order
from gamekeeper.stream.worker.backlog import Backlog, Key, Place
from gamekeeper.stream.worker.metrics import Metrics
from gamekeeper.stream.worker.opening import Item, Records
from gamekeeper.stream.worker.shares import QUANTUM, Event, Shares, size_of

log = structlog.get_logger("gamekeeper.stream")

MOST_HELD: Final = 1_000_000
"""Records that are held back, 8 bytes each; beyond these, nothing more is read."""
SMALL: Final = 64
"""An account may always have one in so many of the records and bytes that may wait."""
ROOM: Final = 2**20
"""Bytes; an account that has more waiting is not read again for."""
READ: Final = 4 * 2**20
"""Bytes that are read again at a time, and one fetch more."""
SAY_SECONDS: Final = 60.0
ASK_AGAIN: Final = 1.0  # seconds


class Orders(NamedTuple):
    """Orders to take profiles, in the order of each partition."""

    events: list[Event]


class Again(Protocol):
    """Reads records a second time; see `Rereader`."""

    def read(self, places: Sequence[Place], max_bytes: int) -> list[tuple[Place, Any]]:
        """Read records of one partition."""

    def event(self, place: Place, record: Any, generation: int) -> Event:
        """Make an event of one."""

    def close(self) -> None:
        """End, until the next read."""


class Intake:
    """Lets records wait in `shares`, and holds back those of accounts that send too much.

    About `max_events` records may wait, and `max_bytes` bytes of their values. An account's may
    take half of what is free, so that however many do, there is room for others. Those that are
    read again take half of what there is at most; where others need more than the other half, one
    account at a time gets one record through. `lost` is told of records that are gone by then.
    """

    def __init__(
        self,
        shares: Shares,
        again: Again,
        lost: Callable[[Sequence[Place]], None],
        metrics: Metrics,
        *,
        max_events: int,
        max_bytes: int,
    ) -> None:
        self._shares = shares
        self._again = again
        self._lost = lost
        self._metrics = metrics
        self.max_events = max_events
        self._max_bytes = max_bytes
        self._backlog = Backlog()
        self._orders: list[Event] = []
        self._generation = 0
        self._thread = ThreadPoolExecutor(1, "rereading")
        self._changed = asyncio.Event()
        self._said = -SAY_SECONDS

    @property
    def waiting(self) -> int:
        """Count the records that wait in memory."""
        return self._shares.events + len(self._orders)

    def put(self, event: Event) -> None:
        """Let a record wait, or hold it back.

        An order to take a profile is next: it rules what comes after it, whoever sent that.
        """
        generation = event.message.generation_id
        if generation != self._generation:  # what was noted will be delivered again
            self._backlog.clear()
            self._show()
            self._generation = generation
        if is_profile_order(event.value):
            self._orders.append(event)
        elif event.key in self._backlog or not self._fits(event):
            self._hold_back(event)
        else:
            self._shares.put(event)

    def full(self) -> bool:
        """Say whether no more should be read."""
        return self._taken(1) or self._backlog.records >= MOST_HELD

    def take(self) -> Orders | Records | Item | None:
        """Give what is next: the orders that have come, else see `Shares.take`."""
        if self._orders:
            orders, self._orders = Orders(self._orders), []
            return orders
        taken = self._shares.take()
        self._changed.set()
        return taken

    def done(self, item: Item) -> None:
        """Let go of a large event; see `Shares.done`."""
        self._shares.done(item)
        self._changed.set()

    def clear(self) -> None:
        """Forget all that waits and all that is held back."""
        self._shares.clear()
        self._orders = []
        self._backlog = Backlog()
        self._show()

    async def bring_back(self, arrived: asyncio.Event) -> None:
        """Read again what is held back, whenever there is room; never ends.

        `arrived` is set when there is something to take.
        """
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                while wanted := self._wanted():
                    await self._read(wanted)
                    if self._shares.events:
                        arrived.set()
        finally:
            arrived.set()  # should this fail, who waits for it is told

    def _taken(self, parts: int) -> bool:
        """Say whether one in so many parts of what may wait, waits."""
        return (
            self._shares.events * parts >= self.max_events
            or self._shares.bytes * parts >= self._max_bytes
        )

    def _fits(self, event: Event) -> bool:
        events, nbytes = self._shares.waiting(event.key)
        free_events = self.max_events - self._shares.events
        free_bytes = self._max_bytes - self._shares.bytes
        most_events = max(free_events // 2, self.max_events // SMALL, 1)
        most_bytes = max(free_bytes // 2, self._max_bytes // SMALL)
        return events < most_events and nbytes + size_of(event) <= most_bytes

    def _hold_back(self, event: Event) -> None:
        message = event.message
        self._backlog.put(event.key, Place(message.partition, message.offset))
        self._show()
        self._changed.set()
        if time.monotonic() - self._said >= SAY_SECONDS:
            self._said = time.monotonic()
            log.warning(
                "an account sends more than its share; what is more is read again in its turn",
                account=(event.key or b"").decode(errors="replace"),
                accounts_held_back=len(self._backlog),
                records_held_back=self._backlog.records,
                stopped=self._backlog.records >= MOST_HELD,
            )

    def _show(self) -> None:
        self._metrics.held_records.set(self._backlog.records)
        self._metrics.held_accounts.set(len(self._backlog))

    def _wanted(self) -> dict[Place, Key]:
        """Choose what to read again, on one partition and in its order."""
        room = max(1, self.max_events // 2 - self._shares.events)
        if not self._taken(2):
            keys, count = [key for key in self._backlog if self._has_room(key)], QUANTUM
        elif not any(self._shares.waiting(key)[0] for key in self._backlog):
            keys, count, room = list(self._backlog)[:1], 1, 1
        else:
            return {}
        chosen: dict[Place, Key] = {}
        for key in keys:
            places = self._backlog.first(key, count)
            if not chosen or places[0].partition == next(iter(chosen)).partition:
                chosen |= dict.fromkeys(places, key)
        return dict(sorted(chosen.items())[:room])

    def _has_room(self, key: Key) -> bool:
        events, nbytes = self._shares.waiting(key)
        return events < QUANTUM and nbytes < ROOM

    async def _read(self, wanted: dict[Place, Key]) -> None:
        backlog, generation = self._backlog, self._generation
        run = asyncio.get_running_loop().run_in_executor
        try:
            found = await run(self._thread, self._again.read, list(wanted), READ)
        except BrokerError as error:
            log.warning("waiting for the broker", error=str(error))
            await asyncio.sleep(ASK_AGAIN)
            return
        if backlog is not self._backlog or generation != self._generation:
            return  # partitions have changed hands meanwhile
        gone = []
        for place, record in found:
            key = wanted[place]
            backlog.pop(key)
            # One with another key is of a topic that was made anew: what was to be read is gone.
            there = record if record is not None and record.key == key else None
            event = self._again.event(place, there, generation)
            if there is None:
                gone.append(place)
                event.ack()
            else:
                self._shares.put(event)
        if gone:
            self._lost(gone)
        self._show()
        if not backlog:
            await run(self._thread, self._again.close)

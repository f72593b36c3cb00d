"""What lies between a process and the brokers: delays, cuts, answers that are lost."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

from aiokafka.errors import RequestTimedOutError
from faust.types import TP

from support.simulation.broker import Broker
from support.simulation.clock import Loop, _succeed

RETRY = 0.5
"""Seconds until a client asks again where no answer comes."""

Ask = Callable[[Callable[[Any], None]], None]
"""Something asked of a broker, which answers by calling the function that it is given."""


class Link:
    """One process's way to the brokers; `cut` holds everything up, `dead` ends it.

    `sending` is called with each batch that is about to be sent, and its partition.

    `slow` are the seconds that a message takes at most, `lossy` is the share of requests that are
    done but not answered, and then sent again.
    """

    def __init__(self, broker: Broker, loop: Loop, slow: float, lossy: float) -> None:
        self.cut = self.dead = False
        self.sending: Callable[[TP, Any], None] = lambda place, batch: None
        self._broker = broker
        self._world = broker.world
        self._loop = loop
        self._slow = slow
        self._lossy = lossy
        self._held: list[Callable[[], None]] = []

    def mend(self) -> None:
        """Let through what was held up."""
        self.cut = False
        self.release()

    def release(self) -> None:
        """Send what was held up, if that can be done."""
        held, self._held = self._held, []
        for message in held:
            self._travel(message)

    async def ask(self, what: Ask) -> Any:
        """Ask a broker and wait for the answer, however long that is."""
        future = self._loop.create_future()
        self._travel(lambda: self._arrive(what, future))
        return await future

    async def tell(self, what: Callable[[], Any]) -> Any:
        """Ask for what can be answered at once."""
        return await self.ask(lambda answer: answer(what()))

    def _arrive(self, what: Ask, future: asyncio.Future[Any]) -> None:
        lost = self._world.chance.random() < self._lossy
        what((lambda _: None) if lost else lambda value: self._back(future, value))
        if lost:
            self._world.after(RETRY, lambda: self._travel(lambda: self._arrive(what, future)))

    def _back(self, future: asyncio.Future[Any], value: Any) -> None:
        self._travel(lambda: self._answered(future, value))

    def _answered(self, future: asyncio.Future[Any], value: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon(_succeed, future, value)

    def _travel(self, message: Callable[[], None]) -> None:
        """Bring a message to the other side; what is on its way when a process dies arrives."""
        if self.dead:
            return
        self._world.after(
            self._world.chance.random() ** 3 * self._slow, lambda: self._pass(message)
        )

    def _pass(self, message: Callable[[], None]) -> None:
        if self.cut or not self._broker.up:
            if not self.dead:
                self._held.append(message)
            return
        message()


class Metadata(NamedTuple):
    """Where a record went."""

    topic_partition: TP
    offset: int


class Producer:
    """Faust's producer: what is sent to a partition arrives in order, at least once."""

    def __init__(self, broker: Broker, link: Link, loop: Loop, refusing: float) -> None:
        self._broker = broker
        self._link = link
        self._loop = loop
        self._refusing = refusing
        self._queues: defaultdict[TP, list[tuple[Any, asyncio.Future[Any]]]] = defaultdict(list)
        self._senders: dict[TP, asyncio.Task[None]] = {}

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: Any,
    ) -> asyncio.Future[Any]:
        """Queue a record; the future tells where it went."""
        place = self._broker.place(topic, key, partition)
        future = self._loop.create_future()
        self._queues[place].append(((key, value, headers), future))
        if place not in self._senders:
            self._senders[place] = self._loop.create_task(self._send(place))
        return future

    async def flush(self) -> None:
        """Wait until nothing is queued."""
        if self._senders:
            await asyncio.wait(set(self._senders.values()))

    async def _send(self, place: TP) -> None:
        """Send a batch after the other."""
        queue = self._queues[place]
        while queue:
            batch = queue[: self._broker.world.chance.randint(1, len(queue))]
            del queue[: len(batch)]
            self._link.sending(place, batch)
            if self._broker.world.chance.random() < self._refusing:
                offset = None
            else:
                offset = await self._link.tell(lambda batch=batch: self._append(place, batch))
            for number, (_, future) in enumerate(batch):
                if future.done():
                    continue
                if offset is None:
                    future.set_exception(RequestTimedOutError())
                else:
                    future.set_result(Metadata(place, offset + number))
        del self._senders[place]

    def _append(self, place: TP, batch: list[Any]) -> int:
        offsets = [self._broker.append(place, *record) for record, _ in batch]
        return offsets[0]

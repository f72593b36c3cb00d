"""Faust's consumer with three more of its assumptions made true: no record is lost when partitions
move.

After every restore Faust goes back to the committed offsets, because records of the queries topic
may have been fetched and thrown away meanwhile. Where nothing has been committed yet, as after a
crash within the first second of an app's life, aiokafka does not move at all: here it then goes
back to the beginning.

Faust restores state up to the end offset that the broker tells, and state is whole only if that is
after everything written before. It may not be: an earlier owner's last rows can still be on their
way to the replicas, and the embedded broker tells the offset after the first record of the last
batch. So a record is written behind them first and waited for.

Faust takes a worker for the owner of its partitions until it hears otherwise. One that was stopped
for longer than its session, by SIGSTOP or in a frozen container, hears of it too late: whatever it
then writes to a changelog comes after the new owner's end. So it can ask.

It touches private names of Faust's and aiokafka's consumers: the thread, the coordinator and its
heartbeat. A test of a stopped worker fails when they change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from faust.transport.drivers import aiokafka

from gamekeeper.stream.worker.reader import Reader

FENCE = b"end"
"""Key of the record that marks a changelog's end; no row's, these are MessagePack arrays."""
ASK_AGAIN = 0.1  # seconds


class Consumer(Reader):
    """Seeks every partition, and knows a changelog's true end."""

    async def seek_to_committed(self) -> Mapping[Any, int | None]:
        """Go to the committed offsets; to the beginning where there is none."""
        committed: Mapping[Any, int | None] = await super().seek_to_committed()
        changelogs = self.app.tables.changelog_topics
        fresh = [tp for tp, at in committed.items() if not at and tp.topic not in changelogs]
        if fresh:
            await self.seek_wait(await self.earliest_offsets(*fresh))
        return committed

    async def owns(self, generation: int) -> bool:
        """Ask the broker whether this worker is a member of its group in a generation.

        Waits for as long as the broker gives no answer.
        """
        while not await self._thread.call_thread(self._beat, generation):
            if self._thread._ensure_consumer()._coordinator.generation != generation:
                return False
            await asyncio.sleep(ASK_AGAIN)
        return True

    async def _beat(self, generation: int) -> bool:
        """Send one heartbeat; what it is answered, the coordinator takes note of."""
        coordinator = self._thread._ensure_consumer()._coordinator
        heard: bool = coordinator.generation == generation and await coordinator._do_heartbeat()
        return heard

    async def highwaters(self, *partitions: Any) -> Mapping[Any, int]:
        """Give the end offsets of changelogs, after everything that was written before."""
        send = self.app.producer.send
        sent = [await send(tp.topic, FENCE, b"", tp.partition, None, None) for tp in partitions]
        for each in sent:
            await each
        ends: Mapping[Any, int] = await super().highwaters(*partitions)
        return ends


class Transport(aiokafka.Transport):  # type: ignore[misc]  # Faust is not followed by mypy
    """Faust's Kafka transport with that consumer."""

    Consumer = Consumer

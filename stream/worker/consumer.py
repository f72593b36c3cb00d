"""Faust's consumer with three more of its assumptions made true: no record is lost when partitions
move.

After every restore Faust goes back to the committed offsets, because records of the queries topic
may have been fetched and thrown away meanwhile. Where nothing has been committed yet, as after a
crash within the first second of an app's life, aiokafka does not move at all; and what is committed
may count in another life of the topic. So `tenures` says where to go.

Faust restores state up to the end offset that the broker tells, and state is whole only if that is
after everything written before. It may not be: an earlier owner's last rows can still be on their
way to the replicas, and the embedded broker tells the offset after the first record of the last
batch. So a record is written behind them first and waited for: the mark of a tenure.

Faust takes a worker for the owner of its partitions until it hears otherwise. One that was stopped
for longer than its session, by SIGSTOP or in a frozen container, hears of it too late: whatever it
then writes to a changelog comes after the new owner's end. So it can ask.

It touches private names of Faust's and aiokafka's consumers: the thread, the coordinator and its
heartbeat. A test of a stopped worker fails when they change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from faust.transport.drivers import aiokafka
from faust.types import TP

from gamekeeper.stream.worker.changelog import MARK
from gamekeeper.stream.worker.reader import Reader

ASK_AGAIN = 0.1  # seconds


class Consumer(Reader):
    """Seeks every partition, and knows a changelog's true end."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._seeking = asyncio.Lock()
        super().__init__(*args, **options)

    async def seek_to_committed(self) -> Mapping[Any, int | None]:
        """Go to the committed offsets, or to where `tenures` says, and have that committed.

        Else the next owner would find, and tell, the same loss once more. Faust may ask for this
        twice at a time: what was committed before the first has sought counts no more.
        """
        async with self._seeking:
            committed: Mapping[Any, int | None] = await super().seek_to_committed()
            lives = {TP(*tp): life for tp, life in self._thread.lives.items()}
            starts = await self.app.watcher.tenures.starts(
                committed, lives, self.earliest_offsets, super().highwaters
            )
            if starts:
                await self.seek_wait(starts)
            elsewhere = {tp: at for tp, at in starts.items() if at != committed[tp]}
            if elsewhere:
                await self._commit(elsewhere)
            return {**committed, **starts}

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
        """Give the end offsets of changelogs, after everything that was written before.

        Tenures of those that this worker is to work on begin.
        """
        send, generation = self.app.producer.send, self.app.consumer_generation_id
        sent = [await send(tp.topic, MARK, b"", tp.partition, None, None) for tp in partitions]
        marks = {tp: (await each).offset for tp, each in zip(partitions, sent, strict=True)}
        await self.app.watcher.tenures.take(marks, partial(self.owns, generation))
        ends: Mapping[Any, int] = await super().highwaters(*partitions)
        return ends


class Transport(aiokafka.Transport):  # type: ignore[misc]  # Faust is not followed by mypy
    """Faust's Kafka transport with that consumer."""

    Consumer = Consumer

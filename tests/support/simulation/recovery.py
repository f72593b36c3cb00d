"""How Faust restores a table from its changelog, as `gamekeeper.stream.worker.restoring` has it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from aiokafka.errors import IllegalStateError

from support.simulation.faust import RESTORED_AT_ONCE, App


class Recovery:
    """Restores the rows of partitions that have come, and then lets the records flow.

    `active_offsets` are Faust's: up to where each changelog has been read.
    """

    def __init__(self, app: App, store: Any) -> None:
        self.active_offsets: dict[Any, int | None] = {}
        self._app = app
        self._store = store
        self._actives: set[Any] = set()
        self._ends: Mapping[Any, int] = {}
        self._buffer: list[Any] = []
        self._read = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._let_go = False

    def let_go(self) -> None:
        """Let go of what is being restored."""
        self._let_go = True

    def rebalanced(self, gone: set[Any], generation: int) -> None:
        """Begin with what is assigned now."""
        self._let_go = False
        self._flush()
        for place in gone:
            self.active_offsets.pop(place, None)
        topic, assignor = self._app.changelog, self._app.assignor
        self._actives = {each for each in assignor.assigned_actives() if each.topic == topic}
        for place in self._actives:
            kept = self._store.persisted_offset(place)
            if kept is not None:
                self.active_offsets[place] = kept
            self.active_offsets.setdefault(place, None)
        self.active_offsets = {p: self.active_offsets[p] for p in self._actives}
        if self._task is not None:
            self._task.cancel()
        self._task = self._app.loop.create_task(self._work(generation))

    async def _work(self, generation: int) -> None:
        try:
            await self._restore(generation)
        except IllegalStateError:
            pass  # partitions move again
        except Exception as error:
            await self._app.crash(error)

    async def _restore(self, generation: int) -> None:
        app, consumer, actives = self._app, self._app.consumer, sorted(self._actives)
        await app.producer.flush()
        self._ends = {p: end - 1 for p, end in (await consumer.highwaters(*actives)).items()}
        await self._begin(actives)
        if self._needed():
            self._read.clear()
            self._resume(actives)
            await self._read.wait()
            consumer.pause_partitions(actives)
        else:
            consumer.resume_flow()
        await self._complete(generation)

    async def _begin(self, places: list[Any]) -> None:
        """Seek to where reading goes on."""
        offsets = self.active_offsets
        firsts = await self._app.consumer.earliest_offsets(*places)
        for place in places:
            known, first = offsets[place], firsts[place] - 1
            offsets[place] = first if known is None else max(known, first)
        await self._app.consumer.seek_wait({p: max(0, offsets[p] or 0) for p in places})

    def _resume(self, places: list[Any]) -> None:
        self._app.consumer.resume_partitions(set(places))
        self._app.consumer.resume_flow()

    async def _complete(self, generation: int) -> None:
        app, consumer = self._app, self._app.consumer
        if self._let_go:
            return
        await self._store.on_recovery_completed(self._actives, set())
        consumer.stop_flow()  # what `app.build` has the table do when it is restored
        app.watcher.tenures.restored()
        if app.consumer_generation_id != generation:
            return
        consumer.resume_partitions({p for p in consumer.assignment() if p.topic != app.changelog})
        if consumer.assignment():
            await consumer.perform_seek()
        consumer.resume_flow()
        app.tables.actives_ready, app.rebalancing = True, False

    def take(self, message: Any) -> None:
        """Take a record of a changelog."""
        place = message.tp
        known = self.active_offsets.get(place)
        if place in self._actives and (known is None or message.offset > known):
            self.active_offsets[place] = message.offset
            event = SimpleNamespace(message=message, key=message.key, value=message.value)
            self._buffer.append(event)
            if len(self._buffer) >= RESTORED_AT_ONCE:
                self._flush()
        if not self._needed():
            self._flush()
            self._read.set()

    def _flush(self) -> None:
        batch, self._buffer = self._buffer, []
        if batch:
            self._store.apply_changelog_batch(batch, to_key=_same, to_value=_same)

    def _needed(self) -> bool:
        return any(end > (self.active_offsets.get(p) or -1) for p, end in self._ends.items())


def _same(value: Any) -> Any:
    return value

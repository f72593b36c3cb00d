"""Faust's app, as far as the worker's code sees it: partitions come and go, tables are restored.

What Faust does, in its order: see `faust.app.base` and `faust.transport.consumer`. Consumer and
thread are the worker's own, on Faust's; only what they talk to is simulated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

from faust.transport.drivers import aiokafka
from faust.types import TP
from faust.utils.tracing import noop_span

from gamekeeper.stream.kafka import Settings
from gamekeeper.stream.worker.consumer import Consumer
from gamekeeper.stream.worker.reader import ReaderThread
from support.simulation.client import Client
from support.simulation.coordinator import beat
from support.simulation.events import Event, Stream
from support.simulation.group import Given

COMMIT_SECONDS = 1.0
RESTORED_AT_ONCE = 5
"""Records of the changelog that are applied together; Faust takes 1,000."""


class _Base(aiokafka.AIOKafkaConsumerThread):  # type: ignore[misc]  # Faust is not followed by mypy
    """Faust's thread, which is none here, with the simulated client."""

    async def call_thread(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        result = fun(*args, **kwargs)
        return await result if asyncio.iscoroutine(result) else result

    def _create_worker_consumer(self, transport: Any) -> Client:
        client: Client = self.app.client
        return client


class Thread(ReaderThread, _Base):
    """The worker's own thread over it."""


class Reading(Consumer):
    """The worker's own consumer with that thread."""

    def _new_consumer_thread(self) -> Thread:
        return Thread(self, loop=self.loop, thread_loop=self.loop, beacon=self.beacon)


class _Silent:
    """Sensors that sense nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None


async def _nothing(*args: Any) -> list[Any]:
    return []


CONF = SimpleNamespace(
    broker_commit_every=None,
    broker_commit_interval=COMMIT_SECONDS,
    broker_commit_livelock_soft_timeout=300.0,
    broker_request_timeout=60.0,
    stream_processing_timeout=300.0,
    producer_partitioner=None,
    ConsumerScheduler=lambda: None,
)


class App:
    """The app of one process: `main` joins the group and works until it is cancelled."""

    in_transaction = client_only = in_recovery = False
    tracer = None

    def __init__(self, settings: Settings, client: Client, producer: Any, loop: Any) -> None:
        self.conf, self.sensors, self.loop = CONF, _Silent(), loop
        self.client, self.producer = client, producer
        self.monitor = SimpleNamespace(tp_end_offsets={}, on_tp_commit=lambda offsets: None)
        self.topics = SimpleNamespace(acks_enabled_for=settings.topics.queries.__eq__)
        self._attachments = SimpleNamespace(publish_for_tp_offset=_nothing)
        self.stream = Stream()
        self.settings = settings
        self.changelog = settings.changelog
        self.given = Given(-1, ())
        self.assignor = SimpleNamespace(
            assigned_actives=lambda: self._places(self.given.actives),
        )
        self.tables = SimpleNamespace(
            changelog_topics={self.changelog},
            actives_ready=False,
            on_commit=lambda offsets: None,
            recovery=None,
        )
        self.rebalancing, self.unassigned = True, True
        self.consumer_generation_id = 0
        self.transport = SimpleNamespace(
            app=self, create_transaction_manager=lambda **_: None, url=None
        )
        self.consumer = Reading(
            self.transport,
            callback=_nothing,
            on_partitions_revoked=self._revoked,
            on_partitions_assigned=self._assigned,
            loop=loop,
        )
        self.watcher: Any = None
        self.cluster = SimpleNamespace(topic=settings.topics.queries, told=lambda count: None)
        self.crashed: Callable[[BaseException], None] = lambda error: None
        self._assignment: set[Any] = set()

    def _places(self, partitions: Collection[int]) -> set[Any]:
        topics = self.settings.topics.queries, self.changelog
        return {TP(topic, each) for each in partitions for topic in topics}

    def _start_span_from_rebalancing(self, name: str) -> Any:
        return noop_span()

    def on_rebalance_return(self) -> None:
        """Do nothing."""

    async def crash(self, error: BaseException) -> None:
        """End the process."""
        self.crashed(error)

    async def main(self) -> None:
        """Work, until something ends it."""
        await self.consumer._thread.on_start()
        await asyncio.gather(
            self.watcher.run(self.stream), self._coordinate(), self._commit(), self._fetch()
        )

    async def _coordinate(self) -> None:
        """Join, and join again whenever the group changes."""
        coordinator, consumer = self.client._coordinator, self.consumer
        beating = None
        while True:
            self.rebalancing, self.tables.actives_ready = True, False
            await consumer.on_partitions_revoked(consumer.assignment())
            if beating is not None:
                beating.cancel()
            self.given = await coordinator.join()
            mine = self._places(self.given.actives)
            self.client.assign(mine)
            self.consumer_generation_id = self.given.generation
            beating = self.loop.create_task(beat(coordinator, self.settings.heartbeat))
            await consumer.on_partitions_assigned(mine, self.given.generation)
            await coordinator.rejoin.wait()

    async def _revoked(self, revoked: set[Any]) -> None:
        consumer = self.consumer
        self.tables.recovery.let_go()
        if revoked:
            consumer.stop_flow()
            consumer.pause_partitions(revoked)
            self.stream.clear()
            await self.producer.flush()
        await self.watcher.release()

    async def _assigned(self, assigned: set[Any], generation: int) -> None:
        self.unassigned = not assigned
        gone, self._assignment = self._assignment - assigned, assigned
        self.consumer.pause_partitions(assigned)
        self.tables.recovery.rebalanced(gone, generation)

    async def _commit(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_SECONDS)
            await self.consumer.commit()

    async def _fetch(self) -> None:
        """Move what is fetched to where it belongs, as Faust's fetcher does."""
        consumer = self.consumer
        while True:
            if not consumer.flow_active:
                await consumer.can_resume_flow.wait()
            active = consumer._get_active_partitions()
            if not active:
                await asyncio.sleep(COMMIT_SECONDS)
                continue
            generation = self.consumer_generation_id
            records = await consumer._getmany(active, timeout=1.0)
            if not consumer.flow_active:
                with suppress(Exception):  # as Faust does, with a warning
                    await consumer.perform_seek()
                continue
            for place, record in self._mixed(records):
                if self.consumer_generation_id != generation:
                    break
                if place in active:
                    self._deliver(place, record)

    def _mixed(self, records: Mapping[Any, list[Any]]) -> Any:
        """Give the records, each partition's in order."""
        left = {place: iter(part) for place, part in records.items()}
        chance = self.loop.world.chance
        while left:
            place = chance.choice(list(left)) if len(left) > 1 else next(iter(left))
            record = next(left[place], None)
            if record is None:
                del left[place]
            else:
                yield place, record

    def _deliver(self, place: Any, record: Any) -> None:
        read = self.consumer._read_offset
        if read[place] is not None and record.offset < read[place]:
            return
        read[place] = record.offset
        if place.topic == self.changelog:
            self.tables.recovery.take(self.consumer._to_message(place, record))
            return
        self.monitor.tp_end_offsets[place] = self.client.highwater(place)
        message = self.consumer._to_message(place, record)
        message.incref()
        self.stream.queue.put_nowait(Event(message, self.consumer))

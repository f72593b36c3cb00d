"""A machine with a disk, and the worker that runs on it: started, killed, stopped, suspended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

from faust.stores import rocksdb

from gamekeeper.detectors.engine import Engine, Profile
from gamekeeper.stream.kafka import Seen, Settings
from gamekeeper.stream.worker.cluster import Cluster
from gamekeeper.stream.worker.local_stores import MemoryStore, RocksStore
from gamekeeper.stream.worker.metrics import Metrics
from gamekeeper.stream.worker.worker import Watcher
from support.simulation.broker import Broker
from support.simulation.client import Client
from support.simulation.clock import Loop
from support.simulation.faust import App
from support.simulation.group import Group
from support.simulation.network import Link, Producer
from support.simulation.recovery import Recovery

METRICS = Metrics()
"""All workers' together."""
LOOK_SECONDS = 5.0


class Database(dict[bytes, bytes]):
    """A partition's database."""

    def put(self, key: bytes, value: bytes) -> None:
        """Write a row."""
        self[key] = value

    def delete(self, key: bytes) -> None:
        """Delete a row, if it is there."""
        self.pop(key, None)

    def items(self, from_key: bytes = b"") -> Any:
        """Give the rows from a key on, in the order of their keys."""
        return sorted(row for row in super().items() if row[0] >= from_key)


class _Base(rocksdb.Store):  # type: ignore[misc]  # Faust is not followed by mypy
    """Faust's RocksDB store with databases that are dictionaries, on a disk that outlives it."""

    def __init__(self, disk: dict[int, Database]) -> None:
        self._disk = disk
        self._key_index: dict[bytes, int] = {}
        self.table = SimpleNamespace(is_global=False, use_partitioner=False)

    def get(self, key: bytes, default: bytes | None = None) -> bytes | None:
        row: bytes | None = self._get(key)
        return default if row is None else row

    def _db_for_partition(self, partition: int) -> Database:
        return self._disk.setdefault(partition, Database())

    def apply_changelog_batch(self, batch: Iterable[Any], *_: Any, **__: Any) -> None:
        for event in batch:
            database = self._db_for_partition(event.message.partition)
            if event.message.value is None:
                database.delete(event.message.key)
            else:
                database.put(event.message.key, event.message.value)
            self.set_persisted_offset(event.message.tp, event.message.offset)

    async def on_recovery_completed(self, *_: Any) -> None:
        """Do nothing."""


class DiskStore(RocksStore, _Base):
    """The worker's own store over it."""


class RamStore(MemoryStore):
    """The worker's own store in memory."""

    def __init__(self) -> None:
        self.data: dict[Any, bytes] = {}


class Watching(Cluster):
    """The worker's own look at the topic, which ends the process without a signal."""

    def __init__(self, settings: Settings, loop: Loop, end: Callable[[int], None]) -> None:
        super().__init__(settings, loop=loop)
        self._end_process = end

    def _end(self, status: int, reason: str, advice: str, **about: int) -> None:
        if not self.status:
            self.status = status
            self._end_process(status)


class Machine:
    """One worker's place; `worker` is None while there is none.

    `ended` has how workers ended by themselves: exit statuses, or what they could not write.
    """

    def __init__(
        self, broker: Broker, group: Group, settings: Settings, profile: Profile, **ways: float
    ) -> None:
        self._broker, self._group = broker, group
        self._settings, self._profile, self._ways = settings, profile, ways
        self._disk: dict[int, Database] = {}
        self.worker: Worker | None = None
        self.ended: list[object] = []

    def start(self) -> None:
        """Start a worker, unless there is one."""
        if self.worker is None:
            store = DiskStore(self._disk) if self._settings.store == "rocksdb" else RamStore()
            self.worker = Worker(self, store)

    def over(self, reason: object = None) -> None:
        """Let the worker be gone, with nothing that it could still do."""
        worker, self.worker = self.worker, None
        if worker is not None:
            worker.link.dead = True
            worker.link.release()
            self._broker.world.after(0.0, worker.loop.bury)
            worker.loop.awake = False
        if reason is not None:
            self.ended.append(reason)
            self._broker.world.after(1.0, self.start)

    def build(self, worker: Worker, store: Any) -> App:
        """Build what runs in a worker, as `gamekeeper.stream.worker.app` does."""
        client = Client(self._broker, self._group, worker.link)
        producer = Producer(self._broker, worker.link, worker.loop, self._ways["refusing"])
        app = App(self._settings, client, producer, worker.loop)
        app.crashed = self.over
        app.tables.recovery = Recovery(app, store)
        table = SimpleNamespace(data=store, changelog_topic_name=self._settings.changelog)
        app.watcher = Watcher(app, table, self._settings, Engine(self._profile), METRICS)
        return app

    def make_link(self, loop: Loop) -> Link:
        """Connect a process to the brokers."""
        return Link(self._broker, loop, self._ways["slow"], self._ways["lossy"])

    def seen(self) -> Seen:
        """See the queries topic."""
        topic = self._broker.topics[self._settings.topics.queries]
        return Seen(len(topic.logs), topic.uid)

    def topic_ids(self, settings: Settings, topics: Iterable[str]) -> dict[str, str]:
        """Answer for `gamekeeper.stream.kafka.topic_ids`."""
        return {topic: self._broker.topics[topic].uid for topic in topics}

    @property
    def settings(self) -> Settings:
        """The settings of its workers."""
        return self._settings


class Worker:
    """A process."""

    def __init__(self, machine: Machine, store: Any) -> None:
        self.loop = Loop(machine._broker.world)
        self.link = machine.make_link(self.loop)
        self._machine = machine
        asyncio._set_running_loop(self.loop)
        try:
            self.app = machine.build(self, store)
        finally:
            asyncio._set_running_loop(None)
        self._main = self.loop.create_task(self._run())
        self._watching = self.app.cluster = Watching(machine.settings, self.loop, machine.over)
        self.loop.create_task(self._look())

    async def _run(self) -> None:
        try:
            await self.app.main()
        except Exception as error:
            self._machine.over(error)

    async def _look(self) -> None:
        while True:
            cut = self._watching.cut
            self._watching._judge(await self.link.tell(self._machine.seen), cut)
            await asyncio.sleep(LOOK_SECONDS)

    def wake(self) -> None:
        """Go on after a suspension."""
        if not self.loop.is_closed():
            self.loop.awake = True

    def stop(self) -> None:
        """End it by SIGTERM."""
        self.loop.call_soon(lambda: self.loop.create_task(self._stop()))

    async def _stop(self) -> None:
        await self.app.watcher.close()
        await self.app.consumer.commit()
        coordinator, group = self.app.client._coordinator, self._machine._group
        member = coordinator.member
        await self.link.tell(lambda: group.leave(member))
        self._machine.over(0)

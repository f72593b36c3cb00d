"""Sinks that share a folder, killed and suspended between any two steps, by a seed."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from faust.types import TP

from gamekeeper.schemas.event import encode_event
from gamekeeper.schemas.verdict import encode_verdict
from gamekeeper.stream.kafka import Settings, Watch
from gamekeeper.stream.sink import Lane, QueryLane, Sink, VerdictLane, member, sink
from gamekeeper.stream.sink.files import group_of
from gamekeeper.stream.sink.writing import Lanes, Writer
from support.simulation.broker import Broker
from support.simulation.clock import World
from support.simulation.group import Group
from support.simulation.sink_client import SinkClient
from support.sink_traffic import query, verdict

PARTITIONS = 2
SESSION, REBALANCE = 3.0, 6.0
TURNS = 1500
"""Turns after which all must be written, once nothing goes wrong any more."""
BROKEN = b"\x00"


class Killed(BaseException):
    """The end of a process, which leaves everything as it is."""


class InTurn(Writer):
    """The sink's writer, whose batches are written between two polls rather than beside them."""

    def serve(self, commit: Callable[[Lanes, Any], bool]) -> None:
        """Write the batch that was begun, and commit what that waits for."""
        self._serving = commit
        if self._job is not None and not self._job[1].done():
            self._job[1].set_result(self._write(self._job[0]))

    def start(self, lanes: Lanes) -> None:
        """Begin a batch."""
        self._job = lanes, Future()

    def _commit(self, lanes: Lanes, offsets: dict[Any, int]) -> bool:
        return self._serving(lanes, offsets)


class Process:
    """A sink; `late` says that it is suspended, in the middle of something."""

    def __init__(self) -> None:
        self.sink: Sink | None = None
        self.late = False


class Sinking:
    """A simulation of sinks over a folder; `lost` has what was told to have expired."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.world = World(seed)
        self.chance = chance = random.Random(seed + 1)
        self.folder = folder
        self.settings = Settings(
            partitions=PARTITIONS, sink_seconds=1.0, sink_records=chance.choice((2, 5, 100))
        )
        topics = self.settings.topics
        self.topics: dict[str, type[Lane]] = {
            topics.verdicts: VerdictLane,
            topics.queries: QueryLane,
        }
        self.places = [TP(topic, p) for topic in self.topics for p in range(PARTITIONS)]
        self.broker = Broker(self.world, PARTITIONS)
        for topic in self.topics:
            self.broker.make(topic)
        self.group = Group(self.world, len(self.places), SESSION, REBALANCE)
        self._deadly = chance.choice((0.0, 0.003, 0.02))
        self._sleepy = chance.choice((0.0, 0.003, 0.02))
        self._expiring = chance.random() < 0.3
        self._processes = [Process() for _ in range(chance.choice((1, 2, 2)))]
        self._current: Process | None = None
        self._number = 0

    def run(self) -> None:
        """Fill the folder while things go wrong, and then to the end."""
        with self._surroundings():
            for _ in range(self.chance.randint(30, 120)):
                if self.chance.random() < 0.3:
                    self._send()
                self._step()
            self._deadly = self._sleepy = 0.0
            for _ in range(TURNS):
                if all(self._done(place) for place in self.places):
                    return
                self._step()
            raise AssertionError(f"not all is written: {self.group.committed}")

    def _done(self, place: TP) -> bool:
        at = self.group.committed.get(place)
        return (at.offset if at else 0) >= self.broker.log(place).end

    def _send(self) -> None:
        """Send a verdict or an event, perhaps one that was sent before, or what is none."""
        chance, topics = self.chance, self.settings.topics
        account, day = f"account-{chance.randint(0, 2)}", chance.randint(0, 1)
        if chance.random() < 0.5:
            again = self._number and chance.random() < 0.2
            number = chance.randrange(self._number) if again else self._number
            value = encode_verdict(verdict(number, f"account-{number % 3}"))
            place = TP(topics.verdicts, number % 3 % PARTITIONS)
        else:
            value = encode_event(query(self._number, account, chance.randint(1, 2), day))
            place = self.broker.place(topics.queries, account.encode())
        self._number += 1
        if chance.random() < 0.1:
            value = BROKEN
        self.broker.append(place, account.encode(), value)
        if chance.random() < 0.2:
            self.broker.append(place, None, None, kind="marker")
        if self._expiring and chance.random() < 0.1:
            place = chance.choice(self.places)
            log = self.broker.log(place)
            if place in self.group.committed:  # else a new folder begins where the topic does
                log.expire(log.end - chance.randint(0, 2))

    def _step(self) -> None:
        """Let some time pass, and then one sink do something."""
        self.world.run(lambda: False, self.chance.uniform(0.05, 0.6))
        free = [each for each in self._processes if not each.late]
        if free:
            self._turn(self.chance.choice(free))

    def _turn(self, process: Process) -> None:
        before, self._current = self._current, process
        try:
            if process.sink is None:
                process.sink = Sink(self.settings, self.folder, self.topics, threading.Event())
                process.sink._member.join(group_of(self.folder, "app"))
            process.sink._turn()
        except Killed:
            process.sink = None
        finally:
            self._current = before

    def _moment(self) -> None:
        """Perhaps kill or suspend the sink that is about to do something."""
        process = self._current
        if process is None:
            return
        if self.chance.random() < self._deadly:
            process.sink = None
            raise Killed
        if self.chance.random() < self._sleepy and not process.late:
            process.late = True
            for _ in range(self.chance.randint(1, 40)):
                self._step()
            process.late = False

    @contextmanager
    def _surroundings(self) -> Iterator[None]:
        """Have the clock, the client and the steps of the file system within a block."""
        before = structlog.get_config()
        structlog.configure(processors=[_drop])
        with self.world.clocks(), pytest.MonkeyPatch.context() as patch:
            patch.setattr(sink, "monotonic", lambda: self.world.now)
            patch.setattr(sink, "Writer", InTurn)
            patch.setattr(time, "sleep", lambda seconds: None)
            patch.setattr(member, "require_topic", lambda *_: None)
            patch.setattr(member, "consumer", self._client)
            patch.setattr(Watch, "look", lambda _: {})
            patch.setattr(os, "fsync", lambda file: self._moment())
            patch.setattr(Path, "unlink", self._alive(Path.unlink))
            patch.setattr(Path, "replace", self._watched(Path.replace))
            patch.setattr(SinkClient, "commit", self._watched(SinkClient.commit))
            try:
                yield
            finally:
                structlog.configure(**before)

    def _client(self, *_: Any, **__: Any) -> SinkClient:
        return SinkClient(self.broker, self.group, self.places)

    def _watched(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        """Let something happen before a step and after it."""
        alive = self._alive(plain)

        def call(*arguments: Any, **options: Any) -> Any:
            self._moment()
            result = alive(*arguments, **options)
            self._moment()
            return result

        return call

    def _alive(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        """Let a process that is dead take a step no more."""

        def call(*arguments: Any, **options: Any) -> Any:
            if self._current is not None and self._current.sink is None:
                raise Killed
            return plain(*arguments, **options)

        return call


def _drop(*_: Any) -> Any:
    raise structlog.DropEvent

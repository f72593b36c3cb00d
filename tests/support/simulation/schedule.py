"""What goes wrong, and when: drawn by a seed, and the same again by the same one."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import structlog
from faust.types import TP
from faust.utils import terminal

from gamekeeper.schemas.event import event_key
from gamekeeper.stream.kafka import Settings
from gamekeeper.stream.worker import profiles, tenures, worker
from support.simulation.broker import Broker
from support.simulation.clock import World
from support.simulation.group import Group
from support.simulation.guard import Guard, WrongEndError
from support.simulation.machine import METRICS, Machine
from support.simulation.rereading import Rereader
from support.simulation.traffic import ACCOUNTS, BROKEN, PROFILE, event
from support.simulation.trouble import ORDINARY, Trouble

PARTITIONS = 2
SESSION, REBALANCE = 3.0, 6.0
PATIENCE = 200.0
"""Seconds in which all is applied once nothing goes wrong any more."""
TURNS = ("expire", "remake", "remake while running", "cut off", "cut off while running")
"""What may become of the queries topic, once in a simulation."""


class Simulation:
    """One simulation; `told` is what was logged, `trace` says what happened, `lost` how much."""

    def __init__(
        self,
        seed: int,
        say: Callable[[str], None] = lambda text: None,
        only: Collection[str] = (),
    ) -> None:
        """Draw everything; where `only` is given, nothing else goes wrong."""
        self.world = World(seed)
        self.chance = chance = random.Random(seed + 1)
        self.told: list[dict[str, Any]] = []
        self._say = say
        self.kinds = {kind for kind in ORDINARY if chance.random() < 0.5}
        self.turn = chance.choice(TURNS) if chance.random() < 0.4 else ""
        if only:
            self.kinds = set(ORDINARY).intersection(only)
            self.turn = chance.choice([turn for turn in TURNS if turn in only] or [""])
        self.settings = _settings(chance)
        self.broker = Broker(self.world, PARTITIONS)
        self.group = Group(self.world, PARTITIONS, SESSION, REBALANCE)
        self._guard = Guard(self.broker, self.settings.changelog)
        self.broker.on_append = self._guard.appended
        self.group.on_commit = self._guard.committed
        for topic in (*self._topics(), self.settings.changelog):
            self.broker.make(topic)
        ways = {
            "slow": chance.choice((0.01, 0.1, 1.0)),
            "lossy": chance.choice((0.0, 0.0, 0.02, 0.1)),
            "refusing": chance.choice((0.0, 0.0, 0.0, 0.01)),
        }
        self.machines = [
            Machine(self.broker, self.group, self.settings, PROFILE, **ways)
            for _ in range(chance.choice((1, 2, 2, 2, 3)))
        ]
        self._number = 0
        self._trouble = Trouble(
            self.broker, self.machines, self.settings.changelog, chance, self.say
        )

    def _topics(self) -> tuple[str, ...]:
        topics = self.settings.topics
        return topics.queries, topics.verdicts, topics.scores, topics.dead_letters

    def run(self) -> None:
        """Let it happen until all is applied; raises `WrongEndError` where that never is."""
        with self._surroundings():
            lost = METRICS.unread._value.get()
            self._later(0.0, 5.0, self._start_all)
            self._disturb(self.chance.uniform(3, 10))
            if self.turn:
                self._settle()
                self._turn()
                self._disturb(self.chance.uniform(2, 7))
            self._settle()
            self.lost = int(METRICS.unread._value.get() - lost)

    @contextmanager
    def _surroundings(self) -> Iterator[None]:
        """Have the detector, the clocks, the log and what asks the broker aside, within a block."""
        before = structlog.get_config()
        structlog.configure(processors=[self._note])
        try:
            with self.world.clocks(), pytest.MonkeyPatch.context() as patch:
                patch.setattr(tenures, "topic_ids", self.machines[0].topic_ids)
                patch.setattr(tenures, "reaches", lambda *_: False)
                patch.setattr(profiles, "_publish", lambda *_: "")
                patch.setattr(worker, "Rereader", Rereader)
                patch.setattr(terminal, "logtable", lambda *_, **__: "")  # of each commit: long
                try:
                    yield
                finally:
                    for loop in list(self.world.loops):
                        loop.bury()
        finally:
            structlog.configure(**before)

    def _note(self, logger: Any, level: str, event: dict[str, Any]) -> Any:
        self.told.append({"level": level, **event})
        if level in ("warning", "error", "critical"):
            self.say(f"log: {level} {event}")
        raise structlog.DropEvent

    def say(self, text: str) -> None:
        """Say what happens."""
        self._say(f"{self.world.now:9.3f}  {text}")

    def _later(self, least: float, most: float, what: Callable[[], None]) -> None:
        self.world.after(self.chance.uniform(least, most), what)

    def _start_all(self) -> None:
        for machine in self.machines:
            self._later(0.0, 3.0, machine.start)

    def _disturb(self, seconds: float) -> None:
        """Send events for some time while things go wrong, all of it drawn beforehand."""
        self._trouble.begin()
        for _ in range(self.chance.randint(5, 20)):
            self._later(0.0, seconds, self._send)
        kinds = sorted(self.kinds)
        for _ in range(self.chance.randint(0, 6) if kinds else 0):
            kind = self.chance.choice(kinds)
            self._later(0.0, seconds, partial(self._trouble.happen, kind))
        if self.turn == "expire":
            self._later(0.0, seconds, self._expire)
        self.world.run(lambda: False, seconds)

    def _send(self) -> None:
        """Send an event, or what is none."""
        chance, queries = self.chance, self.settings.topics.queries
        account = chance.choice(ACCOUNTS)
        key = event_key(account)
        place = self.broker.place(queries, key)
        value = event(self._number, account, chance.randint(1, 3))
        self._number += 1
        if "broken" in self.kinds and chance.random() < 0.1:
            self.broker.append(place, key, BROKEN)
        if "markers" in self.kinds and chance.random() < 0.3:
            self.broker.append(place, key, value, kind=chance.choice(("data", "aborted")))
            self.broker.append(place, None, None, kind="marker")
        else:
            self.broker.append(place, key, value)

    def _expire(self) -> None:
        """Let retention take some of a partition, applied or not, once something is committed."""
        queries = self.settings.topics.queries
        partition = self.chance.randrange(PARTITIONS)
        place, log = TP(queries, partition), self.broker.topics[queries].logs[partition]
        if place in self.group.committed:
            log.expire(log.end - self.chance.randint(0, 3))
            self.say(f"{place} has expired up to {log.first}")

    def _turn(self) -> None:
        """Let the topic become another one, all of it having been applied."""
        if self.turn == "expire":
            return
        queries = self.settings.topics.queries
        self.say(f"turn: {self.turn}")
        if not self.turn.endswith("while running"):
            for machine in self.machines:
                machine.over()
        cut_off = self.turn.startswith("cut off")
        if cut_off:
            for log in self.broker.topics[queries].logs:
                log.cut(max(log.first, log.end - self.chance.randint(0, 3)))
            self._guard.begin_anew(queries)
        else:
            self.broker.make(queries)
            self._guard.begin_anew(queries)
            if self.turn == "remake while running":
                self.world.run(lambda: all(m.worker is None for m in self.machines), 20.0)
        for machine in self.machines:
            machine.start()
        if cut_off:  # what is written before a worker looks is not told from the rest
            self.world.run(self._noticed, PATIENCE)

    def _noticed(self) -> bool:
        """Say whether workers have seen how far each log still goes."""
        return all(at <= end for _, at, end in self._behind())

    def _settle(self) -> None:
        """Mend everything and wait until all is applied."""
        self.say("calm")
        self._trouble.settle()
        if not self.world.run(self._calm, PATIENCE):
            raise WrongEndError(f"not all is applied: {list(self._behind())}, ended: {self.ended}")

    def _calm(self) -> bool:
        return next(self._behind(), None) is None and any(
            machine.worker is not None and machine.worker.app.watcher.obstacle() is None
            for machine in self.machines
        )

    def _behind(self) -> Iterator[tuple[int, int, int]]:
        """Give the partitions whose committed offset is not the end, with both."""
        queries = self.settings.topics.queries
        topic = self.broker.topics[queries]
        for partition, log in enumerate(topic.logs):
            at = self.group.committed.get(TP(queries, partition))
            offset = at.offset if at is not None and at.metadata == topic.uid else 0
            if offset != log.end:
                yield partition, offset, log.end

    @property
    def ended(self) -> list[object]:
        """How workers ended by themselves."""
        return [reason for machine in self.machines for reason in machine.ended]


def _settings(chance: random.Random) -> Settings:
    return Settings(
        partitions=PARTITIONS,
        session_timeout=SESSION,
        rebalance_timeout=REBALANCE,
        store=chance.choice(("memory", "rocksdb")),
        batch_events=chance.choice((2, 8, 64)),
        hot_accounts=chance.choice((1, 100)),
    )

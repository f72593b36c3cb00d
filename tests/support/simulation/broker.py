"""A broker's topics: logs with offsets, markers and aborted records, ids, retention, compaction."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from faust.types import TP

from support.simulation.clock import EPOCH, World


class Record(NamedTuple):
    """A record of a log; `kind` is `data`, `aborted` or `marker`."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Any
    time: float
    kind: str = "data"


class Fetched(NamedTuple):
    """What a fetch brings: records, where reading goes on, and the log's end."""

    records: list[Record]
    position: int
    end: int


class Log:
    """A partition: offsets from `first` up to `end`, not all of which need be there.

    `history` has all that was ever there, in earlier lives of the topic, too.
    """

    def __init__(self, history: list[Record]) -> None:
        self.records: list[Record] = []
        self.history = history
        self.first = 0
        self.end = 0

    def append(self, record: Record) -> int:
        """Append a record; give its offset."""
        self.records.append(record._replace(offset=self.end))
        self.history.append(self.records[-1])
        self.end += 1
        return self.end - 1

    def read(self, position: int, most: int, committed: bool) -> Fetched:
        """Read on; as Kafka does, skip markers, and aborted records where asked to."""
        taken: list[Record] = []
        for record in self._from(position):
            if len(taken) == most:
                return Fetched(taken, record.offset, self.end)
            if record.kind == "data" or (record.kind == "aborted" and not committed):
                taken.append(record)
        return Fetched(taken, self.end, self.end)

    def _from(self, position: int) -> Iterable[Record]:
        records = self.records
        at = len(records)
        while at and records[at - 1].offset >= position:
            at -= 1
        return itertools.islice(records, at, None)

    def expire(self, first: int) -> None:
        """Remove what is before an offset."""
        self.first = max(self.first, min(first, self.end))
        self.records = [each for each in self.records if each.offset >= self.first]

    def cut(self, end: int) -> None:
        """Lose what is at an offset and after it, as in an unclean election."""
        self.end = end
        self.records = [each for each in self.records if each.offset < end]

    def compact(self, before: float) -> None:
        """Keep the last record of each key, of those written before a time; all others stay."""
        last = {each.key: each.offset for each in self.records if each.time < before}
        self.records = [
            each for each in self.records if each.time >= before or last[each.key] == each.offset
        ]


class Topic:
    """A topic, with an id of its own."""

    def __init__(self, uid: str, histories: list[list[Record]]) -> None:
        self.uid = uid
        self.logs = [Log(history) for history in histories]


class Broker:
    """The cluster: topics by name; `up` is false while it answers nobody."""

    def __init__(self, world: World, partitions: int) -> None:
        self.world = world
        self.partitions = partitions
        self.topics: dict[str, Topic] = {}
        self.up = True
        self.on_append: Callable[[Any, Record], None] = lambda place, record: None
        self._ids = itertools.count(1)
        self._waiting: list[Callable[[], None]] = []

    def make(self, name: str) -> None:
        """Make a topic, or make it anew."""
        before = self.topics.get(name)
        histories = [log.history for log in before.logs] if before else _empty(self.partitions)
        self.topics[name] = Topic(f"id-{next(self._ids)}", histories)

    def log(self, place: Any) -> Log:
        """Give a partition's log."""
        return self.topics[place.topic].logs[place.partition]

    def append(
        self,
        place: Any,
        key: bytes | None,
        value: bytes | None,
        headers: Any = None,
        kind: str = "data",
    ) -> int:
        """Append a record and wake who waits for one; give its offset."""
        record = Record(-1, key, value, headers, EPOCH + self.world.now, kind)
        offset = self.log(place).append(record)
        self.on_append(place, record)
        self.wake()
        return offset

    def place(self, topic: str, key: bytes | None, partition: int | None = None) -> TP:
        """Give the partition of a key."""
        if partition is None:
            partition = zlib.crc32(key or b"") % self.partitions
        return TP(topic, partition)

    def wait(self, then: Callable[[], None]) -> None:
        """Have something done once there are new records."""
        self._waiting.append(then)

    def wake(self) -> None:
        """Do what waited for records."""
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            self.world.after(0.0, then)


def _empty(partitions: int) -> list[list[Record]]:
    return [[] for _ in range(partitions)]

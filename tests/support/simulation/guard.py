"""Nothing is committed before it is safe, and what is noted of a partition is noted once."""

from __future__ import annotations

from typing import Any

import msgspec
from faust.types import TP

from gamekeeper.stream.worker import rulings
from gamekeeper.stream.worker.changelog import FENCE, MARK, row_of
from gamekeeper.stream.worker.lives import ROW
from support.simulation.broker import Broker, Record
from support.simulation.traffic import BROKEN


class WrongEndError(AssertionError):
    """A simulation that did not end as it must."""


class Guard:
    """Looks at each row that reaches the changelog, and at each offset that is committed.

    An event is safe once a header that counts it is in the changelog.
    """

    def __init__(self, broker: Broker, changelog: str) -> None:
        self._broker = broker
        self._changelog = changelog
        self._safe: dict[tuple[int, bytes], int] = {}
        self._committed: dict[Any, int] = {}
        self._fences: dict[int, int] = {}
        self._ruled: dict[tuple[int, int], int] = {}

    def begin_anew(self, topic: str) -> None:
        """Begin anew with a topic whose offsets are others; what it has is safe."""
        self._safe.clear()
        logs = self._broker.topics[topic].logs
        self._committed = {TP(topic, partition): log.end for partition, log in enumerate(logs)}

    def appended(self, place: Any, record: Record) -> None:
        """Note a header, or what rules."""
        if place.topic != self._changelog or record.value is None or record.key == MARK:
            return
        if record.key == FENCE:
            epoch = msgspec.msgpack.decode(record.value)
            self._fences[place.partition] = max(epoch, self._fences.get(place.partition, 0))
            return
        epoch, row = row_of(record.key or b"")
        if row == rulings.ROW:
            self._rule(place, epoch, rulings.decoded(record.value).life)
        if row in (ROW, rulings.ROW):
            return
        key = msgspec.msgpack.decode(row)
        if len(key) == 2:
            offset = msgspec.msgpack.decode(record.value)[3]
            who = place.partition, key[0].encode()
            self._safe[who] = max(offset, self._safe.get(who, -1))

    def _rule(self, place: Any, epoch: int, life: int) -> None:
        """Raise `WrongEndError` where a second owner begins with its own profile.

        Nobody announces one here: who finds one noted has nothing to note.
        """
        if epoch >= self._fences.get(place.partition, 0):
            first = self._ruled.setdefault((place.partition, life), epoch)
            if epoch != first:
                raise WrongEndError(f"{place}: what rules is noted anew")

    def committed(self, place: Any, offset: int, life: str) -> None:
        """Raise `WrongEndError` where an event before an offset of this life is not safe."""
        if life != self._broker.topics[place.topic].uid:
            return
        before = self._committed.get(TP(*place), 0)
        self._committed[TP(*place)] = offset
        for record in self._broker.log(place).records:
            if before <= record.offset < offset and self._is_event(record):
                who = place.partition, record.key or b""
                if self._safe.get(who, -1) < record.offset:
                    raise WrongEndError(
                        f"{offset} of {place} is committed, {record.offset} is not safe"
                    )

    def _is_event(self, record: Record) -> bool:
        return record.kind == "data" and record.value != BROKEN

"""kafka-python's consumer, as far as the sink uses it, over the simulated broker and group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from aiokafka.structs import OffsetAndMetadata
from faust.types import TP
from kafka import errors

from support.simulation.broker import Broker, Record
from support.simulation.group import Given, Group


class SinkClient:
    """A member of the group, which reads `places`; its calls answer at once."""

    def __init__(self, broker: Broker, group: Group, places: list[TP]) -> None:
        self._broker, self._group, self._places = broker, group, places
        self._member = ""
        self._given: Given | None = None
        self._generation = -1
        self._positions: dict[Any, int | None] = {}
        self._paused: set[Any] = set()
        self._listener: Any = None
        self._coordinator = SimpleNamespace(
            coordinator_unknown=lambda: False, request_rejoin=lambda: None
        )
        self._fetcher = SimpleNamespace(_next_partition_records=None)

    def subscribe(self, topics: list[str], listener: Any) -> None:
        """Note whom to tell of moves."""
        self._listener = listener

    def poll(self, timeout_ms: int) -> dict[Any, list[Record]]:
        """Stay a member, and read what there is."""
        self._follow()
        wanted = {p: at for p, at in self._positions.items() if p not in self._paused}
        for place, position in wanted.items():
            log = self._broker.log(place)
            if position is None:
                raise errors.NoOffsetForPartitionError(place)
            if not log.first <= position <= log.end:
                raise errors.OffsetOutOfRangeError({place: position})
        records = {}
        for place, position in wanted.items():
            most = self._broker.world.chance.randint(1, 6)
            found = self._broker.log(place).read(position or 0, most, committed=True)
            self._positions[place] = found.position
            if found.records:
                records[place] = found.records
        return records

    def _follow(self) -> None:
        """Do what a member does between two polls."""
        if not self._member:
            self._join()
        elif self._generation >= 0:
            answer = self._group.beat(self._member, self._generation)
            if answer != "ok":
                self._listener.on_partitions_revoked(set(self._positions))
                self._positions.clear()
                self._member = self._member if answer == "rebalancing" else ""
                self._join()
        if self._given is not None and self._given.generation != self._generation:
            self._generation = self._given.generation
            committed = self._group.committed
            mine = [self._places[number] for number in self._given.actives]
            self._positions = {
                place: committed[place].offset if place in committed else None for place in mine
            }
            self._paused.clear()
            self._listener.on_partitions_assigned(set(mine))

    def _join(self) -> None:
        self._member = self._member or self._group.name()
        self._given, self._generation = None, -1
        self._group.join(self._member, self._take)

    def _take(self, given: Given) -> None:
        self._given = given

    def _mine(self, place: Any) -> Any:
        if place not in self._positions:
            raise errors.IllegalStateError(f"{place} is not assigned")
        return place

    def pause(self, place: Any) -> None:
        """Read nothing more of it."""
        self._paused.add(self._mine(place))

    def resume(self, place: Any) -> None:
        """Go on reading it."""
        self._paused.discard(self._mine(place))

    def seek(self, place: Any, offset: int) -> None:
        """Read on elsewhere."""
        self._positions[self._mine(place)] = offset

    def position(self, place: Any, timeout_ms: int) -> int | None:
        """Say up to where it is read."""
        return self._positions[self._mine(place)]

    def committed(self, place: Any, timeout_ms: int) -> int | None:
        """Ask what is committed."""
        found = self._group.committed.get(place)
        return found.offset if found else None

    def beginning_offsets(self, places: Iterable[Any], timeout_ms: int) -> Mapping[Any, int]:
        """Ask for the first offsets."""
        return {place: self._broker.log(place).first for place in places}

    def commit(self, offsets: Mapping[Any, Any], timeout_ms: int) -> None:
        """Commit, as a member of the generation."""
        wanted = {place: OffsetAndMetadata(each.offset, "") for place, each in offsets.items()}
        if not self._group.commit(self._member, self._generation, wanted):
            raise errors.CommitFailedError

    def close(self, timeout_ms: int) -> None:
        """Leave."""
        self._group.leave(self._member)

"""aiokafka's consumer over the simulated broker, as far as Faust and the worker use it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, KeysView, Mapping
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

from aiokafka.errors import IllegalStateError
from aiokafka.structs import OffsetAndMetadata
from faust.types import TP

from support.simulation.broker import Broker, Fetched, Record
from support.simulation.clock import EPOCH
from support.simulation.coordinator import Coordinator
from support.simulation.group import Answer, Group
from support.simulation.network import Link

FETCH_SECONDS = 3.0
"""The longest that a fetch waits for records, and for partitions."""


class Fetchable:
    """A record as aiokafka gives it."""

    __slots__ = ("headers", "key", "offset", "partition", "timestamp", "topic", "value")
    timestamp_type = 0
    checksum = serialized_key_size = serialized_value_size = None

    def __init__(self, place: Any, record: Record) -> None:
        self.topic, self.partition = place
        self.offset = record.offset
        self.key, self.value = record.key, record.value
        self.headers = record.headers
        self.timestamp = int(record.time * 1000)


class State:
    """What is known of an assigned partition."""

    __slots__ = ("highwater", "position", "timestamp")

    def __init__(self) -> None:
        self.position: int | None = None
        self.highwater: int | None = None
        self.timestamp: int | None = None

    @property
    def has_valid_position(self) -> bool:
        """Whether it is known where to read on."""
        return self.position is not None


class Client:
    """The consumer: `assign` gives it partitions."""

    _max_poll_records = None
    _closed = False

    def __init__(self, broker: Broker, group: Group, link: Link) -> None:
        self._broker = broker
        self._link = link
        self._states: dict[Any, State] = {}
        self._isolation_level = "read_uncommitted"
        self._coordinator = Coordinator(group, link)
        self._client = SimpleNamespace(cluster=SimpleNamespace(add_listener=lambda listener: None))
        self._fetcher = SimpleNamespace(
            _closed=False,
            _records={},
            _subscriptions=SimpleNamespace(fetch_context=nullcontext),
            fetched_records=self._fetched_records,
        )
        assignment = SimpleNamespace(state_value=self._states.get)
        self._subscription = SimpleNamespace(subscription=SimpleNamespace(assignment=assignment))

    async def start(self) -> None:
        """Do nothing."""

    def assign(self, places: Iterable[Any]) -> None:
        """Begin anew with these partitions."""
        self._states.clear()
        self._states.update((place, State()) for place in sorted(places))

    def assignment(self) -> KeysView[Any]:
        """Give the partitions, in an order that does not depend on hashes."""
        return self._states.keys()

    def seek(self, place: Any, offset: int) -> None:
        """Read on elsewhere; raises `IllegalStateError` for a partition that is not assigned."""
        self._state(place).position = offset

    def _state(self, place: Any) -> State:
        if place not in self._states:
            raise IllegalStateError(f"{place} is not assigned")
        return self._states[place]

    async def position(self, place: Any) -> int | None:
        """Say where reading goes on."""
        return self._state(place).position

    def highwater(self, place: Any) -> int | None:
        """Give a partition's end as of the last fetch."""
        state = self._states.get(place)
        return None if state is None else state.highwater

    async def beginning_offsets(self, places: Iterable[Any]) -> Mapping[Any, int]:
        """Ask for the first offsets."""
        log = self._broker.log
        found: Mapping[Any, int] = await self._link.tell(
            lambda: {place: log(place).first for place in places}
        )
        return found

    async def end_offsets(self, places: Iterable[Any]) -> Mapping[Any, int]:
        """Ask for the ends."""
        log = self._broker.log
        found: Mapping[Any, int] = await self._link.tell(
            lambda: {place: log(place).end for place in places}
        )
        return found

    async def commit(self, offsets: Mapping[Any, OffsetAndMetadata]) -> None:
        """Commit offsets."""
        await self._coordinator.commit(offsets)

    async def _fetched_records(
        self, places: Collection[Any], timeout: float, max_records: int | None
    ) -> dict[Any, list[Fetchable]]:
        """Fetch; what has been sought meanwhile, or was let go, is fetched again."""
        asked = {
            place: state
            for place, state in self._states.items()
            if place in places and not self._coordinator.rejoin.is_set()
        }
        if not asked:
            await asyncio.sleep(FETCH_SECONDS / 6)
            return {}
        for place, state in asked.items():
            if state.position is None:
                await self._reset(place, state)
        positions = {place: state.position for place, state in asked.items()}
        found = await self._link.ask(lambda answer: self._read(positions, answer))
        fetched = {}
        for place, part in found.items():
            state = self._states.get(place)
            if state is not asked[place] or state.position != positions[place]:
                continue
            if part is None:  # out of range: as `auto_offset_reset` says
                await self._reset(place, state)
                continue
            state.position, state.highwater = part.position, part.end
            state.timestamp = int((EPOCH + self._broker.world.now) * 1000)
            if part.records:
                fetched[TP(*place)] = [Fetchable(place, record) for record in part.records]
        return fetched

    async def _reset(self, place: Any, state: State) -> None:
        state.position = (await self.beginning_offsets([place]))[place]

    def _read(self, positions: Mapping[Any, int], answer: Answer, last: bool = False) -> None:
        """Answer with what there is, or wait until there is something."""
        found = {place: self._part(place, position) for place, position in positions.items()}
        if last or any(part is None or part.position > positions[p] for p, part in found.items()):
            answer(found)
            return
        told = False

        def again(last: bool) -> None:
            nonlocal told
            if not told:
                told = True
                self._read(positions, answer, last)

        self._broker.wait(lambda: again(False))
        self._broker.world.after(FETCH_SECONDS, lambda: again(True))

    def _part(self, place: Any, position: int) -> Fetched | None:
        log = self._broker.log(place)
        if not log.first <= position <= log.end:
            return None
        most = self._broker.world.chance.randint(1, 20)
        return log.read(position, most, self._isolation_level == "read_committed")

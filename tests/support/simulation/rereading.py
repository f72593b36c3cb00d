"""Reading a second time what was passed over, from the simulated broker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from faust.types import TP

from gamekeeper.schemas.errors import BrokerError
from gamekeeper.stream.kafka import Settings
from gamekeeper.stream.worker.backlog import Place
from support.simulation.broker import Broker, Record
from support.simulation.client import Fetchable
from support.simulation.events import Event


class Rereader:
    """Stands for `gamekeeper.stream.worker.rereading.Rereader` in a worker."""

    def __init__(self, app: Any, settings: Settings) -> None:
        self._app = app
        self._topic = settings.topics.queries

    @property
    def _broker(self) -> Broker:
        broker: Broker = self._app.client._broker
        return broker

    def read(self, places: Sequence[Place], max_bytes: int) -> list[tuple[Place, Any]]:
        """Give the records at some of the first places, None for those that are gone."""
        if not self._broker.up:
            raise BrokerError("no broker")
        count = self._broker.world.chance.randint(1, len(places))
        log = self._broker.log(TP(self._topic, places[0].partition))
        there = {record.offset: record for record in log.records}
        return [(place, there.get(place.offset)) for place in places[:count]]

    def event(self, place: Place, record: Any, generation: int) -> Event:
        """Make an event of one."""
        consumer, where = self._app.consumer, TP(self._topic, place.partition)
        if record is None:
            record = Record(place.offset, None, None, None, 0.0)
        message = consumer._to_message(where, Fetchable(where, record))
        message.generation_id = generation
        message.incref()
        return Event(message, consumer)

    def close(self) -> None:
        """Do nothing."""

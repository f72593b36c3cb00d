"""Reading records of the queries topic a second time, by their offsets.

A consumer of its own, without a group: the worker's goes on where it is.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import takewhile
from typing import Any, Final

import faust
from faust.types import TP
from faust.types.tuples import ConsumerMessage
from kafka import KafkaConsumer, TopicPartition, errors

from gamekeeper.schemas.errors import BrokerError
from gamekeeper.stream.kafka import Settings, broker_errors, consumer
from gamekeeper.stream.worker.backlog import Place

_POLL_MS: Final = 200
_MOST: Final = 500
"""Records that are taken at a time: few, as large ones may be among them."""
_SECONDS: Final = 2.0
"""After so long what was found is given, and the rest asked for again."""
_FAR: Final = 1000
"""Offsets; what lies so far ahead is sought, what is nearer is read up to."""


class Rereader:
    """Reads records of given places; one caller at a time, in any thread."""

    def __init__(self, app: Any, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._topic = settings.topics.queries
        self._client: KafkaConsumer | None = None

    def read(self, places: Sequence[Place], max_bytes: int) -> list[tuple[Place, Any]]:
        """Read records of one partition, given in the order of their offsets.

        Gives those that were read, each with the client's record, or None where it is gone
        (expired, or cut off); it ends early when they have `max_bytes`, and after some seconds.
        Raises `BrokerError` where no broker answers.
        """
        try:
            with broker_errors(self._settings.brokers, "read", topic=self._topic):
                return self._read(list(places), max_bytes)
        except BrokerError:
            self.close()
            raise

    def event(self, place: Place, record: Any, generation: int) -> Any:
        """Make a Faust event of what was read, to be acknowledged as any other."""
        key, value = (record.key, record.value) if record else (None, None)
        message = ConsumerMessage(
            self._topic,
            place.partition,
            place.offset,
            record.timestamp / 1000 if record else 0.0,
            0,
            None,
            key,
            value,
            None,
            tp=TP(self._topic, place.partition),
            generation_id=generation,
        )
        return faust.Event(self._app, key, value, None, message)

    def close(self) -> None:
        """Take leave of the brokers, if there was anything to be read."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _read(self, wanted: list[Place], max_bytes: int) -> list[tuple[Place, Any]]:
        home = TopicPartition(self._topic, wanted[0].partition)
        found: list[tuple[Place, Any]] = []
        size, until = 0, time.monotonic() + _SECONDS
        while len(found) < len(wanted) and size < max_bytes and time.monotonic() < until:
            rest = wanted[len(found) :]
            for place, record in self._poll(home, rest):
                found.append((place, record))
                size += len(record.value or b"") if record else 0
        return found

    def _poll(self, home: TopicPartition, wanted: Sequence[Place]) -> list[tuple[Place, Any]]:
        """Read on; those that are wanted and lie before what was read are gone."""
        client = self._near(home, wanted[0].offset)
        try:
            polled = client.poll(timeout_ms=_POLL_MS, max_records=_MOST).get(home, [])
        except errors.OffsetOutOfRangeError:
            first, end = client.beginning_offsets([home])[home], client.end_offsets([home])[home]
            gone = list(takewhile(lambda each: not first <= each.offset < end, wanted))
            client.assign([])  # so that what is left is sought
            return [(each, None) for each in gone]
        records = {record.offset: record for record in polled}
        read = [each for each in wanted if polled and each.offset <= polled[-1].offset]
        return [(each, records.get(each.offset)) for each in read]

    def _near(self, home: TopicPartition, offset: int) -> KafkaConsumer:
        """Have a consumer that will read the offset soon."""
        if self._client is None:
            self._client = consumer(self._settings, auto_offset_reset="none")
        client = self._client
        if client.assignment() != {home}:
            client.assign([home])
            client.seek(home, offset)
        elif not 0 <= offset - client.position(home) <= _FAR:
            client.seek(home, offset)
        return client

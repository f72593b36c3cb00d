"""A topic read from end to end or as it grows, without a consumer group and without commits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

from kafka import KafkaConsumer, TopicPartition, errors

from gamekeeper.schemas.errors import BrokerError
from gamekeeper.stream.kafka.clients import admin, broker_errors, consumer
from gamekeeper.stream.kafka.settings import Settings

Start = Literal["beginning", "now"]

_POLL_MS = 200  # how long a reader may be deaf to the clock and to Ctrl-C
_SKIPS = 5  # polls: more than the last batches take, and no endless loop where much is coming


class Record(NamedTuple):
    """A record's key, its value (None: deleted), and where it lies."""

    key: bytes | None
    value: bytes | None
    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        """Name the place for a message."""
        return f"{self.topic} partition {self.partition} offset {self.offset}"


class Gap(NamedTuple):
    """Where reading could not go on at `first`, and goes on at `next`."""

    topic: str
    partition: int
    first: int
    next: int

    @property
    def lost(self) -> int:
        """How many offsets have expired unread: as many records at most."""
        return max(0, self.next - self.first)

    def __str__(self) -> str:
        """Say what is lost, and what to do about it."""
        place = f"{self.topic} partition {self.partition}"
        if not self.lost:
            return (
                f"{place} ends before offset {self.first}: it was made anew or cut back, and is "
                f"read again from offset {self.next}"
            )
        return (
            f"{place}: {self.lost} records from offset {self.first} on had expired before they "
            f"were read; going on at offset {self.next}; lengthen retention.ms"
        )


class TopicReader:
    """Reads all partitions of a topic; records of one partition come in their order.

    It goes on where retention has passed it, and tells `missed` of it.
    """

    def __init__(
        self,
        client: KafkaConsumer,
        settings: Settings,
        topic: str,
        missed: Callable[[Gap], None],
    ) -> None:
        """Wrap a consumer that has been assigned and positioned; see `open_topic`."""
        self._client = client
        self._settings = settings
        self._topic = topic
        self._missed = missed
        self._ends: dict[Any, int] | None = None
        self._quiet = False

    def poll(self) -> list[Record]:
        """Return what has come, after a fraction of a second at the latest, even if nothing."""
        with self._errors():
            try:
                polled = self._client.poll(timeout_ms=_POLL_MS)
            except errors.OffsetOutOfRangeError as error:
                self._pass_over(error.args[0])
                return []
        self._quiet = not polled
        return [
            Record(each.key, each.value, each.topic, each.partition, each.offset)
            for records in polled.values()
            for each in records
        ]

    def at_end(self) -> bool:
        """Say whether everything has been read that was there at the first call.

        The embedded broker's end may lie within its last batch, so that only silence proves it.
        """
        if not self._quiet:
            return False
        with self._errors():
            if self._ends is None:
                self._ends = self._client.end_offsets(list(self._client.assignment()))
            return all(self._client.position(each) >= end for each, end in self._ends.items())

    def _pass_over(self, positions: Mapping[Any, int]) -> None:
        firsts = self._client.beginning_offsets(list(positions))
        for place, position in positions.items():
            self._client.seek(place, firsts[place])
            self._missed(Gap(place.topic, place.partition, position, firsts[place]))
        self._quiet = False

    def skip_rest(self) -> None:
        """Skip what is left of the last batches, after a seek to the end (see `at_end`)."""
        for _ in range(_SKIPS):
            if not self.poll():
                return

    def _errors(self) -> Any:
        return broker_errors(self._settings.brokers, "read", topic=self._topic)


def require_topic(settings: Settings, *topics: str) -> None:
    """Raise `BrokerError` unless all topics exist: some brokers make what a client only names."""
    client = admin(settings)
    try:
        with broker_errors(settings.brokers, "list topics"):
            present = client.list_topics()
    finally:
        client.close()
    missing = ", ".join(sorted(set(topics).difference(present)))
    if missing:
        raise BrokerError(
            f"there is no topic {missing} at {settings.brokers}; create it with `gamekeeper topics "
            "apply`"
        )


@contextmanager
def open_topic(
    settings: Settings, topic: str, start: Start, missed: Callable[[Gap], None]
) -> Iterator[TopicReader]:
    """Open a topic at its beginning, or at what comes from now on.

    `missed` is told of what expires before it is read. Raises `BrokerError` where the broker is not
    to be reached or has no such topic.
    """
    require_topic(settings, topic)
    client = consumer(settings, auto_offset_reset="none")
    try:
        with broker_errors(settings.brokers, "read", topic=topic):
            numbers = client.partitions_for_topic(topic) or set()
            places = [TopicPartition(topic, number) for number in sorted(numbers)]
            client.assign(places)
            if start == "beginning":
                client.seek_to_beginning(*places)
            else:
                client.seek_to_end(*places)
            for place in places:  # asks the broker now, so that "now" is the time of this call
                client.position(place)
        reader = TopicReader(client, settings, topic, missed)
        if start == "now":
            reader.skip_rest()
        yield reader
    finally:
        client.close()

"""What tells a topic from another one that had its name, or more records, before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from kafka import TopicPartition, errors

from gamekeeper.schemas.errors import BrokerError
from gamekeeper.stream.kafka.clients import admin, broker_errors, consumer
from gamekeeper.stream.kafka.settings import Settings

LOOK_SECONDS: Final = 5.0
"""How often who reads a topic looks at how it is; as often, it says that a broker is away."""

_PATIENCE_MS: Final = 5_000  # for one record, which comes within milliseconds if it is there
_ASK_MS: Final = 3_000  # for an answer: who waits longer is deaf to Ctrl-C meanwhile


class Seen(msgspec.Struct, frozen=True):
    """A topic as the cluster has it; without partitions, it is not there.

    `life` is its id, empty where the broker has none (Apache Kafka before 2.8).
    """

    partitions: int
    life: str = ""

    def differs(self, life: str) -> bool:
        """Say whether this is another topic than the one with an id, as far as both are known."""
        return "" not in (life, self.life) and life != self.life


class Watch:
    """Asks again and again how topics are; its connection is made anew where it has failed."""

    def __init__(self, settings: Settings, *topics: str) -> None:
        """Prepare; nothing connects before the first `look()`."""
        self._settings = settings
        self._topics = list(topics)
        self._client: Any = None

    def look(self) -> dict[str, Seen]:
        """Ask now, whoever answers; raises `BrokerError`, within seconds where nobody does."""
        try:
            if self._client is None:
                patience = {"bootstrap_timeout_ms": _ASK_MS, "request_timeout_ms": _ASK_MS}
                self._client = admin(self._settings, **patience)
            with broker_errors(self._settings.brokers, "describe", topic=", ".join(self._topics)):
                return {each["name"]: _seen(each) for each in self._describe()}
        except BrokerError:
            self.close()
            raise

    def _describe(self) -> Any:
        found = self._client.describe_topics(self._topics)
        for each in found:
            if each["error_code"] not in (0, errors.UnknownTopicOrPartitionError.errno):
                raise errors.for_code(each["error_code"])
        return found

    def close(self) -> None:
        """Let go of the connection."""
        client, self._client = self._client, None
        if client is not None:
            client.close()


def _seen(topic: Any) -> Seen:
    partitions = len(topic["partitions"])
    return Seen(partitions, str(topic.get("topic_id") or "") if partitions else "")


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


def topic_ids(settings: Settings, topics: Sequence[str]) -> dict[str, str]:
    """Ask for the ids of topics; empty where a broker has none (Apache Kafka before 2.8).

    A topic that is missing is left out. Raises `BrokerError`.
    """
    with admin(settings) as client, broker_errors(settings.brokers, "describe the topics"):
        found = client.describe_topics(list(topics))
    return {
        each["name"]: str(each.get("topic_id") or "") for each in found if not each["error_code"]
    }


def reaches(settings: Settings, topic: str, partition: int, offset: int) -> bool:
    """Say whether a log goes up to an offset, by reading the record before it.

    The embedded broker's end is after the first record of the last batch, and so may be below what
    has been read. Raises `BrokerError`.
    """
    place = TopicPartition(topic, partition)
    with (
        consumer(settings, auto_offset_reset="none", isolation_level="read_uncommitted") as client,
        broker_errors(settings.brokers, "read", topic=topic, partition=partition, offset=offset),
    ):
        client.assign([place])
        client.seek(place, offset - 1)
        try:
            client.poll(timeout_ms=_PATIENCE_MS)
            reached: bool = client.position(place) >= offset  # past a transaction's marker, too
            return reached
        except errors.OffsetOutOfRangeError:
            return False

"""What tells a topic from another one that had its name, or more records, before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kafka import TopicPartition, errors

from gamekeeper.stream.kafka.clients import admin, broker_errors, consumer
from gamekeeper.stream.kafka.settings import Settings

_PATIENCE_MS: Final = 5_000  # for one record, which comes within milliseconds if it is there


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

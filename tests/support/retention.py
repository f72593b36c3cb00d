"""Retention, as readers meet it: a partition's records up to an offset are gone."""

from __future__ import annotations

from typing import Any

from kafka import TopicPartition

from gamekeeper.stream.kafka import Settings, admin, consumer


def expire(settings: Settings, topic: str, partition: int, offset: int) -> None:
    """Remove a partition's records below an offset; the embedded broker cannot do that."""
    place = TopicPartition(topic, partition)
    with admin(settings) as client:
        client.delete_records({place: offset})
    with consumer(settings) as client:
        assert client.beginning_offsets([place])[place] == offset


def late_beginning(offset: int) -> Any:
    """Make a consumer's class for which every partition begins at an offset, as it says itself.

    Stands in for retention where a broker has none: what comes before is there, but not asked for.
    """

    def build(*arguments: Any, **options: Any) -> Any:
        client = consumer(*arguments, **options)
        client.beginning_offsets = lambda places, *_, **__: dict.fromkeys(places, offset)
        return client

    return build

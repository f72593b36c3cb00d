"""Transactions on a topic, as a producer that uses them leaves them."""

from __future__ import annotations

from kafka import TopicPartition

from gamekeeper.stream.kafka import Settings, consumer, producer
from support.sink_traffic import Sent


def send_in_transactions(settings: Settings, parts: list[tuple[list[Sent], bool]]) -> None:
    """Send each part in a transaction of its own, and commit it, or abort it."""
    with producer(settings, transactional_id=f"{settings.app_id}-sender") as client:
        client.init_transactions()
        for records, committed in parts:
            client.begin_transaction()
            for record in records:
                client.send(record.topic, record.value, key=record.account.encode())
            client.flush(timeout=180)
            (client.commit_transaction if committed else client.abort_transaction)()


def lag(settings: Settings, group: str, topic: str) -> int:
    """Say how many offsets a group is behind the topic's end, as monitoring counts them."""
    with consumer(settings, group) as client:
        places = [TopicPartition(topic, each) for each in client.partitions_for_topic(topic)]
        ends = client.end_offsets(places)
        return sum(ends[place] - (client.committed(place) or 0) for place in places)

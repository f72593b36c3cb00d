"""Traffic that is written in transactions: what was aborted is no query, and a marker no lag."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from kafka import TopicPartition

from gamekeeper.stream.kafka import EmbeddedBroker, Settings, consumer, producer
from support.brokers import Broker, Names
from support.crashing import make_trace
from support.workers import PARTITIONS, Record, Worker, environ_for, prepare, send, wait_for

pytestmark = pytest.mark.broker


@pytest.fixture
def environ(broker: Broker, names: Names, tmp_path: Path) -> dict[str, str]:
    """A worker's environment with the test's own topics."""
    return environ_for(broker.address, names.environ, tmp_path / "data")


def write(client: Any, settings: Settings, records: Sequence[Record]) -> None:
    """Write records to partition 0, in the open transaction."""
    topic = settings.topics.queries
    sent = [client.send(topic, value, key=key, partition=0) for key, value in records]
    client.flush()
    assert all(each.succeeded() for each in sent)


def left_over(settings: Settings) -> int:
    """Count what Kafka's own tools call the group's lag: ends less committed offsets."""
    with consumer(settings, group=settings.app_id) as client:
        places = [TopicPartition(settings.topics.queries, each) for each in range(PARTITIONS)]
        ends: dict[Any, int] = client.end_offsets(places)
        return sum(ends[place] - (client.committed(place) or 0) for place in places)


def settled(worker: Worker, settings: Settings, queries: int) -> bool:
    """Say whether so many queries are scored, and nothing seems to wait for anybody who asks."""
    return (
        worker.metric("gamekeeper_queries_total") == queries
        and worker.metric("gamekeeper_consumer_lag") == 0
        and left_over(settings) == 0
    )


def test_only_committed_records_count(
    broker: Broker, environ: dict[str, str], names: Names
) -> None:
    """Aborted records are no queries, be they first, between or last; a marker is not waited for.

    The embedded broker does not tell that a transaction was aborted.
    """
    settings = prepare(environ)
    bad = [] if isinstance(broker, EmbeddedBroker) else make_trace(40, seed=9)
    first, *others = (make_trace(30, seed=each) for each in range(4))
    with producer(settings, transactional_id=names("writer")) as client:
        client.init_transactions()

        def transact(good: Sequence[Record]) -> None:
            for records, end in (
                (good, client.commit_transaction),
                (bad, client.abort_transaction),
            ):
                client.begin_transaction()
                write(client, settings, records)
                end()

        with Worker(environ) as worker:
            transact(first[:1])  # one record at offset 0, and a gap behind it
            transact(first[1:])
            wait_for(lambda: settled(worker, settings, 30))
            transact([])
            transact(others[0])
            wait_for(lambda: settled(worker, settings, 60))
            assert worker.terminate() == 0
        with Worker(environ) as worker:
            wait_for(worker.ready)
            transact(others[1])
            wait_for(lambda: settled(worker, settings, 30))
            assert worker.metric("gamekeeper_events_total", outcome="skipped") == 0
            assert worker.terminate() == 0


def test_an_open_transaction_is_waited_for(environ: dict[str, str], names: Names) -> None:
    """What is not committed yet does not count, nor what follows it; then all of it does."""
    settings = prepare(environ)
    before, inside, behind = (make_trace(30, seed=each) for each in range(3))
    with (
        producer(settings, transactional_id=names("writer")) as client,
        Worker(environ) as worker,
    ):
        send(settings, before, partition=0)
        client.init_transactions()
        client.begin_transaction()
        write(client, settings, inside)
        send(settings, behind, partition=0)
        wait_for(lambda: worker.metric("gamekeeper_queries_total") == 30)
        wait_for(lambda: worker.metric("gamekeeper_consumer_lag") > 0)
        wait_for(worker.ready)
        assert worker.metric("gamekeeper_queries_total") == 30
        client.commit_transaction()
        wait_for(lambda: settled(worker, settings, 90))

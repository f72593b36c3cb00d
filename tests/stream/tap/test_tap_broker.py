"""The tap against real brokers over TCP: up, missing, slow, killed and restarted, after a fork."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections import defaultdict
from contextlib import suppress

import numpy as np
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import NewTopic

from gamekeeper.schemas.event import QueryEvent, decode_event, event_key
from gamekeeper.stream.kafka import EmbeddedBroker, LoopbackBroker
from gamekeeper.stream.tap import QueryTap
from support import ports
from support.brokers import Broker, Names
from support.proxy import ProxiedBroker, SlowProxy

pytestmark = pytest.mark.broker

IMAGE = np.linspace(0, 1, 784, dtype=np.float32).reshape(1, 784)
PARTITIONS = 3


def make_topic(address: str, topic: str) -> None:
    """Create a topic."""
    admin = KafkaAdminClient(bootstrap_servers=address)
    admin.create_topics([NewTopic(topic, num_partitions=PARTITIONS, replication_factor=1)])
    admin.close()


def read(address: str, topic: str) -> list[QueryEvent]:
    """Read a topic from its beginning to its present end."""
    consumer = KafkaConsumer(bootstrap_servers=address, enable_auto_commit=False)
    parts = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    consumer.assign(parts)
    ends = consumer.end_offsets(parts)
    consumer.seek_to_beginning(*parts)
    events = []
    while any(consumer.position(part) < ends[part] for part in parts):
        for records in consumer.poll(timeout_ms=500).values():
            for record in records:
                events.append(decode_event(record.value))
                assert record.key == event_key(events[-1].account)
                assert dict(record.headers)["ce_type"] == b"gamekeeper.query"
    consumer.close()
    return events


def orders(events: list[QueryEvent]) -> dict[str, list[int]]:
    """List each account's labels, which the tests count up, in the order of the topic."""
    found: dict[str, list[int]] = defaultdict(list)
    for event in events:
        found[event.account] += event.labels
    return dict(found)


def record(tap: QueryTap, numbers: range) -> None:
    """Record one request of each of five accounts for each number."""
    for number in numbers:
        for account in range(5):
            assert tap.record(f"account-{account}", IMAGE, [number])


def test_events_arrive_in_each_accounts_order(broker: Broker, names: Names) -> None:
    """Every event is on the topic once, decodes, and follows its account's earlier ones."""
    make_topic(broker.address, names("queries"))
    with QueryTap(broker.address, model="digits", topic=names("queries")) as tap:
        record(tap, range(60))
        assert tap.flush(180)
        assert tap.stats().delivered == 300
    events = read(broker.address, names("queries"))
    assert orders(events) == {f"account-{i}": list(range(60)) for i in range(5)}
    np.testing.assert_array_equal(events[0].inputs.array(), IMAGE)


def test_large_requests_pass_a_topic_with_kafkas_defaults(broker: Broker, names: Names) -> None:
    """A request of 6 MB arrives, in parts below the default limit of a record."""
    make_topic(broker.address, names("queries"))
    images = np.random.default_rng(0).random((2000, 784), np.float32)
    with QueryTap(broker.address, model="digits", topic=names("queries")) as tap:
        assert tap.record("bob", images, np.arange(2000))
        assert tap.flush(180)
        assert tap.stats().failed == 0
    assert orders(read(broker.address, names("queries"))) == {"bob": list(range(2000))}


def test_a_record_that_the_topic_refuses_harms_no_other(broker: Broker, names: Names) -> None:
    """One row larger than the topic's limit is lost, counted, and not tried twice."""
    make_topic(broker.address, names("queries"))
    with QueryTap(broker.address, model="digits", topic=names("queries")) as tap:
        for numbers in (range(2), range(2, 4)):
            tap.record("mallory", np.zeros((1, 200_000)), [0])
            assert tap.flush(180)
            record(tap, numbers)
            tap.record("mallory", np.zeros((1, 200_000)), [0])
            assert tap.flush(180)
        assert tap.stats().failed in (0, 4)  # the embedded broker has no limit
    found = orders(read(broker.address, names("queries")))
    found.pop("mallory", None)
    assert found == {f"account-{i}": list(range(4)) for i in range(5)}


def test_a_missing_topic_is_waited_for(broker: Broker, names: Names) -> None:
    """Nothing is lost while the topic is not there yet."""
    with QueryTap(broker.address, model="digits", topic=names("queries")) as tap:
        record(tap, range(3))
        if not tap.flush(0.3):  # the embedded broker makes topics that are asked for
            make_topic(broker.address, names("queries"))
        assert tap.flush(180)
        assert tap.stats().delivered == 15


def test_a_killed_broker_is_found_again(own_broker: LoopbackBroker, names: Names) -> None:
    """After a kill and a restart events are delivered again; a broker with a disk misses none."""
    topic = names("queries")
    make_topic(own_broker.address, topic)
    tap = QueryTap(own_broker.address, model="digits", topic=topic, close_timeout=180)
    record(tap, range(10))
    assert tap.flush(180)
    own_broker.kill()
    record(tap, range(10, 20))
    assert not tap.flush(0.5)
    own_broker.start()
    if isinstance(own_broker, EmbeddedBroker):
        make_topic(own_broker.address, topic)  # it has forgotten everything
    assert tap.flush(180)
    record(tap, range(20, 30))
    final = tap.close()
    assert final.delivered + final.failed == final.recorded == 150
    found = orders(read(own_broker.address, topic))
    if isinstance(own_broker, EmbeddedBroker):
        assert all(numbers[-10:] == list(range(20, 30)) for numbers in found.values())
    else:
        assert final.failed == 0
        assert found == {f"account-{i}": list(range(30)) for i in range(5)}


def test_close_ends_with_the_broker_gone(own_broker: LoopbackBroker, names: Names) -> None:
    """A connected tap whose broker dies closes all the same and says what it lost."""
    make_topic(own_broker.address, names("queries"))
    tap = QueryTap(own_broker.address, model="digits", topic=names("queries"), close_timeout=0.3)
    record(tap, range(2))
    assert tap.flush(180)
    own_broker.kill()
    record(tap, range(4))
    final = tap.close()
    assert (final.delivered, final.failed) == (10, 20)


def test_close_ends_where_no_broker_ever_was() -> None:
    """A tap to an address where nothing listens takes events up to its bounds, and closes."""
    tap = QueryTap(
        f"127.0.0.1:{ports.reserve()}", model="digits", max_queue_events=10, close_timeout=0.3
    )
    assert sum(tap.record("bob", IMAGE, [1]) for _ in range(50)) == 10
    final = tap.close()
    assert (final.failed, final.dropped_full, final.delivered) == (10, 40, 0)


def test_close_ends_where_something_else_answers() -> None:
    """A server that speaks no Kafka is no broker: the events are kept, then given up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    connection.close()

        threading.Thread(target=answer, daemon=True).start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        tap = QueryTap(address, model="digits", close_timeout=0.3)
        record(tap, range(4))
        assert tap.close().failed == 20
        server.shutdown(socket.SHUT_RDWR)


def test_a_slow_broker_holds_up_nobody(names: Names) -> None:
    """The caller is done long before the broker: what it recorded is still on its way."""
    with SlowProxy() as proxy, ProxiedBroker(proxy) as broker:
        make_topic(broker.address, names("queries"))
        proxy.delay, proxy.rate = 0.1, 200_000
        tap = QueryTap(
            f"127.0.0.1:{proxy.port}",
            model="digits",
            topic=names("queries"),
            max_queue_bytes=1_000_000,
        )
        accepted = sum(tap.record("bob", IMAGE, [number]) for number in range(1000))
        counts = tap.stats()
        assert accepted == counts.recorded < 1000
        assert counts.dropped_full == 1000 - accepted
        assert counts.queued_bytes <= 1_000_000
        assert counts.delivered < accepted
        proxy.delay, proxy.rate = 0.0, float("inf")
        assert tap.flush(180)
        assert tap.close().delivered == accepted
        assert orders(read(broker.address, names("queries"))) == {"bob": list(range(accepted))}


FORKING = """
import os, sys
from gamekeeper.stream.tap import QueryTap
tap = QueryTap(sys.argv[1], model="digits", topic=sys.argv[2], close_timeout=180)
def record(account):
    for number in range(20):
        assert tap.record(account, [[1.0]], [number])
record("before")
assert tap.flush(180)
record("meanwhile")
children = [os.fork()]
if children[0]:
    children.append(os.fork())
if not all(children):
    record(f"child-{len(children)}")
    assert tap.close().delivered == 20
    sys.exit()
for child in children:
    assert os.waitpid(child, 0)[1] == 0
record("after")
assert tap.close().delivered == 60
"""


def test_forked_servers_deliver_their_own(broker: Broker, names: Names) -> None:
    """A tap that was connected before two forks delivers everything once, in all processes."""
    make_topic(broker.address, names("queries"))
    subprocess.run(
        [sys.executable, "-c", FORKING, broker.address, names("queries")], check=True, timeout=600
    )
    assert orders(read(broker.address, names("queries"))) == {
        account: list(range(20))
        for account in ("before", "meanwhile", "child-1", "child-2", "after")
    }

"""A topic read without a group: what has expired is told, and where it ends is known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition, errors

from gamekeeper.replay.traces import Wanted, record
from gamekeeper.schemas.event import encode_event
from gamekeeper.stream.kafka import (
    EmbeddedBroker,
    Gap,
    News,
    Settings,
    TopicReader,
    open_topic,
    producer,
)
from support import brokers
from support.retention import expire
from support.sink_traffic import Sent, query
from support.transactions import send_in_transactions
from support.workers import prepare, wait_for

pytestmark = pytest.mark.broker

MARKERS = [0, 0, 0, 1, 1, 2, 2, 3]
"""How many markers of transactions, which have offsets, lie before each record."""


def no_news(news: Gap | News) -> None:
    """Fail: nothing has expired, and nobody has to wait."""
    raise AssertionError(news)


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    """Settings of the test's own topics, which have one partition."""
    return prepare({**environ, "GAMEKEEPER_PARTITIONS": "1"})


def send(settings: Settings, numbers: range) -> None:
    """Send one-query events of one account, each in a batch of its own."""
    with producer(settings, linger_ms=0) as client:
        for number in numbers:
            event = encode_event(query(number, "account", rows=1))
            client.send(settings.topics.queries, event, key=b"account").get(60)


def rest(reader: TopicReader) -> Iterator[int]:
    """Read a reader to its end."""
    while not reader.at_end():
        for each in reader.poll():
            yield each.offset


def pass_by(settings: Settings, broker: brokers.Broker, patch: pytest.MonkeyPatch) -> None:
    """Let a topic's records below offset 20 expire.

    The embedded broker keeps all, so that its client says what Kafka's says: the next offset is out
    of range, and the topic begins at 20.
    """
    place = TopicPartition(settings.topics.queries, 0)
    if not isinstance(broker, EmbeddedBroker):
        expire(settings, settings.topics.queries, 0, 20)
        return
    poll = KafkaConsumer.poll

    def out_of_range(self: Any, **options: Any) -> Any:
        if (position := self.position(place)) < 20:
            raise errors.OffsetOutOfRangeError({place: position})
        return poll(self, **options)

    patch.setattr(KafkaConsumer, "poll", out_of_range)
    patch.setattr(KafkaConsumer, "beginning_offsets", lambda *_, **__: {place: 20})


def test_a_reader_goes_on_where_retention_has_passed_it(
    settings: Settings, broker: brokers.Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that is slower than records expire goes on with those that are left, and says so."""
    topic = settings.topics.queries
    gaps: list[Gap | News] = []
    with open_topic(settings, topic, "beginning", gaps.append) as reader:
        send(settings, range(12))
        read: list[int] = []
        wait_for(
            lambda: bool(read.extend(each.offset for each in reader.poll()) or len(read) == 12)
        )
        send(settings, range(12, 30))
        pass_by(settings, broker, monkeypatch)
        read += rest(reader)
    [gap] = gaps
    assert gap == Gap(topic, 0, gap.first, 20)
    assert 12 <= gap.first < 20
    assert read == [*range(gap.first), *range(20, 30)]
    assert f"{gap.lost} records from offset {gap.first} on had expired" in str(gap)


def test_a_recording_counts_what_expired_unread(
    settings: Settings, broker: brokers.Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recording goes on, too; what is lost is counted and said."""
    send(settings, range(12))
    said: list[str] = []
    passed: list[bool] = []

    def advance(_: Any) -> None:
        if not passed:
            passed.append(True)
            send(settings, range(12, 30))
            pass_by(settings, broker, monkeypatch)

    out = tmp_path / "a.parquet"
    recorded = record(
        settings,
        settings.topics.queries,
        out,
        Wanted(until_idle=3.0),
        skipped=said.append,
        advance=advance,
    )
    assert recorded.lost > 0
    assert recorded.queries + recorded.lost == 30
    assert sum("had expired before they were read" in each for each in said) == 1


def test_aborted_transactions_do_not_count(
    settings: Settings, broker: brokers.Broker, tmp_path: Path
) -> None:
    """What was aborted is not given, and a reader knows its end behind a transaction's marker."""
    topic = settings.topics.queries
    sent = [
        Sent(topic, "account", encode_event(query(number, "account", rows=1)))
        for number in range(8)
    ]
    parts = [(sent[:3], True), (sent[3:5], False), (sent[5:7], True), (sent[7:], False)]
    send_in_transactions(settings, parts)
    kept = {0, 1, 2, 5, 6}
    if isinstance(broker, EmbeddedBroker):
        kept = set(range(8))  # it does not say which transactions were aborted
    with open_topic(settings, topic, "beginning", no_news) as reader:
        read = list(rest(reader))
    assert read == [
        offset + part for offset, part in zip(range(8), MARKERS, strict=True) if offset in kept
    ]
    recorded = record(settings, topic, tmp_path / "a.parquet", Wanted(until_idle=1.5))
    assert recorded.events == len(kept)


@pytest.mark.parametrize(
    "own_broker", [each for each in brokers.local_kinds() if each != "embedded"], indirect=True
)
def test_a_log_that_is_cut_off_is_read_on_where_it_ends(
    own_broker: brokers.KafkaBroker, names: brokers.Names
) -> None:
    """A disk loses the last records: what takes their offsets is read, however much that is."""
    environ = {**names.environ, "KAFKA_BOOTSTRAP_SERVERS": own_broker.address}
    settings = prepare({**environ, "GAMEKEEPER_PARTITIONS": "1"})
    topic = settings.topics.queries
    news: list[Gap | News] = []
    with open_topic(settings, topic, "beginning", news.append) as reader:
        send(settings, range(8))
        size = own_broker.log(topic, 0).stat().st_size
        send(settings, range(8, 12))
        read: list[int] = []

        def has_read(offsets: list[int]) -> bool:
            read.extend(each.offset for each in reader.poll())
            return read == offsets

        wait_for(lambda: has_read([*range(12)]))
        own_broker.kill()
        own_broker.lose(topic, 0, size)
        own_broker.start()
        send(settings, range(12, 20))
        wait_for(lambda: has_read([*range(12), *range(8, 16)]))
    assert [each for each in news if isinstance(each, Gap)] == [Gap(topic, 0, 12, 8)]


def test_a_topic_that_was_cut_back_is_read_again() -> None:
    """Where a topic ends before what was read of it, nothing has expired, and it is said."""
    gap = Gap("topic", 3, 99, 0)
    assert gap.lost == 0
    assert "topic partition 3 ends before offset 99" in str(gap)

"""Kafka clients: built from settings, with errors that say what to do."""

from __future__ import annotations

import socket
import sys
from typing import Any

import pytest
from kafka import TopicPartition, errors

from gamekeeper.schemas.errors import BrokerError
from gamekeeper.stream.kafka import (
    EmbeddedBroker,
    Settings,
    admin,
    broker_errors,
    consumer,
    producer,
)
from support import brokers, ports


def settings_of(broker: brokers.Broker, names: brokers.Names) -> Settings:
    """Point settings with the test's own names at the broker."""
    return Settings.from_env({**names.environ, "KAFKA_BOOTSTRAP_SERVERS": broker.address})


@pytest.mark.broker
def test_clients_carry_records_and_commit(broker: brokers.Broker, names: brokers.Names) -> None:
    """What the producer sends the consumer gets, oldest first, and a new member goes on there."""
    settings = settings_of(broker, names)
    topic = names("records")
    with admin(settings) as client:
        client.create_topics(
            {topic: {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True
        )
    with producer(settings) as sender:
        for value in (b"one", b"two"):
            sender.send(topic, value, key=b"k").get(60)
    there = TopicPartition(topic, 0)
    with consumer(settings, names("group")) as first:
        first.assign([there])
        records = [r.value for batch in first.poll(60_000).values() for r in batch]
        assert records == [b"one", b"two"]
        first.seek(there, 1)
        first.commit()
    with consumer(settings, names("group")) as second:
        second.assign([there])
        assert [r.value for r in second.poll(60_000)[there]] == [b"two"]


@pytest.mark.broker
def test_private_names_are_there(broker: brokers.Broker, names: brokers.Names) -> None:
    """Those of kafka-python's that tap and sink use; to set one that is gone would tell nobody."""
    settings = settings_of(broker, names)
    with producer(settings) as sender:
        assert sender._closed is False
        assert callable(sender._sender.force_close)
        assert callable(sender._unregister_cleanup)
    with consumer(settings, names("group")) as reader:
        assert callable(reader._coordinator.request_rejoin)
        assert reader._coordinator.coordinator_unknown() in (True, False)
        assert reader._fetcher._next_partition_records is None


def test_a_missing_broker_is_named() -> None:
    """No broker at the address: the error has the address and the variable."""
    settings = Settings(brokers=f"127.0.0.1:{ports.reserve()}")
    for build in (producer, consumer, admin):
        with pytest.raises(BrokerError, match=settings.brokers) as caught:
            build(settings, bootstrap_timeout_ms=200)
        assert "KAFKA_BOOTSTRAP_SERVERS" in str(caught.value)


def test_an_absent_broker_is_not_waited_for() -> None:
    """Where nothing takes a connection, however long one would wait for a broker's answer."""
    settings = Settings(brokers=f"127.0.0.1:{ports.reserve()},nowhere.invalid:9092")
    with pytest.raises(BrokerError) as caught:
        admin(settings, bootstrap_timeout_ms=3_600_000)
    assert str(caught.value).startswith(f"no broker at {settings.brokers} (")
    assert "start one with `gamekeeper broker`" in str(caught.value)


def test_a_broker_that_is_there_is_waited_for() -> None:
    """Who takes the connection and does not answer has all the time that one gives it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = Settings(
            brokers=f"127.0.0.1:{ports.reserve()},127.0.0.1:{silent.getsockname()[1]}"
        )
        with pytest.raises(BrokerError, match="Unable to bootstrap"):
            admin(settings, bootstrap_timeout_ms=300)


@pytest.mark.broker
def test_a_broker_that_restarts_is_waited_for(
    broker: brokers.Broker, names: brokers.Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that is refused at first is tried again."""
    refusals = iter([ConnectionRefusedError(111, "Connection refused")] * 2)
    connect = socket.create_connection

    def refused(*arguments: Any) -> socket.socket:
        error = next(refusals, None)
        if error is not None:
            raise error
        return connect(*arguments)

    monkeypatch.setattr(socket, "create_connection", refused)
    with admin(settings_of(broker, names)) as client:
        assert client.list_topics() is not None
    assert next(refusals, None) is None


@pytest.mark.broker
def test_a_missing_topic_is_named(broker: brokers.Broker, names: brokers.Names) -> None:
    """Sending to a topic that is not there says how to make it, and does not make it."""
    if isinstance(broker, EmbeddedBroker):
        return  # it makes every topic that it is asked about
    settings = settings_of(broker, names)
    with (
        producer(settings, max_block_ms=500) as sender,
        pytest.raises(BrokerError) as caught,
        broker_errors(settings.brokers, "send", topic=names("nowhere")),
    ):
        sender.send(names("nowhere"), b"x").get(60)
    assert names("nowhere") in str(caught.value)
    with admin(settings) as client:
        assert names("nowhere") not in client.list_topics()


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (errors.UnknownTopicOrPartitionError(), "gamekeeper topics apply"),
        (errors.TopicAuthorizationFailedError(), "access rules"),
        (errors.SaslAuthenticationFailedError(), "GAMEKEEPER_SASL_MECHANISM"),
        (errors.MessageSizeTooLargeError(), "max.message.bytes"),
        (errors.OffsetOutOfRangeError(), "retention.ms"),
        (errors.CommitFailedError(), "GAMEKEEPER_SESSION_TIMEOUT"),
        (errors.KafkaTimeoutError("late"), "KAFKA_BOOTSTRAP_SERVERS"),
        (errors.InvalidRequestError("x" * 1000), "InvalidRequestError"),
    ],
)
def test_errors_name_place_and_next_step(error: Exception, advice: str) -> None:
    """Each kind of error names broker, topic, partition and offset, and says what to do."""
    with (
        pytest.raises(BrokerError) as caught,
        broker_errors("b:1", "read", topic="t", partition=3, offset=7),
    ):
        raise error
    assert str(caught.value).startswith("cannot read topic t partition 3 offset 7 at b:1: ")
    assert advice in str(caught.value)
    assert len(str(caught.value)) < 500


def test_other_errors_pass_through() -> None:
    """An error that is not Kafka's is not dressed up as one."""
    with pytest.raises(ZeroDivisionError), broker_errors("b:1", "divide"):
        1 / 0  # noqa: B018


def test_crc32c_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the fast checksums no client is made."""
    monkeypatch.setitem(sys.modules, "crc32c", None)
    with pytest.raises((BrokerError, ValueError), match="crc32c"):
        producer(Settings())

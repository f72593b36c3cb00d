"""Records are read again by their offsets, wherever these lie, and what is gone is told."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from gamekeeper.schemas.errors import BrokerError
from gamekeeper.stream.kafka import Settings
from gamekeeper.stream.worker.backlog import Place
from gamekeeper.stream.worker.rereading import Rereader
from support.brokers import Broker, LoopbackBroker, Names, kinds
from support.retention import expire
from support.workers import environ_for, prepare, send

pytestmark = pytest.mark.broker

MANY = 100_000_000


def topic(address: str, names: Names, folder: object) -> Settings:
    """Make topics, with 3,000 numbered records on partition 1 and two on partition 2."""
    settings = prepare(environ_for(address, names.environ, folder))  # type: ignore[arg-type]
    send(settings, [(b"key", b"%d" % number) for number in range(3000)], partition=1)
    send(settings, [(b"key", b"a"), (b"key", b"b")], partition=2)
    return settings


def read(reader: Rereader, offsets: list[int], partition: int = 1) -> dict[int, bytes | None]:
    """Read offsets until all have been told of."""
    found: dict[int, bytes | None] = {}
    while len(found) < len(offsets):
        rest = [Place(partition, each) for each in offsets if each not in found]
        told = reader.read(rest, MANY)
        assert [place for place, _ in told] == rest[: len(told)]
        found |= {place.offset: record and record.value for place, record in told}
    return found


def test_any_offsets_are_read_again(broker: Broker, names: Names, tmp_path: object) -> None:
    """Near and far ones, forwards and then backwards, of one partition and of another."""
    settings = topic(broker.address, names, tmp_path)
    reader = Rereader(None, settings)
    for offsets in ([5, 6, 9, 2500, 2999], [0, 1], list(range(3000)), [2998]):
        assert read(reader, offsets) == {each: b"%d" % each for each in offsets}
    assert read(reader, [1], partition=2) == {1: b"b"}
    reader.close()
    assert read(reader, [7]) == {7: b"7"}
    assert len(reader.read([Place(1, each) for each in range(3000)], 1)) < 3000
    reader.close()


@pytest.mark.parametrize("broker", [k for k in kinds() if k != "embedded"], indirect=True)
def test_what_has_expired_is_told(broker: Broker, names: Names, tmp_path: object) -> None:
    """What retention has removed is gone, and the rest is read."""
    settings = topic(broker.address, names, tmp_path)
    reader = Rereader(None, settings)
    expire(settings, settings.topics.queries, 1, 2000)
    offsets = [10, 1999, 2000, 2001]
    assert read(reader, offsets) == {10: None, 1999: None, 2000: b"2000", 2001: b"2001"}
    reader.close()


def test_a_broker_that_is_away_is_told(
    own_broker: LoopbackBroker, names: Names, tmp_path: object
) -> None:
    """A broker that is gone at the first read is an error that says what to do."""
    settings = topic(own_broker.address, names, tmp_path)
    own_broker.kill()
    with pytest.raises(BrokerError, match="broker"):
        Rereader(None, settings).read([Place(1, 0)], MANY)


def test_an_event_is_acknowledged_as_any_other() -> None:
    """It has the record's bytes, time and place, and the generation that it was noted in."""
    record = SimpleNamespace(key=b"key", value=b"value", timestamp=1500)
    acked = []
    consumer = SimpleNamespace(ack=acked.append)
    reader = Rereader(SimpleNamespace(consumer=consumer), Settings())
    event = reader.event(Place(3, 7), record, 9)
    assert (event.key, event.value, event.message.timestamp) == (b"key", b"value", 1.5)
    assert (event.message.partition, event.message.generation_id) == (3, 9)
    event.ack()
    [message] = acked
    assert (message.topic, message.offset, tuple(message.tp)) == (
        "gamekeeper.queries",
        7,
        ("gamekeeper.queries", 3),
    )

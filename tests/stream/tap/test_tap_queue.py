"""The tap's queue: full, refused, in an outage, closed, shared by threads."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from gamekeeper.schemas.errors import BrokerError
from gamekeeper.stream.tap import MemoryTransport, QueryTap
from gamekeeper.stream.tap.transport import Done, Record

IMAGE = np.arange(784, dtype=np.float32).reshape(1, 28, 28)


class Mute(MemoryTransport):
    """A broker that takes records and never answers."""

    def send(self, record: Record, done: Done) -> None:
        """Keep the record."""
        self.records.append(record)


class Fussy(MemoryTransport):
    """A broker that refuses every other record."""

    def send(self, record: Record, done: Done) -> None:
        """Refuse the first, keep the second, and so on."""
        self.records.append(record)
        done(None if len(self.records) % 2 == 0 else BrokerError("not this one"))


class Broken(MemoryTransport):
    """A transport whose own code fails."""

    def send(self, record: Record, done: Done) -> None:
        """Fail."""
        raise ZeroDivisionError


@pytest.mark.parametrize("bounds", [{"max_queue_events": 10}, {"max_queue_bytes": 60_000}])
def test_a_full_queue_drops_and_counts(bounds: dict[str, int]) -> None:
    """Beyond either bound, events are dropped, also when the producer holds the others."""
    mute = Mute()
    tap = QueryTap(model="digits", transport=mute, close_timeout=0.05, **bounds)
    accepted = sum(tap.record("bob", IMAGE, [1]) for _ in range(50))
    counts = tap.stats()
    assert 0 < accepted <= 11
    assert counts.recorded == counts.queued_events == accepted
    assert counts.queued_bytes <= bounds.get("max_queue_bytes", 10**9)
    assert counts.dropped_full == 50 - accepted
    final = tap.close()
    assert (final.failed, final.delivered, final.queued_events) == (accepted, 0, 0)


def test_a_broker_that_comes_up_late_gets_everything_in_order(memory: MemoryTransport) -> None:
    """What was recorded while the broker was down arrives, each account's in its order."""
    memory.down = True
    with QueryTap(model="digits", transport=memory) as tap:
        for number in range(60):
            assert tap.record(f"account-{number % 3}", IMAGE, [number], id=str(number))
        assert not tap.flush(0.15)
        memory.down = False
    assert [event.id for event in memory.events()] == [str(number) for number in range(60)]


def test_refused_events_are_counted_as_failed() -> None:
    """Events that the broker refuses are failures, the others are delivered."""
    with QueryTap(model="digits", transport=Fussy()) as tap:
        for _ in range(10):
            tap.record("bob", IMAGE, [1])
        assert tap.flush()
        assert (tap.stats().delivered, tap.stats().failed) == (5, 5)


def test_close_with_the_broker_down_ends_and_counts(caplog: pytest.LogCaptureFixture) -> None:
    """What is left when the bound is over is counted as failed and reported."""
    for transport in (MemoryTransport(down=True), Mute(), Broken()):
        tap = QueryTap(model="digits", transport=transport, close_timeout=0.05)
        for _ in range(20):
            tap.record("bob", IMAGE, [1])
        final = tap.close()
        assert (final.recorded, final.failed, final.queued_bytes) == (20, 20, 0)
        assert "20 events undelivered" in caplog.text
        caplog.clear()


def test_a_closed_tap_refuses_quietly(tap: QueryTap) -> None:
    """After `close`, twice even, `record` returns False and starts nothing."""
    others = set(threading.enumerate())
    tap.record("bob", IMAGE, [1])
    tap.close()
    assert tap.close() == tap.stats()
    assert tap.record("bob", IMAGE, [1]) is False
    assert set(threading.enumerate()) <= others
    assert QueryTap(model="digits", transport=MemoryTransport()).close().recorded == 0


def test_threads_share_a_tap_and_keep_each_accounts_order(memory: MemoryTransport) -> None:
    """Eight threads record at once; nothing is lost, doubled or out of its account's order."""
    tap = QueryTap(model="digits", transport=memory)

    def serve(account: str) -> None:
        for number in range(200):
            assert tap.record(account, IMAGE, [number])

    threads = [threading.Thread(target=serve, args=(f"account-{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tap.close().delivered == 1600
    events = memory.events()
    assert len({event.id for event in events}) == 1600
    for i in range(8):
        mine = [event.labels[0] for event in events if event.account == f"account-{i}"]
        assert mine == list(range(200))

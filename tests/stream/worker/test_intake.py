"""An account that sends too much is held back: others are read, and nothing is lost or moved."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import structlog.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from gamekeeper.schemas.errors import BrokerError
from gamekeeper.stream.worker import intake as module
from gamekeeper.stream.worker.backlog import Backlog, Place
from gamekeeper.stream.worker.dead_letters import DeadLetter
from gamekeeper.stream.worker.intake import Intake
from gamekeeper.stream.worker.metrics import Metrics
from gamekeeper.stream.worker.opening import Records
from gamekeeper.stream.worker.shares import Reading, Shares

MOST = 64
"""Records that may wait."""


def event(key: str, offset: int, partition: int = 0, generation: int = 1, size: int = 1) -> Any:
    """Make an event that notes when it is acknowledged."""
    message = SimpleNamespace(partition=partition, offset=offset, generation_id=generation)
    made = SimpleNamespace(key=key.encode(), value=b"x" * size, message=message, acked=False)
    made.ack = lambda: setattr(made, "acked", True)
    return made


def read(each: Any) -> Reading:
    """Find a dead letter: what is in a record does not matter here."""
    letter = DeadLetter(each.key, b"", "", 0, each.message.offset, "schema", "", "")
    return Reading(each, letter, 1)


class Log:
    """Partitions that can be read again, `few` records at a time; some may be gone."""

    def __init__(self, few: int = 1000) -> None:
        """Begin with nothing."""
        self.records: dict[Place, Any] = {}
        self.few = few
        self.failures = 0
        self.reads = 0
        self.lost: list[Any] = []
        self.closed = 0
        self.hold = threading.Event()
        self.hold.set()

    def read(self, places: Sequence[Place], max_bytes: int) -> list[tuple[Place, Any]]:
        """Give the first ones."""
        self.hold.wait(60)
        self.reads += 1
        assert len({each.partition for each in places}) == 1
        assert list(places) == sorted(places)
        if self.failures:
            self.failures -= 1
            raise BrokerError("away")
        return [(each, self.records[each]) for each in places[: self.few]]

    def event(self, place: Place, record: Any, generation: int) -> Any:
        """Make the event again."""
        if record is None:
            self.lost.append(event("", place.offset, place.partition))
            return self.lost[-1]
        return event(record.key.decode(), place.offset, place.partition, generation)

    def close(self) -> None:
        """Note it."""
        self.closed += 1


class Desk:
    """An intake, the log behind it, and what was taken."""

    def __init__(self, few: int = 1000, most: int = MOST) -> None:
        """Begin with nothing."""
        self.log = Log(few)
        self.metrics = Metrics()
        self.gone: list[Place] = []
        self.intake = Intake(
            Shares(read, lambda partition, _: (partition, 0)),
            self.log,
            self.gone.extend,
            self.metrics,
            max_events=most,
            max_bytes=1000 * most,
        )
        self.arrived = asyncio.Event()
        self.taken: dict[tuple[str, int], list[int]] = defaultdict(list)
        self.sent: dict[tuple[str, int], list[int]] = defaultdict(list)
        self.ends: dict[int, int] = defaultdict(int)

    def put(self, key: str, partition: int = 0) -> None:
        """Deliver an account's next record."""
        offset = self.ends[partition]
        self.ends[partition] += 1
        self.log.records[Place(partition, offset)] = SimpleNamespace(key=key.encode())
        self.sent[key, partition].append(offset)
        self.intake.put(event(key, offset, partition))

    def take(self) -> None:
        """Take what is next."""
        turn = self.intake.take()
        if turn is not None:
            assert isinstance(turn, Records)
            for each in turn.events:
                self.taken[each.key.decode(), each.message.partition].append(each.message.offset)

    def held(self) -> float:
        """Read the metric."""
        value = self.metrics.registry.get_sample_value("gamekeeper_held_back_records")
        assert value is not None
        return value

    async def all_taken(self) -> None:
        """Take until nothing waits and nothing is held back."""
        while self.intake.waiting or self.held():
            self.take()
            await asyncio.sleep(0.001)


def run(test: Callable[[Desk], Awaitable[None]], few: int = 1000, most: int = MOST) -> None:
    """Run a test beside what brings records back."""

    async def inner() -> None:
        desk = Desk(few, most)
        task = asyncio.create_task(desk.intake.bring_back(desk.arrived))
        await asyncio.wait_for(test(desk), 60)
        task.cancel()

    with structlog.testing.capture_logs():
        asyncio.run(inner())


STEPS = st.lists(
    st.tuples(st.sampled_from("aaaabc"), st.integers(0, 1), st.integers(1, 60), st.booleans()),
    max_size=30,
)


@settings(max_examples=50, deadline=None)
@given(steps=STEPS, few=st.sampled_from([1, 7, 1000]), most=st.sampled_from([1, 2, 5, MOST]))
def test_nothing_is_lost_and_each_account_keeps_its_order(
    steps: list[tuple[str, int, int, bool]], few: int, most: int
) -> None:
    """Whatever comes when: each account's records are taken once, in the order of its partition."""

    async def test(desk: Desk) -> None:
        for key, partition, count, then in steps:
            for _ in range(count):
                if not desk.intake.full():
                    desk.put(key, partition)
                    assert desk.intake.waiting <= most
            if then:
                desk.take()
                await asyncio.sleep(0)
        await desk.all_taken()
        assert desk.taken == desk.sent

    run(test, few, most)


def test_a_flood_does_not_fill_what_others_need() -> None:
    """However much one account sends, and another, a third one's record is in the next batch."""

    async def test(desk: Desk) -> None:
        for number in range(1000):
            desk.put(f"flood-{number % 2}")
        desk.put("alice")
        assert not desk.intake.full()
        assert desk.held() > 900
        assert desk.metrics.registry.get_sample_value("gamekeeper_held_back_accounts") == 2
        desk.take()
        assert desk.taken["alice", 0] == [1000]
        await desk.all_taken()
        assert desk.taken == desk.sent
        assert desk.held() == 0
        assert desk.log.closed

    run(test)


def test_what_many_accounts_send_is_not_held_back() -> None:
    """Where none has more than its share, reading waits until there is room."""

    async def test(desk: Desk) -> None:
        for number in range(MOST):
            assert not desk.intake.full()
            desk.put(f"account-{number}")
        assert desk.intake.full()
        assert desk.held() == 0

    run(test)


def test_records_that_have_expired_are_counted_and_passed() -> None:
    """What is gone before its turn is acknowledged and counted, and the others come."""

    async def test(desk: Desk) -> None:
        for _ in range(200):
            desk.put("flood")
        gone = [place for place in desk.log.records if 100 <= place.offset < 150]
        desk.log.records |= dict.fromkeys(gone)
        await desk.all_taken()
        assert desk.taken["flood", 0] == [*range(100), *range(150, 200)]
        assert [each.message.offset for each in desk.log.lost] == [*range(100, 150)]
        assert all(each.acked for each in desk.log.lost)
        assert [each.offset for each in desk.gone] == [*range(100, 150)]

    run(test)


def test_a_broker_that_is_away_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be read, what is held back stays so until it can."""
    monkeypatch.setattr(module, "ASK_AGAIN", 0.01)

    async def test(desk: Desk) -> None:
        desk.log.failures = 3
        for _ in range(200):
            desk.put("flood")
        await desk.all_taken()
        assert desk.taken == desk.sent

    run(test)


@pytest.mark.parametrize("told", [False, True])
def test_what_was_held_back_before_partitions_moved_is_forgotten(told: bool) -> None:
    """It is delivered again; what was being read meanwhile does not come twice."""

    async def test(desk: Desk) -> None:
        desk.log.hold.clear()
        for _ in range(200):
            desk.put("flood")
        desk.take()
        await asyncio.sleep(0.05)  # it now waits for the log
        if told:
            desk.intake.clear()
        desk.log.records[Place(0, 500)] = SimpleNamespace(key=b"flood")
        desk.intake.put(event("flood", 500, generation=2))
        desk.taken.clear()
        desk.log.hold.set()
        while not desk.log.reads:
            await asyncio.sleep(0.001)
        await desk.all_taken()
        offsets = desk.taken["flood", 0]
        assert offsets[-1:] == [500]
        assert not told or offsets == [500]

    run(test)


def test_reading_stops_where_too_much_is_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound nothing more is read, until some has had its turn."""
    monkeypatch.setattr(module, "MOST_HELD", 100)

    async def test(desk: Desk) -> None:
        while not desk.intake.full():
            desk.put("flood")
        assert desk.held() == 100
        while desk.intake.full():
            desk.take()
            await asyncio.sleep(0.001)
        await desk.all_taken()
        assert desk.taken == desk.sent

    run(test)


def test_a_backlog_takes_little_memory_and_keeps_places() -> None:
    """Places come back as they were put, whatever their size; a million take ten megabytes."""
    backlog = Backlog()
    places = [Place(each % 7, each * 2**20) for each in range(5000)]
    for place in places:
        backlog.put(b"k", place)
    for place in places:
        assert backlog.first(b"k", 3)[0] == place
        backlog.pop(b"k")
    assert not backlog.records
    assert not backlog


def test_the_log_names_the_account_once_a_minute() -> None:
    """Who is held back is told, as data, and not for each record."""

    async def test(desk: Desk) -> None:
        for _ in range(1000):
            desk.put("flood\n")

    with structlog.testing.capture_logs() as logged:
        asyncio.run(test(Desk()))
    [line] = logged
    assert line["account"] == "flood\n"
    assert line["records_held_back"] >= 1


def test_records_of_a_topic_that_was_made_anew_are_not_taken_for_others() -> None:
    """What lies at a place under another key is another record: what was there is gone."""

    async def test(desk: Desk) -> None:
        for _ in range(100):
            desk.put("a")
        held = int(desk.held())
        desk.log.records = dict.fromkeys(desk.log.records, SimpleNamespace(key=b"other"))
        await desk.all_taken()
        assert len(desk.gone) == held > 0
        assert desk.taken["a", 0] == list(range(100 - held))

    run(test)

"""Micro-batches: their limits, their order, and the one private name of Faust's."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import faust
import faust.streams
import pytest

from gamekeeper.stream.worker import batching
from gamekeeper.stream.worker.backlog import Place
from gamekeeper.stream.worker.batching import Batches, current
from gamekeeper.stream.worker.dead_letters import DeadLetter
from gamekeeper.stream.worker.intake import Intake
from gamekeeper.stream.worker.metrics import Metrics
from gamekeeper.stream.worker.opening import Item, Records
from gamekeeper.stream.worker.shares import QUANTUM, Reading, Shares

LONG = 600.0
"""Seconds; a test that waits for as long fails after a tenth."""


class Stream:
    """A stream of events, as far as batching knows one."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()

    def noack(self) -> Stream:
        """Give a stream whose events are not acknowledged: itself."""
        return self

    async def events(self) -> AsyncIterator[Any]:
        """Hand on what was put, until the end or an error."""
        while (event := await self.queue.get()) is not None:
            if isinstance(event, Exception):
                raise event
            yield event

    def put(self, *offsets: int, partition: int = 0, size: int = 1) -> None:
        """Add events at these offsets, with values of `size` bytes."""
        for offset in offsets:
            message = SimpleNamespace(
                tp=("queries", partition), partition=partition, offset=offset, generation_id=1
            )
            event = SimpleNamespace(key=b"%d" % offset, value=b"x" * size, message=message)
            self.queue.put_nowait(event)


def offsets(batch: Records | Item | None) -> list[int]:
    """Tell where a batch's events are."""
    assert isinstance(batch, Records)
    return [event.message.offset for event in batch.events]


class Nothing:
    """Nobody reads again: no account here has a second record."""

    def read(self, places: Sequence[Place], max_bytes: int) -> list[tuple[Place, Any]]:
        """Fail."""
        raise AssertionError

    def event(self, place: Place, record: Any, generation: int) -> Any:
        """Fail."""
        raise AssertionError

    def close(self) -> None:
        """Fail."""
        raise AssertionError


def read(event: Any) -> Reading:
    """Find nothing in an event, and let a sixteenth of a turn be its rows."""
    return Reading(event, DeadLetter(b"", b"", "", 0, 0, "schema", "", ""), QUANTUM // 16)


def run(
    test: Callable[[Stream, Batches], Awaitable[None]],
    *,
    ends: dict[Any, int | None] | None = None,
    max_events: int = 4,
    patience: float = 5.0,
) -> None:
    """Run a test beside batches of at most 100 bytes."""

    async def inner() -> None:
        stream = Stream()
        intake = Intake(
            Shares(read, lambda partition, _: (partition, 0)),
            Nothing(),
            lambda places: None,
            Metrics(),
            max_events=max_events,
            max_bytes=100,
        )
        batches = Batches(stream, ends or {}, intake, pause=0.01, patience=patience)
        async with batches:
            await asyncio.wait_for(test(stream, batches), LONG / 10)

    asyncio.run(inner())


def test_events_come_in_order_and_in_batches_of_the_limit() -> None:
    """No event is lost, doubled or moved, and no batch is larger than asked for."""

    async def test(stream: Stream, batches: Batches) -> None:
        stream.put(*range(10))
        taken = [offsets(await batches.take()) for _ in range(3)]
        assert [each for batch in taken for each in batch] == list(range(10))
        assert max(map(len, taken)) <= 4

    run(test)


def test_bytes_limit_what_waits() -> None:
    """No more is read once so many bytes wait."""

    async def test(stream: Stream, batches: Batches) -> None:
        stream.put(*range(150))
        assert [len(offsets(await batches.take())) for _ in range(2)] == [100, 50]

    run(test, max_events=1000)


def test_a_batch_waits_for_a_known_backlog(monkeypatch: pytest.MonkeyPatch) -> None:
    """While many records are known to wait at the broker, a batch goes on collecting."""
    monkeypatch.setattr(batching, "IDLE", LONG)  # as long as the machine may be busy elsewhere

    async def test(stream: Stream, batches: Batches) -> None:
        async def feed() -> None:
            for offset in range(8):
                stream.put(offset)
                await asyncio.sleep(0.004)

        feeding = asyncio.create_task(feed())
        assert len(offsets(await batches.take())) == 8
        await feeding

    run(test, ends={("queries", 0): 1000}, max_events=8, patience=LONG)


def test_a_batch_does_not_wait_for_a_few_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lag that may be a transaction's markers holds no batch back."""
    monkeypatch.setattr(batching, "IDLE", LONG)

    async def test(stream: Stream, batches: Batches) -> None:
        stream.put(0, 1)
        assert offsets(await batches.take()) == [0, 1]

    run(test, ends={("queries", 0): 4}, max_events=100, patience=LONG)


def test_dropped_events_are_not_handed_out() -> None:
    """After partitions moved, only events that came in later are handed out."""

    async def test(stream: Stream, batches: Batches) -> None:
        stream.put(*range(20))
        await batches.take()
        batches.drop()
        while not stream.queue.empty():
            await asyncio.sleep(0.01)
            batches.drop()
        stream.put(50)
        assert offsets(await batches.take()) == [50]

    run(test)


def test_the_end_of_the_stream_is_told() -> None:
    """What came before the end is handed out, and then nothing."""

    async def test(stream: Stream, batches: Batches) -> None:
        stream.put(0)
        stream.queue.put_nowait(None)
        assert offsets(await batches.take()) == [0]
        assert await batches.take() is None

    run(test)


def test_an_error_of_the_stream_is_raised() -> None:
    """An error in the stream reaches whoever takes from it."""

    async def test(stream: Stream, batches: Batches) -> None:
        stream.queue.put_nowait(ValueError("broken"))
        with pytest.raises(ValueError, match="broken"):
            await batches.take()

    run(test)


def test_faust_still_keeps_the_current_event_as_it_did() -> None:
    """The private name that `current` sets is a context variable of weak references to events."""
    assert isinstance(faust.streams._current_event, ContextVar)

    class Event:
        pass

    event = Event()
    faust.streams._current_event.set(weakref.ref(event))
    assert faust.current_event() is event
    other = Event()
    with current(other):
        assert faust.current_event() is other
    assert faust.current_event() is event

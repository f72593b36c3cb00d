"""The sink's membership in its consumer group: what it asks of Kafka, however long that is away."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple, TypeVar

import structlog
from kafka import ConsumerRebalanceListener, OffsetAndMetadata, errors

from gamekeeper.schemas.errors import AbsentError, BrokerError
from gamekeeper.stream.kafka import (
    PASSING,
    Settings,
    broker_errors,
    consumer,
    require_topic,
)
from gamekeeper.stream.sink.lives import Lives

log = structlog.get_logger("gamekeeper.sink")

ASK_MS: Final = 5_000
RETRY_SECONDS: Final = 0.2  # between two attempts where a broker is away
SAY_SECONDS: Final = 5.0  # between two lines about that
NOT_A_MEMBER: Final = (
    errors.CommitFailedError,
    errors.FencedInstanceIdError,
    errors.IllegalGenerationError,
    errors.RebalanceInProgressError,
    errors.UnknownMemberIdError,
)
NOT_ASSIGNED: Final = (errors.IllegalStateError, KeyError, ValueError)
"""What kafka-python raises for a partition that has just moved, call by call."""

Answer = TypeVar("Answer")


class Polled(NamedTuple):
    """The records of each partition, and the positions that have no record any more."""

    records: Mapping[Any, list[Any]]
    passed: Mapping[Any, int]


class Stopped(Exception):  # noqa: N818 - nothing is wrong
    """The sink is to stop while it waits for a broker."""


class _Moves(ConsumerRebalanceListener):  # type: ignore[misc]
    """Notes, on kafka-python's thread, which partitions come and go."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._moves: queue.SimpleQueue[tuple[bool, set[Any]]] = queue.SimpleQueue()

    def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
        # Where topics have grown, kafka-python (3.0.12) rejoins without noting that it has to:
        # if that takes longer than one poll, it never finishes (KAFKA-9815, of the Java client).
        self._client._coordinator.request_rejoin()
        self._moves.put((False, set(revoked)))

    def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        self._moves.put((True, set(assigned)))

    def take(self) -> Iterator[tuple[bool, set[Any]]]:
        while not self._moves.empty():
            yield self._moves.get()


class Member:
    """One member of the group that fills a folder; all its calls are one thread's.

    A broker that is away is waited for, with a line in the log every few seconds, and so is a topic
    that was deleted. What no waiting mends is a `BrokerError`; a topic that was made anew, of which
    nothing is committed, is a `TraceError`.
    """

    def __init__(self, settings: Settings, topics: list[str], stopped: threading.Event) -> None:
        """Prepare; `stopped` ends all waiting when set."""
        self._settings = settings
        self._topics = topics
        self._stopped = stopped
        self._client: Any = None
        self._moves: _Moves
        self._said = float("-inf")
        self._heard = time.monotonic()
        self.lives = Lives(settings, topics)

    def join(self, group: str) -> None:
        """Find the broker and the topics, and join; `Stopped` if that is not to be waited for.

        Raises `BrokerError` where a topic is missing.
        """
        self._patiently(lambda: require_topic(self._settings, *self._topics))
        # Positions are ours alone to choose; where one is lost, guessing would lose records.
        self._client = self._patiently(
            lambda: consumer(self._settings, group, auto_offset_reset="none")
        )
        self._patiently(self.lives.look)
        self._moves = _Moves(self._client)
        with broker_errors(self._settings.brokers, "subscribe to the topics"):
            self._client.subscribe(self._topics, listener=self._moves)

    def silence(self) -> float:
        """Say for how many seconds nothing has been heard from the group's broker."""
        return time.monotonic() - self._heard

    def close(self) -> None:
        """Leave the group, if that can be done soon."""
        self.lives.close()
        if self._client is not None:
            self._client.close(timeout_ms=ASK_MS)

    def poll(self, milliseconds: int) -> Polled:
        """Read what has come, and stay a member; `TraceError` where a topic was made anew."""
        try:
            self._look()
            with broker_errors(self._settings.brokers, "read the topics"):
                polled = self._poll(milliseconds)
        except AbsentError as error:
            self.say(str(error))
            time.sleep(milliseconds / 1000)
            return Polled({}, {})
        self._listen()
        return polled

    def _look(self) -> None:
        """See now and then how the topics are, where somebody is likely to answer."""
        if self.lives.is_due() and not self._is_lost():
            self.lives.look()
        if self.lives.obstacle is not None:
            self.say(self.lives.obstacle)

    def _listen(self) -> None:
        """Say where no broker has been heard of for some seconds, which no poll tells."""
        now = time.monotonic()
        if not self._is_lost():
            self._heard = now
        elif now - self._heard >= SAY_SECONDS:
            self.say(f"none at {self._settings.brokers} answers for the sink's group")

    def _is_lost(self) -> bool:
        return bool(self._client._coordinator.coordinator_unknown())

    def _poll(self, milliseconds: int) -> Polled:
        self._unpark()
        try:
            return Polled(self._client.poll(timeout_ms=milliseconds), {})
        except errors.OffsetOutOfRangeError as error:
            return Polled({}, error.args[0])
        except errors.LogTruncationError as error:
            return Polled({}, {place: self.position(place) for place in error.divergent_offsets})
        except errors.NoOffsetForPartitionError:  # until its lane is opened
            time.sleep(0.01)
            return Polled({}, {})

    def _unpark(self) -> None:
        """Let kafka-python take up what it has kept of a partition while that was held.

        It (3.0.12) does so only where it has no other partition's records in work, and takes those
        that are used up for such: without this, the partition may never be read again.
        """
        fetcher = self._client._fetcher
        if not fetcher._next_partition_records:
            fetcher._next_partition_records = None

    def moves(self) -> Iterator[tuple[bool, set[Any]]]:
        """Give the moves since the last call: whether partitions came, and which."""
        return self._moves.take()

    def begin(self, place: Any, offset: int) -> None:
        """Read a partition from an offset on."""
        with suppress(*NOT_ASSIGNED):
            self._client.seek(place, offset)
            self._client.resume(place)

    def hold(self, place: Any, held: bool = True) -> None:
        """Read nothing more of a partition, or go on reading it."""
        with suppress(*NOT_ASSIGNED):
            (self._client.pause if held else self._client.resume)(place)

    def position(self, place: Any) -> int:
        """Say up to which offset a partition has been read; 0 where that is not known now."""
        with (
            broker_errors(self._settings.brokers, "read the topics"),
            suppress(*NOT_ASSIGNED, *PASSING),
        ):
            return int(self._client.position(place, timeout_ms=ASK_MS) or 0)
        return 0

    def committed(self, place: Any) -> int | None:
        """Ask for a partition's committed offset."""
        offset: int | None = self._client.committed(place, timeout_ms=ASK_MS)
        return offset

    def beginning(self, place: Any) -> int:
        """Ask for the first offset of a partition that has not expired."""
        return int(self._client.beginning_offsets([place], timeout_ms=ASK_MS)[place])

    def commit(self, offsets: Mapping[Any, int]) -> bool:
        """Commit; false if the partitions are not ours any more, or it is not to be waited for."""
        wanted = {place: OffsetAndMetadata(offset, "", -1) for place, offset in offsets.items()}
        try:
            self._patiently(lambda: self._commit(wanted))
        except BrokerError as error:
            if not isinstance(error.__cause__, NOT_A_MEMBER):
                raise
            log.warning("partitions moved before they were committed", error=str(error.__cause__))
            return False
        except Stopped:
            log.warning("stopping without a broker; what is in hand is left to the next run")
            return False
        return True

    def _commit(self, offsets: Mapping[Any, OffsetAndMetadata]) -> None:
        if self._stopped.is_set() and self._is_lost():
            raise Stopped
        self.lives.look()
        with broker_errors(self._settings.brokers, "commit"):
            self._client.commit(offsets, timeout_ms=ASK_MS)

    def _patiently(self, ask: Callable[[], Answer]) -> Answer:
        while True:
            try:
                return ask()
            except AbsentError as error:
                self.say(str(error))
            if self._stopped.wait(RETRY_SECONDS):
                raise Stopped

    def say(self, error: str) -> None:
        """Say that a broker is waited for, unless it has been said a few seconds ago."""
        if time.monotonic() - self._said >= SAY_SECONDS:
            log.warning("waiting for the broker", error=error)
            self._said = time.monotonic()

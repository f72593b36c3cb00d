"""The sink: from topics to Parquet, each record's rows exactly once, whatever is killed when.

Batches are cut by count, bytes and time; a partition's first is written at once. A batch's files
are written, fsynced and renamed, and only then is its offset committed. A sink that takes a
partition over removes what lies beyond the committed offset and reads on from there, so cuts may
fall elsewhere and nothing is there twice.

Between writing files and moving them to their places, the committed offset is committed once
more: Kafka refuses that to a member whose partitions have gone to another while it was suspended.
Where it is suspended just after that, the other has swept away what it is about to move. Sinks
that share the work must share the folder: query numbers and known ids are restored from its files.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog
from kafka import ConsumerRebalanceListener, OffsetAndMetadata, errors

from gamekeeper.schemas.errors import BrokerError, TraceError
from gamekeeper.stream.kafka import Settings, broker_errors, consumer
from gamekeeper.stream.sink.files import Drafts, Numbered, Partition, forget, group_of
from gamekeeper.stream.sink.gaps import draft_gap
from gamekeeper.stream.sink.lane import Lane, Record, memory_offset

log = structlog.get_logger("gamekeeper.sink")

POLL_MS = 200
COMMIT_MS = 5_000
OPEN_SECONDS = 1.0  # between two polls; who does not poll for long is taken for dead
NOT_A_MEMBER = (
    errors.CommitFailedError,
    errors.FencedInstanceIdError,
    errors.IllegalGenerationError,
    errors.RebalanceInProgressError,
    errors.UnknownMemberIdError,
)


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
        """Give the moves since the last call: whether they came, and which."""
        while not self._moves.empty():
            yield self._moves.get()


class Sink:
    """Fills one folder from some topics, as a member of the folder's consumer group."""

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        topics: Mapping[str, type[Lane]],
        stopped: threading.Event,
    ) -> None:
        """Prepare; `topics` maps topics to their lanes, `stopped` ends `run` when set.

        `begun` says whether `run` has come to its work.
        """
        self._settings = settings
        self._folder = folder
        self._topics = topics
        self._stopped = stopped
        self._lanes: dict[Any, Lane] = {}
        self._opening: dict[Any, tuple[Lane, Iterator[None]]] = {}
        self._turns = 0
        self._owned: set[Any] = set()
        self._consumer: Any = None
        self._waiting_since: float | None = None
        self._bytes = 0
        self.begun = False

    @property
    def in_hand(self) -> int:
        """The number of records that are read and not yet written."""
        return sum(len(lane.records) for lane in list(self._lanes.values()))

    def run(self) -> None:
        """Work until stopped, then write and commit what is in hand.

        Raises `BrokerError` where Kafka refuses or a topic is missing, `TraceError` where the
        folder cannot be used; what is not committed then is read again by the next run.
        """
        group = group_of(self._folder, self._settings.app_id)
        # Positions are ours alone to choose; where one is lost, guessing would lose records.
        self._consumer = consumer(self._settings, group, auto_offset_reset="none")
        try:
            self._check_topics()
            self._moves = _Moves(self._consumer)
            self._consumer.subscribe(list(self._topics), listener=self._moves)
            log.info("started", folder=str(self._folder), topics=list(self._topics), group=group)
            self.begun = True
            while not self._stopped.is_set():
                self._turn()
            self._flush()
        finally:
            self._consumer.close(timeout_ms=COMMIT_MS)
        log.info("stopped")

    def _check_topics(self) -> None:
        with broker_errors(self._settings.brokers, "list the topics"):
            missing = sorted(set(self._topics) - self._consumer.topics())
        if missing:
            raise BrokerError(
                f"no topic {', '.join(missing)} at {self._settings.brokers}; create the topics "
                "with `gamekeeper topics apply`"
            )

    def _turn(self) -> None:
        """Poll once, follow the assignment, take the records, write a batch when it is time."""
        polled = self._poll()
        for came, places in self._moves.take():
            self._close(places)
            self._owned = self._owned | places if came else self._owned - places
        for place, records in polled.items():
            # Records of a partition whose lane is not open come again once it is.
            if place in self._lanes:
                self._take(self._lanes[place], records)
        self._advance()
        self._open_some()
        if self._is_time():
            self._flush()

    def _poll(self) -> Mapping[Any, list[Any]]:
        with broker_errors(self._settings.brokers, "read the topics"):
            try:
                polled: Mapping[Any, list[Any]] = self._consumer.poll(timeout_ms=POLL_MS)
            except errors.NoOffsetForPartitionError:  # until its lane is opened
                time.sleep(0.01)
                return {}
            except errors.OffsetOutOfRangeError as error:
                self._reopen(error.args[0])
                return {}
            except errors.KafkaConnectionError:  # a broker that was here is gone, and may come back
                time.sleep(POLL_MS / 1000)
                return {}
        return polled

    def _reopen(self, positions: Mapping[Any, int]) -> None:
        """Have partitions opened anew whose next record is not there: what has expired is lost.

        What is in hand of them is written first: it came before that. `TraceError` where the topic
        ends before the position.
        """
        lanes = {place: self._lanes[place] for place in positions if place in self._lanes}
        for place, lane in lanes.items():
            lane.reached = max(lane.reached, positions[place])
            if lane.next > self._consumer.beginning_offsets([place])[place]:
                raise _made_anew(lane.files, self._settings.brokers)
        self._flush()
        self._close(lanes)
        self._consumer.pause(*(self._consumer.assignment() & positions.keys()))

    def _take(self, lane: Lane, records: list[Any]) -> None:
        for record in records:
            if record.offset < lane.next:
                continue
            lane.records.append(Record(record.offset, record.key, record.value))
            self._bytes += len(record.value or b"")
        if records and self._waiting_since is None:
            self._waiting_since = time.monotonic()

    def _advance(self) -> None:
        """Note how far reading has come: further than the last record (see `Lane.next`)."""
        if self._lanes.keys() != self._owned:
            return  # who has not begun at his place yet has no position to be asked for
        for place, lane in self._lanes.items():
            with suppress(errors.IllegalStateError):  # it has just moved
                lane.reached = max(lane.reached, self._consumer.position(place) or 0)
            if lane.next > lane.start and self._waiting_since is None:
                self._waiting_since = time.monotonic()

    def _is_time(self) -> bool:
        if self._waiting_since is None:
            return False
        settings = self._settings
        return (
            any(lane.fresh and lane.records for lane in self._lanes.values())
            or self.in_hand >= settings.sink_records
            or self._bytes >= settings.sink_bytes
            or time.monotonic() - self._waiting_since >= settings.sink_seconds
        )

    def _open_some(self) -> None:
        """Go on opening partitions, in turn, for no longer than a poll can wait."""
        deadline = time.monotonic() + OPEN_SECONDS
        waiting = sorted(self._owned - self._lanes.keys())
        self._turns += 1
        for at in range(len(waiting)):
            place = waiting[(at + self._turns) % len(waiting)]
            with broker_errors(
                self._settings.brokers, "open", topic=place.topic, partition=place.partition
            ):
                try:
                    self._open(place, deadline)
                except (errors.RetriableError, errors.IllegalStateError) as error:
                    log.warning("cannot open a partition yet", **_said(place), error=str(error))
            if time.monotonic() >= deadline:
                return

    def _open(self, place: Any, deadline: float) -> None:
        """Begin with a partition, or go on restoring its lane until the deadline."""
        if place not in self._opening and not self._claim(place):
            return
        lane, steps = self._opening[place]
        for _ in steps:
            if time.monotonic() >= deadline:
                return
        del self._opening[place]
        self._consumer.seek(place, lane.start)
        self._consumer.resume(place)
        self._lanes[place] = lane

    def _claim(self, place: Any) -> bool:
        """Make sure that a partition is ours, and its files those below the committed offset."""
        lane_type = self._topics[place.topic]
        files = Partition(self._folder, lane_type.table, place.topic, place.partition)
        if place in self._consumer.assignment():
            self._consumer.pause(place)  # what came before its lane is open would be read twice
        files.sweep()
        found = files.files()
        start, first = self._start(place, files, found)
        doubtful = [each.path for each in [*found, *files.others()] if each.offset >= start]
        if (memory_offset(files) or 0) > start:
            doubtful.append(files.memory)
        if not self._commit({place: start}):
            return False
        forget(doubtful)
        if first > start and not self._pass_over(place, files, start, first):
            return False
        lane = lane_type(files, max(start, first))
        steps = lane.restore([each for each in found if each.offset < start])
        self._opening[place] = lane, steps
        return True

    def _start(self, place: Any, files: Partition, found: Sequence[Numbered]) -> tuple[int, int]:
        """Give the offset to begin at, and the first that is there: a later one if some are lost.

        Raises `TraceError` where folder and topic do not match.
        """
        committed: int | None = self._consumer.committed(place, timeout_ms=COMMIT_MS)
        first: int = self._consumer.beginning_offsets([place])[place]
        if committed is None and (found or files.memory.exists()):
            raise _made_anew(files, self._settings.brokers)
        return (first if committed is None else committed), first

    def _pass_over(self, place: Any, files: Partition, start: int, first: int) -> bool:
        """Go on after what has expired, and tell it; false if the partition is not ours any more.

        As with a batch, the row is written, the membership proved, the row put in its place, and
        only then is the offset after it committed.
        """
        with Drafts() as drafts:
            draft_gap(drafts, files, start, first)
            if not self._commit({place: start}) or not drafts.publish():
                return False
        log.error(
            "records have expired before they were written, see the table gaps; "
            "lengthen retention.ms",
            **_said(place),
            first=start,
            next=first,
            lost=first - start,
        )
        return self._commit({place: first})

    def _close(self, places: Collection[Any]) -> None:
        """Drop partitions that have moved; what is not committed is read again, by whoever."""
        for place in places:
            self._opening.pop(place, None)
            lane = self._lanes.pop(place, None)
            if lane is not None:
                self._bytes -= sum(len(record.value or b"") for record in lane.records)
        if not any(lane.next > lane.start for lane in self._lanes.values()):
            self._waiting_since = None

    def _flush(self) -> None:
        """Write what is in hand, then commit it."""
        lanes = {place: lane for place, lane in self._lanes.items() if lane.next > lane.start}
        if not lanes or not self._write(lanes):
            return
        if self._commit({place: lane.next for place, lane in lanes.items()}):
            for lane in lanes.values():
                lane.done()
            self._bytes, self._waiting_since = 0, None

    def _write(self, lanes: Mapping[Any, Lane]) -> bool:
        """Put the lanes' files in place; false, with the lanes dropped, if they have moved."""
        with Drafts() as drafts:
            counts = {place: lane.write(drafts) for place, lane in lanes.items()}
            if not self._commit({place: lane.start for place, lane in lanes.items()}):
                return False
            if not drafts.publish():
                log.warning("partitions moved before their files were in place")
                self._close(lanes)
                return False
        for place, (rows, rejected) in counts.items():
            lane = lanes[place]
            if lane.records:
                log.info("wrote", **_said(place), end=lane.next, rows=rows, rejected=rejected)
        return True

    def _commit(self, offsets: Mapping[Any, int]) -> bool:
        """Commit; false, with the partitions dropped, if they are not ours any more.

        Waits for a broker that is away; `BrokerError` if it stays away while stopping.
        """
        wanted = {place: OffsetAndMetadata(offset, "", -1) for place, offset in offsets.items()}
        while True:
            try:
                with broker_errors(self._settings.brokers, "commit"):
                    self._consumer.commit(wanted, timeout_ms=COMMIT_MS)
            except BrokerError as error:
                cause = error.__cause__
                if isinstance(cause, NOT_A_MEMBER):
                    log.warning("partitions moved before they were committed", error=str(cause))
                    self._close(offsets)
                    return False
                if not isinstance(cause, errors.RetriableError) or self._stopped.is_set():
                    raise
                log.warning("waiting for the broker to commit", error=str(cause))
            else:
                return True


def _made_anew(files: Partition, brokers: str) -> TraceError:
    return TraceError(
        f"{files.folder}: its files of topic {files.topic} partition {files.partition} are not of "
        f"the topic at {brokers}, which was made anew or whose committed offsets have expired; use "
        "another folder for --out"
    )


def _said(place: Any) -> dict[str, Any]:
    return {"topic": place.topic, "partition": place.partition}

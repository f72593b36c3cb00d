"""The sink: from topics to Parquet, each record's rows exactly once, whatever is killed when.

Batches are cut by count, bytes and time, each topic's for itself; a partition's first is written at
once. A batch's files are written, fsynced and renamed, and only then is its offset committed. A
sink that takes a partition over removes what lies beyond the committed offset and reads on from
there, so cuts may fall elsewhere and nothing is there twice.

Between writing files and moving them to their places, the committed offset is committed once
more: Kafka refuses that to a member whose partitions have gone to another while it was suspended.
Where it is suspended just after that, the other has swept away what it is about to move. Sinks
that share the work must share the folder: query numbers and known ids are restored from its files.

Each topic is written on a thread of its own, and none of its partitions is read meanwhile. Polls go
on, so that the sink stays a member however slow a disk is, and no topic waits for another's.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any, Final

import structlog

from gamekeeper.stream.kafka import Settings
from gamekeeper.stream.sink.files import group_of
from gamekeeper.stream.sink.health import Metrics, served
from gamekeeper.stream.sink.lane import Lane, Record
from gamekeeper.stream.sink.member import Member, Stopped
from gamekeeper.stream.sink.opening import Opening
from gamekeeper.stream.sink.writing import Lanes, Writer

log = structlog.get_logger("gamekeeper.sink")

POLL_MS: Final = 200
BUSY_MS: Final = 20  # while a writer may ask for a commit at any time
SILENCE_SECONDS: Final = 10.0
# A batch of 256 files takes seconds on a disk that works.
HANGING_SECONDS: Final = 120.0


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
        self._stopped = stopped
        self._member = Member(settings, list(topics), stopped)
        self._metrics = Metrics()
        self._opening = Opening(settings, folder, topics, self._member, self._metrics)
        self._writers = {
            topic: Writer(topic, self._metrics.records.labels(topic).inc) for topic in topics
        }
        for topic in topics:
            self._metrics.lost.labels(topic)
        self._lanes: dict[Any, Lane] = {}
        self._owned: set[Any] = set()
        self.begun = False

    @property
    def in_hand(self) -> int:
        """The number of records that are read and not yet written."""
        return sum(len(lane.records) for lane in list(self._lanes.values()))

    def obstacle(self) -> str | None:
        """Say why the sink is not ready; None when it is."""
        if not self.begun:
            return "waiting for the broker"
        if self._member.silence() > SILENCE_SECONDS:
            return f"nothing heard from Kafka for {SILENCE_SECONDS:g} seconds"
        if not self._owned:
            return "no partitions assigned"
        if self._member.lives.obstacle is not None:
            return self._member.lives.obstacle
        for topic, writer in self._writers.items():
            if writer.seconds > HANGING_SECONDS:
                return f"writing {topic} has taken more than {HANGING_SECONDS:g} seconds"
        return None

    def run(self) -> None:
        """Work until stopped, then write and commit what is in hand.

        A broker that is away is waited for. Raises `BrokerError` where Kafka refuses or a topic is
        missing, `TraceError` where the folder cannot be used, `SettingsError` where another process
        has its HTTP port; what is not committed then is read again by the next run.
        """
        group = group_of(self._folder, self._settings.app_id)
        with served(self._settings, self._metrics, self.obstacle), suppress(Stopped):
            try:
                self._member.join(group)
                topics = list(self._writers)
                log.info("started", folder=str(self._folder), topics=topics, group=group)
                self.begun = True
                while not self._stopped.is_set():
                    self._turn()
                self._finish()
            finally:
                for writer in self._writers.values():
                    writer.close()
                self._member.close()
        log.info("stopped")

    def _turn(self) -> None:
        """Poll once, follow the assignment, take the records, write where it is time."""
        self._read()
        for place, lane in self._opening.some(self._owned - self._lanes.keys()):
            self._lanes[place] = lane
        for topic, writer in self._writers.items():
            self._serve(writer)
            self._write(topic, writer)

    def _read(self) -> None:
        busy = any(writer.busy for writer in self._writers.values())
        polled = self._member.poll(BUSY_MS if busy else POLL_MS)
        self._follow()
        for place, records in polled.records.items():
            # Records of a partition whose lane is not open come again once it is.
            if place in self._lanes:
                self._take(self._lanes[place], records)
        for place, position in polled.passed.items():
            self._pass_by(place, position)
        self._advance()

    def _follow(self) -> None:
        for came, places in self._member.moves():
            self._close(places)
            self._owned = self._owned | places if came else self._owned - places

    def _take(self, lane: Lane, records: list[Any]) -> None:
        for record in records:
            lane.take(Record(record.offset, record.key, record.value))

    def _pass_by(self, place: Any, position: int) -> None:
        """Have a partition opened anew whose next record is not there, once it is written so far.

        Either it has expired, or the topic is another one and ends before.
        """
        self._member.hold(place)
        self._opening.doubt(place, position)
        if place in self._lanes:
            self._lanes[place].advance(position)
            self._lanes[place].passed = True

    def _advance(self) -> None:
        """Note how far reading has come: further than the last record (see `Lane.next`)."""
        if self._lanes.keys() != self._owned:
            return  # who has not begun at his place yet has no position to be asked for
        for place, lane in self._lanes.items():
            if not self._writers[place.topic].busy:
                lane.advance(self._member.position(place))

    def _close(self, places: Collection[Any]) -> None:
        """Drop partitions that have moved; what is not committed is read again, by whoever."""
        self._opening.drop(places)
        for place in places:
            self._lanes.pop(place, None)

    def _serve(self, writer: Writer) -> None:
        """Do what a writer waits for, and open anew what it could not write."""
        writer.serve(self._commit)
        lanes = writer.ended()
        self._close([place for place, lane in lanes.items() if self._lanes.get(place) is lane])

    def _commit(self, lanes: Lanes, offsets: Mapping[Any, int]) -> bool:
        """Commit, if the lanes are still those of their partitions."""
        ours = all(self._lanes.get(place) is lane for place, lane in lanes.items())
        return ours and self._member.commit(offsets)

    def _write(self, topic: str, writer: Writer) -> None:
        """Begin a batch of a topic when it is time, and read nothing of the topic meanwhile."""
        if not writer.busy:
            lanes = self._pending(topic)
            if lanes and self._is_time(lanes.values()):
                writer.start(lanes)
            else:
                self._close([place for place in self._open(topic) if self._lanes[place].passed])
        for place in self._open(topic):
            self._member.hold(place, writer.busy)

    def _open(self, topic: str) -> list[Any]:
        return [place for place in self._lanes if place.topic == topic]

    def _pending(self, topic: str) -> Lanes:
        return {p: self._lanes[p] for p in self._open(topic) if self._lanes[p].pending}

    def _is_time(self, lanes: Collection[Lane]) -> bool:
        settings = self._settings
        return (
            any(lane.cut or lane.passed or (lane.fresh and lane.records) for lane in lanes)
            or sum(len(lane.records) for lane in lanes) >= settings.sink_records
            or sum(lane.bytes for lane in lanes) >= settings.sink_bytes
            or monotonic() - min(lane.since for lane in lanes) >= settings.sink_seconds
        )

    def _finish(self) -> None:
        """Write what is in hand, as much as one batch of each topic may be."""
        self._settle()
        for topic, writer in self._writers.items():
            lanes = self._pending(topic)
            if lanes:
                writer.start(lanes)
        self._settle()

    def _settle(self) -> None:
        """Wait for the writers, as a member; what comes meanwhile is left to the next run."""
        while any(writer.busy for writer in self._writers.values()):
            self._member.poll(BUSY_MS)
            self._follow()
            for writer in self._writers.values():
                self._serve(writer)

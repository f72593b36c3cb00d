"""Opening: how a sink takes a partition over, and at which offset it goes on."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import structlog
from kafka import errors

from gamekeeper.schemas.errors import AbsentError, BrokerError, TraceError
from gamekeeper.stream.kafka import Settings, broker_errors
from gamekeeper.stream.sink.files import Drafts, Numbered, Partition, forget, identity
from gamekeeper.stream.sink.gaps import draft_gap
from gamekeeper.stream.sink.health import Metrics
from gamekeeper.stream.sink.lane import Lane, memory_offset
from gamekeeper.stream.sink.member import Member

log = structlog.get_logger("gamekeeper.sink")

OPEN_SECONDS: Final = 1.0  # between two polls; who does not poll for long is taken for dead


class Opening:
    """Opens partitions that have come to the sink, in turn, a little between two polls."""

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        topics: Mapping[str, type[Lane]],
        member: Member,
        metrics: Metrics,
    ) -> None:
        """Begin with none."""
        self._metrics = metrics
        self._settings = settings
        self._folder = folder
        self._topics = topics
        self._member = member
        self._begun: dict[Any, tuple[Lane, Iterator[None]]] = {}
        self._doubted: dict[Any, int] = {}
        self._turns = 0

    def drop(self, places: Collection[Any]) -> None:
        """Forget partitions that have moved."""
        for place in places:
            self._begun.pop(place, None)

    def doubt(self, place: Any, position: int) -> None:
        """Note that a partition has no record at a position, which it will be asked about."""
        self._doubted[place] = position

    def some(self, waiting: Collection[Any]) -> Iterator[tuple[Any, Lane]]:
        """Go on opening those that wait, for no longer than a poll can; give those that are open.

        Raises `TraceError` where folder and topic do not match.
        """
        deadline = time.monotonic() + OPEN_SECONDS
        places = sorted(waiting)
        self._turns += 1
        for at in range(len(places)):
            place = places[(at + self._turns) % len(places)]
            lane = self._try(place, deadline)
            if lane is not None:
                yield place, lane
            if time.monotonic() >= deadline:
                return

    def _try(self, place: Any, deadline: float) -> Lane | None:
        try:
            with broker_errors(
                self._settings.brokers, "open", topic=place.topic, partition=place.partition
            ):
                return self._open(place, deadline)
        except BrokerError as error:
            lost = isinstance(error.__cause__, errors.IllegalStateError)
            if not lost and not isinstance(error, AbsentError):
                raise
            self._member.say(str(error))
            return None

    def _open(self, place: Any, deadline: float) -> Lane | None:
        """Begin with a partition, or go on restoring its lane until the deadline."""
        if place not in self._begun and not self._claim(place):
            return None
        lane, steps = self._begun[place]
        for _ in steps:
            if time.monotonic() >= deadline:
                return None
        del self._begun[place]
        self._member.begin(place, lane.start)
        return lane

    def _claim(self, place: Any) -> bool:
        """Make sure that a partition is ours, and its files those below the committed offset."""
        lane_type = self._topics[place.topic]
        files = Partition(self._folder, lane_type.table, place.topic, place.partition)
        self._member.hold(place)  # what came before its lane is open would be read twice
        files.sweep()
        found = files.files()
        start, first = self._start(place, files, found)
        doubtful = [each.path for each in [*found, *files.others()] if each.offset >= start]
        if (memory_offset(files) or 0) > start:
            doubtful.append(files.memory)
        left = {path: identity(path) for path in doubtful}
        if not self._member.commit({place: start}):
            return False
        # Who is suspended here finds the files of whoever went on meanwhile, under the same names.
        forget(path for path, was in left.items() if identity(path) == was)
        if first > start and not self._pass_over(place, files, start, first):
            return False
        lane = lane_type(files, max(start, first))
        steps = lane.restore([each for each in found if each.offset < start])
        self._begun[place] = lane, steps
        return True

    def _start(self, place: Any, files: Partition, found: Sequence[Numbered]) -> tuple[int, int]:
        """Give the offset to begin at, and the first that is there: a later one if some are lost.

        Raises `TraceError` where folder and topic do not match.
        """
        committed = self._member.committed(place)
        first = self._member.beginning(place)
        beyond = self._doubted.pop(place, 0) > first
        if beyond or (committed is None and (found or files.memory.exists())):
            raise _made_anew(files, self._settings.brokers)
        return (first if committed is None else committed), first

    def _pass_over(self, place: Any, files: Partition, start: int, first: int) -> bool:
        """Go on after what has expired, and tell it; false if the partition is not ours any more.

        As with a batch, the row is written, the membership proved, the row put in its place, and
        only then is the offset after it committed.
        """
        with Drafts() as drafts:
            draft_gap(drafts, files, start, first)
            if not self._member.commit({place: start}) or not drafts.publish():
                return False
        log.error(
            "records have expired before they were written, see the table gaps; "
            "lengthen retention.ms",
            topic=place.topic,
            partition=place.partition,
            first=start,
            next=first,
            lost=first - start,
        )
        self._metrics.lost.labels(place.topic).inc(first - start)
        return self._member.commit({place: first})


def _made_anew(files: Partition, brokers: str) -> TraceError:
    return TraceError(
        f"{files.folder}: its files of topic {files.topic} partition {files.partition} are not of "
        f"the topic at {brokers}, which was made anew or whose committed offsets have expired; use "
        "another folder for --out"
    )

"""Writing: one topic's batches to files, on a thread that nothing else waits for."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Final, NamedTuple

import structlog

from gamekeeper.stream.sink.files import Drafts
from gamekeeper.stream.sink.lane import Lane

log = structlog.get_logger("gamekeeper.sink")

# The most table files between two commits, so that slow ones, of events of many days, get on.
FILES: Final = 256
SERVE_SECONDS: Final = 0.02

Lanes = Mapping[Any, Lane]
"""Open lanes by their partitions."""


class Asked(NamedTuple):
    """A commit that a writer waits for: of which lanes, and whether it has been done."""

    lanes: Lanes
    offsets: dict[Any, int]
    done: Future[bool]


class Writer:
    """Writes one topic's batches, one at a time; its lanes are its own while it is busy.

    A batch is written, the membership proved by committing once more what is committed, the files
    moved to their places, and then their offsets are committed. The thread that polls does the
    commits: it calls `serve` often, and `ended` when that says so.
    """

    def __init__(self, topic: str, written: Callable[[int], None]) -> None:
        """Prepare a thread; `written` is told how many records have been written for good."""
        self._written = written
        self._since = 0.0
        self._pool = ThreadPoolExecutor(1, f"sink-{topic}")
        self._asked: queue.SimpleQueue[Asked] = queue.SimpleQueue()
        self._job: tuple[Lanes, Future[bool]] | None = None

    @property
    def busy(self) -> bool:
        """Whether there is a batch that `ended` has not told the end of."""
        return self._job is not None

    @property
    def seconds(self) -> float:
        """For how long it has been busy with the batch, 0 if it is not."""
        return time.monotonic() - self._since if self.busy else 0.0

    def start(self, lanes: Lanes) -> None:
        """Begin to write what the lanes have in hand, or as much of it as may be in one batch."""
        self._since = time.monotonic()
        self._job = lanes, self._pool.submit(self._write, lanes)

    def serve(self, commit: Callable[[Lanes, Mapping[Any, int]], bool]) -> None:
        """Do the commits that the batch waits for."""
        while not self._asked.empty():
            asked = self._asked.get()
            try:
                asked.done.set_result(commit(asked.lanes, asked.offsets))
            except BaseException:
                asked.done.set_result(False)
                raise

    def ended(self) -> Lanes:
        """Tell the end of the batch, once: the lanes to be dropped, whose records are not written.

        Those have moved, or must be taken for it. Raises `TraceError` where a file cannot be
        written.
        """
        if self._job is None or not self._job[1].done():
            return {}
        lanes, job = self._job
        self._job = None
        return {} if job.result() else lanes

    def close(self) -> None:
        """Wait for the thread, whose batch is not committed any more."""
        while self._job is not None and not self._job[1].done():
            self.serve(lambda *_: False)
            wait([self._job[1]], SERVE_SECONDS)
        self._pool.shutdown()

    def _write(self, lanes: Lanes) -> bool:
        share = max(1, FILES // len(lanes))
        with Drafts() as drafts:
            counts = {place: lane.write(drafts, share) for place, lane in lanes.items()}
            if not self._commit(lanes, {place: lane.start for place, lane in lanes.items()}):
                return False
            if not drafts.publish():
                log.warning("partitions moved before their files were in place")
                return False
        for place, count in counts.items():
            if lanes[place].records:
                said = {"topic": place.topic, "partition": place.partition, "end": lanes[place].end}
                log.info("wrote", **said, **count._asdict())
        if not self._commit(lanes, {place: lane.end for place, lane in lanes.items()}):
            return False
        for lane in lanes.values():
            self._written(sum(record.offset < lane.end for record in lane.records))
            lane.done()
        return True

    def _commit(self, lanes: Lanes, offsets: dict[Any, int]) -> bool:
        asked = Asked(lanes, offsets, Future())
        self._asked.put(asked)
        return asked.done.result()

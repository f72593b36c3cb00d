"""A topic recorded as a trace: events checked, queries counted, rows written as they come."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from gamekeeper.schemas.errors import SchemaError, TraceError
from gamekeeper.schemas.event import QueryEvent, check_key, decode_event
from gamekeeper.schemas.files import sync, temporary_for
from gamekeeper.schemas.order import is_order
from gamekeeper.schemas.tables import QUERIES, many_query_rows
from gamekeeper.stream.kafka import Gap, News, Record, Settings, Start, TopicReader, open_topic

# A row group: what is held in memory, and what a reader of the trace must hold.
_GROUP_BYTES = 16 * 2**20
_GROUP_EVENTS = 10_000


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What to record and when to stop; with none of the three limits, when interrupted.

    `queries` is reached, not cut: the last event is recorded whole. `until_idle` counts seconds
    without a record, while the broker answers. `accounts` empty: all.
    """

    start: Start = "beginning"
    until_idle: float | None = None
    queries: int | None = None
    seconds: float | None = None
    accounts: Collection[str] = ()


class Recorded(msgspec.Struct, kw_only=True):
    """What has been recorded so far; `lost` counts offsets that expired before they were read."""

    events: int = 0
    queries: int = 0
    accounts: int = 0
    invalid: int = 0
    lost: int = 0


def record(
    settings: Settings,
    topic: str,
    out: Path,
    wanted: Wanted,
    *,
    trace: str | None = None,
    kind: str | None = None,
    skipped: Callable[[str], None] = lambda message: None,
    advance: Callable[[Recorded], None] = lambda recorded: None,
) -> Recorded:
    """Record a topic into the file `out`, which appears when it is complete.

    Queries count from 0 per account and model, in the topic's order, as the service counts them.
    An event that is not valid is reported to `skipped` and left out; so is what expires before it
    is read. `skipped` also hears of a broker that is away or a topic that was deleted, which are
    waited for, every few seconds, of a topic that was made anew, which is read from its beginning,
    and of partitions that are added, which are read, too. An interrupt (`KeyboardInterrupt`) ends
    the recording as any other limit does. Raises `TraceError` where `out` exists or nothing came,
    `BrokerError` where the topic cannot be read.
    """
    recorded = Recorded()

    def told(news: Gap | News) -> None:
        recorded.lost += news.lost if isinstance(news, Gap) else 0
        skipped(str(news))

    with (
        open_topic(settings, topic, wanted.start, told) as reader,
        _Writer(out, trace, kind) as writer,
    ):
        recording = _Recording(wanted, writer, recorded, skipped)
        try:
            recording.run(reader, advance)
        except KeyboardInterrupt:
            skipped("interrupted: the trace ends here")
        if not recorded.queries:
            raise TraceError(f"{out}: not written, no query came from {topic}")
    return recorded


class _Recording:
    """Takes records until there is enough."""

    def __init__(
        self, wanted: Wanted, writer: _Writer, recorded: Recorded, skipped: Callable[[str], None]
    ) -> None:
        self._wanted = wanted
        self._writer = writer
        self._recorded = recorded
        self._skipped = skipped
        self._counts: Counter[tuple[str, str]] = Counter()

    def run(self, reader: TopicReader, advance: Callable[[Recorded], None]) -> None:
        begun = heard = time.monotonic()
        while True:
            records = reader.poll()
            for each in records:
                self._take(each)
                if self._is_full():
                    return
            advance(self._recorded)
            now = time.monotonic()
            heard = now if records else heard
            if _passed(now - begun, self._wanted.seconds):
                return
            if _passed(now - heard, self._wanted.until_idle):
                if reader.is_idle():
                    return
                heard = time.monotonic()

    def _is_full(self) -> bool:
        limit = self._wanted.queries
        return limit is not None and self._recorded.queries >= limit

    def _take(self, record: Record) -> None:
        if is_order(record.value):
            return
        try:
            event = decode_event(record.value or b"")
            check_key(record.key, event.account)
        except SchemaError as error:
            self._recorded.invalid += 1
            self._skipped(f"{record}: not a query event, skipped: {error}")
            return
        if self._wanted.accounts and event.account not in self._wanted.accounts:
            return
        key = event.account, event.model
        self._writer.add(event, self._counts[key])
        self._counts[key] += len(event)
        self._recorded.events += 1
        self._recorded.queries += len(event)
        self._recorded.accounts = len(self._counts)


def _passed(elapsed: float, limit: float | None) -> bool:
    return limit is not None and elapsed >= limit


class _Writer:
    """Writes events to a Parquet file that gets its name when all are in it."""

    def __init__(self, path: Path, trace: str | None, kind: str | None) -> None:
        if path.exists():
            raise TraceError(f"{path}: exists already; record to another file")
        self._path = path
        self._temporary = temporary_for(path)
        self._trace = trace
        self._kind = kind
        self._events: list[QueryEvent] = []
        self._firsts: list[int] = []
        self._bytes = 0

    def __enter__(self) -> Self:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._parquet = pq.ParquetWriter(self._temporary, QUERIES, compression="zstd")
        except OSError as error:
            raise TraceError(f"{self._path}: cannot be written: {error}") from error
        return self

    def add(self, event: QueryEvent, first: int) -> None:
        self._events.append(event)
        self._firsts.append(first)
        self._bytes += len(event.inputs.data)
        if self._bytes >= _GROUP_BYTES or len(self._events) >= _GROUP_EVENTS:
            self._flush()

    def _flush(self) -> None:
        if not self._events:
            return
        rows = many_query_rows(self._events, self._firsts, trace=self._trace, kind=self._kind)
        try:
            self._parquet.write_batch(rows)
        except (OSError, pa.ArrowException) as error:
            raise TraceError(f"{self._path}: cannot be written: {error}") from error
        self._events, self._firsts, self._bytes = [], [], 0

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._flush()
            self._parquet.close()
            if kind is None:
                sync(self._temporary)
                self._temporary.replace(self._path)
                sync(self._path.parent)
        finally:
            self._temporary.unlink(missing_ok=True)
